"""The jobs of a block are taken out of a crontab and put back: the texts, and the crontab of this machine's cron."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from downtime.quiescing.crontab import MARK, back_in, commented_out
from downtime.quiescing.programs import NotDone
from tests.downtime.quiescing.tasks import commands, shell

CRONTAB = """\
MAILTO=dba
5 * * * * stays
# BEGIN nightly import
PATH=/opt/import/bin
# imports since 2019
#10 2 * * * somebody has commented this out
15 2 * * * import --all

# END nightly import
# BEGIN other
20 * * * * other
# END other
"""

# A crontab of one file, for machines without cron: `crontab -l` prints it, `crontab -` replaces it.
ONE_FILE = """#!/bin/sh
case "$1" in
    -l) cat "$CRONTAB_FILE" 2>/dev/null || { echo "no crontab for $(whoami)" >&2; exit 1; } ;;
    -) cat > "$CRONTAB_FILE" ;;
esac
"""


def test_only_jobs_of_the_block_are_commented_out() -> None:
    """Comments, and jobs that somebody else has taken out, are not touched: they would be put back as jobs."""

    out = commented_out(CRONTAB, "nightly import")
    changed = [new for old, new in zip(CRONTAB.splitlines(), out.splitlines(), strict=True) if old != new]
    assert changed == [f"{MARK}PATH=/opt/import/bin", f"{MARK}15 2 * * * import --all"]


@pytest.mark.parametrize("crontab", [
    CRONTAB, CRONTAB.rstrip("\n"), f"{CRONTAB}{CRONTAB}", CRONTAB.replace("\n", "\r\n")])
def test_back_in_it_is_as_it_was(crontab: str) -> None:
    """Byte for byte, also when either is done twice."""

    out = commented_out(crontab, "nightly import")
    assert out != crontab
    assert commented_out(out, "nightly import") == out
    assert back_in(out, "nightly import") == crontab
    assert back_in(crontab, "nightly import") == crontab


@pytest.mark.parametrize(("crontab", "problem"), [
    ("", "has no line “# BEGIN import”"),
    ("# BEGIN import other\n# END import other\n", "has no line “# BEGIN import”"),
    ("# BEGIN import\n1 * * * * job\n", "has no line “# END import”"),
    ("# BEGIN import\n# BEGIN import\n# END import\n", "inside of that block"),
])
def test_a_crontab_without_the_block_is_refused(crontab: str, problem: str) -> None:
    """Nothing would have been stopped, or everything to the end of the file."""

    with pytest.raises(NotDone, match=problem):
        commented_out(crontab, "import")


@pytest.fixture(params=["of one file", "of this machine"])
def crontab_program(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """What to call for `crontab`: one of our own, and the one that is installed, where it is empty."""
    if request.param == "of one file":
        program = tmp_path / "crontab"
        program.write_text(ONE_FILE)
        program.chmod(0o755)
        yield f"env CRONTAB_FILE={tmp_path / 'content'} {program}"
        return
    if shutil.which("crontab") is None:
        pytest.skip("cron is not installed")
    if subprocess.run(["crontab", "-l"], capture_output=True, check=False).returncode == 0:
        pytest.skip("whoever runs the tests has a crontab, with jobs that are not ours to stop")
    yield "crontab"
    subprocess.run(["crontab", "-r"], check=False)


def test_a_crontab_rests_and_is_as_before(crontab_program: str, tmp_path: Path) -> None:
    """Whatever program keeps it; what has no crontab, or not the block, is no success."""

    missing = commands(tmp_path, crontab={"block": "no such", "program": crontab_program})
    block = commands(tmp_path, crontab={"block": "nightly import", "program": crontab_program})
    assert block.stopped is None
    subprocess.run([*crontab_program.split(), "-"], input=CRONTAB, text=True, check=True)
    assert shell(missing.stop) == (1, "the crontab has no line “# BEGIN no such”\n")
    status, said = shell(block.stop)
    assert (status, said) == (0, "block nightly import: 2 lines commented out\n")
    assert shell(block.stop) == (0, "block nightly import: 0 lines commented out\n")
    assert shell(f"{crontab_program} -l") == (0, commented_out(CRONTAB, "nightly import"))
    assert shell(block.resume) == (0, "block nightly import: 2 lines put back\n")
    assert shell(f"{crontab_program} -l") == (0, CRONTAB)


def test_what_is_no_utf8_and_ends_its_lines_as_windows_does_comes_back(tmp_path: Path) -> None:
    """A job with a path in Latin-1 was written back with question marks, and its line ends were others."""

    program, content = tmp_path / "crontab", tmp_path / "content"
    program.write_text(ONE_FILE)
    program.chmod(0o755)
    before = b"# t\xe4glich\r\n# BEGIN import\r\n1 2 * * * /srv/\xfcbernahme\r\n# END import\r\n"
    content.write_bytes(before)
    task = commands(tmp_path, crontab={"block": "import", "program": f"env CRONTAB_FILE={content} {program}"})
    assert shell(task.stop)[0] == 0
    assert content.read_bytes() == before.replace(b"1 2", MARK.encode() + b"1 2")
    assert shell(task.resume)[0] == 0
    assert content.read_bytes() == before


def test_somebody_elses_crontab_is_asked_for_by_name(tmp_path: Path) -> None:
    """As root may; `-u` goes before everything else."""

    program = tmp_path / "crontab"
    program.write_text('#!/bin/sh\necho "$@" >&2; exit 3\n')
    program.chmod(0o755)
    user = pwd.getpwuid(os.getuid()).pw_name
    status, said = shell(commands(tmp_path, crontab={"block": "a", "user": user, "program": str(program)}).stop)
    assert status == 1
    assert said == f"{program} -u {user} -l ended with status 3: -u {user} -l\n"

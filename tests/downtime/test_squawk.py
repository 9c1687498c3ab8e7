"""squawk is asked in a process of its own, and its answer is judged as text of unknown origin."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred

from downtime import squawk, squawk_rules
from downtime.lanes import Lane
from downtime.squawk import Remark, SquawkFailed, SquawkMissing
from tests.builders import until

COLUMN = "ALTER TABLE a DROP COLUMN x;"
COLD = squawk_rules.choose(Lane.COLD, block=(), off=())


async def ask(*texts: str, choice: squawk_rules.Choice = COLD, server_version: int | None = 150020,
              deadline_seconds: float = 10.0) -> list[list[Remark]]:
    return await squawk.ask(texts, choice, server_version=server_version, in_transaction=True, reactor=reactor,
                            deadline_seconds=deadline_seconds)


def rules(remarks: list[Remark]) -> list[tuple[int, str]]:
    return [(remark.line, remark.rule) for remark in remarks]


@pytest.fixture
def another_squawk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program that stands beside Python; the test writes it."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    program = tmp_path / "squawk"
    program.touch(mode=0o755)
    return program


async def test_each_text_has_its_own_remarks_with_lines_from_one() -> None:
    """One process for all of them."""
    found = await ask(COLUMN, "SELECT 1;", f"SELECT 1;\n\n{COLUMN}")
    assert [rules(each) for each in found] == [[(1, "ban-drop-column")], [], [(3, "ban-drop-column")]]


async def test_configuration_files_and_environment_have_no_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `.squawk.toml` above the temporary folder switched rules off."""
    (tmp_path / ".squawk.toml").write_text('excluded_rules = ["ban-drop-column"]')
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert [rules(each) for each in await ask(COLUMN)] == [[(1, "ban-drop-column")]]


async def test_the_servers_version_reaches_squawk() -> None:
    """REPACK came with PostgreSQL 19."""
    choice = squawk_rules.choose(Lane.LIVE, block=(), off=())
    old, new = [await ask("VACUUM FULL a;", choice=choice, server_version=version) for version in (180004, 190000)]
    assert [rules(old[0]), rules(new[0])] == [[], [(1, "prefer-repack")]]


def test_every_rule_we_name_is_one_of_squawks() -> None:
    """It refuses a name that it does not know; no rule is in two lists."""
    lists = (squawk_rules.USUAL, squawk_rules.OPT_IN, squawk_rules.QUIET, squawk_rules.QUIET_IN_COLD)
    assert len(squawk_rules.ALL) == sum(map(len, lists)) == 77


async def test_squawk_knows_every_rule_we_name() -> None:
    """Excluded or included, which is when it looks at their names."""
    choice = squawk_rules.Choice(exclude=squawk_rules.ALL - squawk_rules.OPT_IN, include=squawk_rules.OPT_IN)
    assert rules((await ask("ALTER TABLE app.a ADD COLUMN b text; DROP TABLE app.b;", choice=choice))[0]) == [
        (1, "ban-add-column")]


async def test_a_missing_program_is_told_with_the_command_that_brings_it(another_squawk: Path) -> None:
    """The Python that runs this is the one that needs it."""
    another_squawk.unlink()
    with pytest.raises(SquawkMissing) as caught:
        await ask(COLUMN)
    assert str(caught.value) == f"the linter cannot be run: {another_squawk}: No such file or directory"
    assert caught.value.advice == f"{sys.executable} -m pip install -r requirements.txt"


@pytest.mark.parametrize(("script", "said"), [
    ("echo 'thread main panicked' >&2; exit 101", "exit status 101: thread main panicked"),
    ("exit 0", "exit status 0"),
    ("echo '[{\"file\": \"0.sql\"}]'", r"not what squawk 2\.70 writes"),
    ("echo '[{\"file\": \"7.sql\", \"line\": 0, \"rule_name\": \"\", \"message\": \"\", \"help\": null}]'",
     r"not what squawk 2\.70 writes"),
    ("echo '['", r"not what squawk 2\.70 writes"),
    ("printf '\\033[2J' >&2", r"exit status 0: \\x1b\[2J"),
])
async def test_what_is_no_answer_is_no_findings_either(another_squawk: Path, script: str, said: str) -> None:
    """A linter that fails says so, and never that a patch is clean."""
    another_squawk.write_text(f"#!/bin/sh\n{script}\n")
    with pytest.raises(SquawkFailed, match=said):
        await ask(COLUMN)


async def test_messages_cannot_steer_a_terminal_and_have_an_end(another_squawk: Path) -> None:
    """Some quote the patch."""
    another_squawk.write_text("#!/bin/sh\nprintf '[{\"file\": \"0.sql\", \"line\": 4, \"rule_name\": \"a\", "
                              f"\"message\": \"\\\\u001b[2J\\\\n{'x' * 5000}\", \"help\": null}}]'\n")
    ((remark,),) = await ask(COLUMN)
    assert remark.line == 5
    assert remark.message.startswith(r"\x1b[2J xxx")
    assert len(remark.message) < 400


async def test_a_deadline_ends_the_process(another_squawk: Path, tmp_path: Path) -> None:
    """It is gone when the caller hears of it."""
    another_squawk.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    with pytest.raises(SquawkFailed, match=r"not done within 0\.5 s"):
        await ask(COLUMN, deadline_seconds=0.5)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


async def test_who_gives_up_waiting_ends_the_process(another_squawk: Path, tmp_path: Path) -> None:
    """A stopped build leaves none behind."""
    pid_file = tmp_path / "pid"
    another_squawk.write_text(f"#!/bin/sh\necho $$ > {pid_file}\nexec sleep 60\n")
    asking = Deferred.fromCoroutine(ask(COLUMN))
    await until(lambda: pid_file.exists() and pid_file.read_text().strip(), "squawk to be started")
    asking.cancel()
    with pytest.raises(CancelledError):
        await asking
    pid = int(pid_file.read_text())
    await until(lambda: not Path(f"/proc/{pid}").exists(), "squawk to be gone")

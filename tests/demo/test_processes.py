"""The register of the demo's processes: it finds ours again, and never ends anybody else's."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from demo.processes import Process, Register, dismiss, end_with_us


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_a_process_is_found_again_by_name(tmp_path: Path, child: subprocess.Popen[bytes]) -> None:
    """Another run of the demo knows what an earlier one has started."""
    Register(tmp_path / "processes.json").add("sleeper", child.pid)
    found = Register(tmp_path / "processes.json").find("sleeper")

    assert found is not None
    assert found.pid == child.pid


def test_a_process_that_only_has_the_number_is_left_alone(child: subprocess.Popen[bytes]) -> None:
    """After a reboot the number may belong to somebody else's program."""
    stranger = replace(Process.of("sleeper", child.pid), started=1)
    stranger.end()

    assert not stranger.alive
    assert child.poll() is None


def test_a_process_of_ours_is_ended(child: subprocess.Popen[bytes]) -> None:
    """`make down` ends what `make up` has started."""
    ended = Process.of("sleeper", child.pid).end()

    assert ended
    assert child.wait() == -15


def test_a_process_that_does_not_want_to_end_is_killed() -> None:
    """Nothing is left behind, and the answer says that it was done by force."""
    stubborn = subprocess.Popen(["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done"],
                                stdout=subprocess.PIPE)
    assert stubborn.stdout is not None
    with stubborn.stdout:
        stubborn.stdout.readline()  # it is deaf now
        ended = Process.of("stubborn", stubborn.pid).end(seconds=0.2)

    assert not ended
    assert stubborn.wait() == -9


def test_half_a_line_is_no_register(tmp_path: Path) -> None:
    """A run that was killed while writing does not keep the next one from starting."""
    (tmp_path / "processes.json").write_text('[{"name": "sle')

    assert Register(tmp_path / "processes.json").all() == {}


def test_there_is_no_process_of_a_number_that_is_free(tmp_path: Path) -> None:
    """A child that died at once is told where it was started, not later."""
    gone = subprocess.Popen(["true"])
    gone.wait()

    with pytest.raises(ProcessLookupError, match="ghost"):
        Register(tmp_path / "processes.json").add("ghost", gone.pid)


def test_a_guarded_process_ends_with_who_started_it(child: subprocess.Popen[bytes]) -> None:
    """However we die, our pipe closes."""
    guard = end_with_us(child.pid)
    assert guard.stdin is not None
    guard.stdin.close()

    assert child.wait(timeout=5) == -15
    guard.wait()


def test_a_guard_that_was_called_off_ends_nobody(child: subprocess.Popen[bytes]) -> None:
    """What was ended and started anew is not ended by its old guard."""
    dismiss(end_with_us(child.pid))

    assert child.poll() is None

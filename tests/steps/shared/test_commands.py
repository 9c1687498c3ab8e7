"""Commands of the settings, run as real processes."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from steps.shared.commands import Command
from tests.builders import until


async def test_what_it_prints_is_kept() -> None:
    """Both streams, in one text."""

    finished = await Command("echo out; echo err >&2", reactor=reactor).run()
    assert finished.succeeded
    assert set(finished.output.split()) == {"out", "err"}


async def test_a_failure_says_how_it_ended() -> None:
    """The sentence goes into the step's summary."""

    assert (await Command("exit 3", reactor=reactor).run()).ended == "ended with status 3"
    assert (await Command("kill -TERM $$", reactor=reactor).run()).ended == "was ended by signal 15"


async def test_the_shortest_commands_end_as_others_do() -> None:
    """Some had ended before the reactor had told us their number; their step waited for ever."""

    for _ in range(20):
        assert (await Command("exit 0", reactor=reactor).run()).succeeded


async def test_a_deadline_ends_what_the_shell_has_started_too(tmp_path: Path) -> None:
    """A command that hangs costs its deadline and leaves no process."""

    pid = tmp_path / "pid"
    command = Command(f"sleep 300 & echo $! > {pid}; wait", reactor=reactor, deadline_seconds=0.5)
    assert (await command.run()).ended == "was not done within 0.5 s"
    await until(lambda: not _runs(int(pid.read_text())), "the process to end")


async def test_a_daemon_it_starts_may_live_on(tmp_path: Path) -> None:
    """`resume` starts services; one that keeps our pipe open is neither waited for nor ended."""

    pid = tmp_path / "pid"
    finished = await Command(f"sleep 300 & echo $! > {pid}", reactor=reactor, deadline_seconds=20).run()
    daemon = int(pid.read_text())
    try:
        assert finished.succeeded
        assert _runs(daemon)
    finally:
        os.kill(daemon, 9)


async def test_it_can_be_ended_with_a_reason() -> None:
    """Stop does not wait for a minute."""

    command = Command("sleep 300", reactor=reactor)
    running = Deferred.fromCoroutine(command.run())
    command.kill("stopped (not today)")
    assert (await running).ended == "stopped (not today)"


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # nobody here reaps what has lost its parent

"""Commands of the settings, run as real processes."""

from __future__ import annotations

import os
import subprocess
import sys
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


async def test_a_command_that_cannot_be_started_is_one_that_failed() -> None:
    """An exception in its place kept the tasks behind it from being resumed, for ever."""

    finished = await Command("echo \0", reactor=reactor).run()
    assert finished.ended.startswith("could not be started: ")


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


async def test_a_leashed_command_ends_as_others_do(tmp_path: Path) -> None:
    """Its output and its status come through, its input is empty, and a daemon it starts may live on."""

    pid = tmp_path / "pid"
    finished = await Command(f"cat; sleep 300 & echo $! > {pid}; echo done; exit 3", reactor=reactor,
                             leashed=True).run()
    daemon = int(pid.read_text())
    assert (finished.output, finished.ended) == ("done\n", "ended with status 3")
    assert _runs(daemon)
    os.kill(daemon, 9)
    command = Command("sleep 300", reactor=reactor, deadline_seconds=0.2, leashed=True)
    assert (await command.run()).ended == "was not done within 0.2 s"


RUN_AND_DIE = """
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from steps.shared.commands import Command

Deferred.fromCoroutine(Command("echo $$ > {pid}; sleep 300 & wait", reactor=reactor, leashed={leashed}).run())
reactor.run()
"""


async def test_a_leashed_command_ends_with_a_killed_buildmaster(tmp_path: Path) -> None:
    """It stopped its task once more when the next buildmaster had resumed it; what resumes is let finish."""

    died = {}
    for leashed in (True, False):
        pid = tmp_path / f"pid-{leashed}"
        process = subprocess.Popen([sys.executable, "-c", RUN_AND_DIE.format(pid=pid, leashed=leashed)],
                                   cwd=Path(__file__).parents[3])
        await until(lambda path=pid: path.exists() and path.read_text(), "the command to begin")
        process.kill()
        process.wait()
        died[leashed] = int(pid.read_text())
    await until(lambda: not _runs(died[True]), "the leashed command to end")
    assert _runs(died[False])
    os.killpg(died[False], 9)

"""Somebody ends the deployment, or the master under it, in an orderly way: at every phase as aborted."""

from __future__ import annotations

import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

from demo.faults.aftermath import expect_aborted, expect_not_repeated
from demo.faults.circumstances import until
from demo.faults.moments import PHASES, Moment, reach
from demo.faults.rows import Finding, Row, measured
from demo.faults.world import World
from demo.processes import END_SECONDS, without_postgres_variables

LIMIT_SECONDS = 1.0
SILENT_LIMIT_SECONDS = 5.0   # the COMMIT is on its way and may not be cancelled: the server waits for it for 3 s
WHY = "enough of it"
STOPPING = "stopping build: Master Shutdown"  # the first that its log says of a SIGTERM
BUILDBOT = Path(sysconfig.get_path("scripts")) / "buildbot"

ABORTED = "cancelled, rolled back, open"
NOT_REPEATED = f"{ABORTED}; after the restart not deployed by itself"


def rows() -> tuple[Row, ...]:
    return (*(_row("Stop button", moment, _stop_button) for moment in (*PHASES, Moment.BEFORE_COMMIT)),
            *(_row("SIGTERM to the master", moment, _sigterm) for moment in PHASES),
            *(_row("buildbot stop", moment, _buildbot_stop) for moment in PHASES))


def _row(fault: str, moment: Moment, play_at: Callable[[Moment], Callable[[World], Finding]]) -> Row:
    in_question = "Somebody presses Stop" if play_at is _stop_button else "The buildmaster is stopped"
    return Row(fault=fault, moment=moment, play=play_at(moment), in_question=in_question,
               must_hold=ABORTED if play_at is _stop_button else NOT_REPEATED,
               limit_seconds=SILENT_LIMIT_SECONDS if moment is Moment.BEFORE_COMMIT else LIMIT_SECONDS)


def _stop_button(moment: Moment) -> Callable[[World], Finding]:
    def play(world: World) -> Finding:
        build = reach(world, moment)
        since = time.monotonic()
        world.as_("operator").stop(build, WHY)
        finding = measured(world, since)
        expect_aborted(finding, world, build, moment)
        if moment is not Moment.BEFORE_COMMIT:  # nobody tells it then: the connection is silent
            finding.expect(WHY in world.story_of(build), f"nobody reads why:\n{world.story_of(build)}")
        return finding
    return play


def _sigterm(moment: Moment) -> Callable[[World], Finding]:
    def play(world: World) -> Finding:
        build = reach(world, moment)
        finding = measured(world, world.strike_master(signal.SIGTERM))
        finding.expect(world.end_master(), f"the master did not end within {END_SECONDS:g} s")
        world.master.start()
        expect_not_repeated(finding, world, build, moment, applied=False)
        return finding
    return play


def _buildbot_stop(moment: Moment) -> Callable[[World], Finding]:
    """The command looks for the master's process id in a file that the sandbox's way of starting does not write."""
    def play(world: World) -> Finding:
        build = reach(world, moment)
        process = world.master.process
        assert process is not None, "the deployment runs on it"
        pid_file = world.sandbox.master / "twistd.pid"
        pid_file.write_text(str(process.pid))
        before = world.times_logged(STOPPING)
        command = subprocess.Popen([BUILDBOT, "stop", str(world.sandbox.master)], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.STDOUT, env=without_postgres_variables())
        until(lambda: world.times_logged(STOPPING) > before, "the master to hear of it")  # not its own start
        finding = measured(world)
        finding.expect(world.end_master(), f"the master did not end within {END_SECONDS:g} s")
        command.wait(timeout=END_SECONDS)  # it does not wait for long: what counts is that the master ends
        pid_file.unlink(missing_ok=True)
        world.master.start()
        expect_not_repeated(finding, world, build, moment, applied=False)
        return finding
    return play

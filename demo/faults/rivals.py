"""Two deployers of one database: a terminal beside the master, and a second master."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator

import yaml

from demo.buildmaster import Buildmaster
from demo.faults.aftermath import expect_deployed, patch_at
from demo.faults.moments import Moment, let_go_on, reach
from demo.faults.people import ENDED_SECONDS, People
from demo.faults.rows import Finding, Row
from demo.faults.state import STATE, backup
from demo.faults.world import World
from demo.sandbox import ROOT, SAMPLES, Sandbox
from demo.servers import free_port

SLEEP_SECONDS = 8.0      # of the first deployer's patch: as long as the second needs to ask
REFUSED = 1              # exit status
HOLDER = "another deployment of this database is under way"
IN_QUESTION = "Two deploy at the same time"
MUST_HOLD = "refused at once, and told who holds the lock; the first deploys"


def rows() -> tuple[Row, ...]:
    return (
        Row(fault="a terminal beside the master", moment=Moment.LIVE, must_hold=MUST_HOLD, limit_seconds=None,
            play=_terminal, in_question=IN_QUESTION),
        Row(fault="a terminal beside the master", moment=Moment.CLOSED, limit_seconds=None, play=_terminal_at_the_gate,
            must_hold="the second does not get in, or finds the patch deployed", in_question=IN_QUESTION),
        Row(fault="a second master", moment=Moment.LIVE, must_hold=MUST_HOLD, limit_seconds=None,
            play=_second_master, in_question=IN_QUESTION))


def _terminal(world: World) -> Finding:
    build = reach(world, Moment.LIVE, sleep_seconds=SLEEP_SECONDS)
    done = _apply(world, Moment.LIVE).communicate(timeout=ENDED_SECONDS)
    finding = Finding()
    finding.expect(HOLDER in "".join(done), f"the terminal was not told who holds the lock: {''.join(done)}")
    expect_deployed(finding, world, build, Moment.LIVE)
    finding.said = "".join(done).strip()
    return finding


def _terminal_at_the_gate(world: World) -> Finding:
    build = reach(world, Moment.CLOSED)
    second = _apply(world, Moment.CLOSED)
    with contextlib.suppress(subprocess.TimeoutExpired):
        second.wait(timeout=2.0)  # with gate "hold" it waits like every client, and asks when the first is done
    let_go_on(world, Moment.CLOSED, build)
    output, said = second.communicate(timeout=ENDED_SECONDS)
    finding = Finding()
    finding.expect(second.returncode == REFUSED, f"the terminal ended with {second.returncode}: {said}{output}")
    finding.expect(world.gate == "hold" or HOLDER in said, f"the terminal was not told who deploys: {said}")
    expect_deployed(finding, world, build, Moment.CLOSED)
    finding.said = (said + output).strip()
    return finding


def _apply(world: World, moment: Moment) -> subprocess.Popen[str]:
    return world.sandbox.start_downtime("apply", patch_at(moment), "--environment", "production", "--no-probe", "--yes")


def _second_master(world: World) -> Finding:
    with _beside(world) as rival:
        build = reach(world, Moment.LIVE, sleep_seconds=2 * SLEEP_SECONDS)
        waiting = rival.ask(patch_at(Moment.LIVE))
        rival.approve(waiting)
        ended = rival.ended(waiting)
        finding = Finding()
        finding.expect(not ended.good and HOLDER in rival.story_of(ended), f"not refused:\n{rival.story_of(ended)}")
        expect_deployed(finding, world, build, Moment.LIVE)
        finding.said = ended.state
        return finding


@contextlib.contextmanager
def _beside(world: World) -> Iterator[People]:
    """People at a second master, made from a backup of the first; both run."""
    folder = world.sandbox.folder / "second"
    sandbox = Sandbox(folder, {}, free_port())
    _copy(world, sandbox)
    master = Buildmaster(sandbox)
    try:
        master.create()  # so that it takes what the first has claimed in the copy for its own
        master.start()
        yield People(sandbox)
    finally:
        master.stop()
        shutil.rmtree(folder)


def _copy(world: World, sandbox: Sandbox) -> None:
    first = world.sandbox
    sandbox.folder.mkdir()
    shutil.copytree(first.folder / "secrets", sandbox.folder / "secrets")
    shutil.copy(first.folder / "users", sandbox.folder / "users")
    settings = yaml.safe_load(first.settings.read_text())
    settings["buildmaster"].update({"url": sandbox.address, "listen": f"tcp:{sandbox.port}:interface=127.0.0.1"})
    sandbox.settings.write_text(yaml.safe_dump(settings))
    sandbox.master.mkdir(mode=0o700)
    (sandbox.master / "buildbot.tac").write_text((SAMPLES / "buildbot.tac").read_text().format(
        basedir=str(sandbox.master.resolve()), config=str(ROOT / "master.cfg")))
    backup(first.master / STATE, sandbox.master / STATE)

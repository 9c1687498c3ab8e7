"""Two deployers of one database: a terminal beside the master, and a second master."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import yaml

from demo.buildmaster import Buildmaster
from demo.faults.aftermath import expect_deployed, patch_at
from demo.faults.moments import Moment, let_go_on, reach
from demo.faults.people import ANSWER_SECONDS, ENDED_SECONDS
from demo.faults.rows import Finding, Row, expect_whole
from demo.faults.state import STATE, backup
from demo.faults.world import World
from demo.sandbox import ROOT, SAMPLES, Sandbox
from demo.servers import free_port
from demo.web import Build, Web, wait
from steps.shared.names import FORCED_BY, BuilderName, Property

SLEEP_SECONDS = 5.0      # of the first deployer's patch: as long as the second needs to ask
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
    finding.said = _line_with(HOLDER, "".join(done))
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


def _line_with(words: str, text: str) -> str:
    return next((line for line in text.splitlines() if words in line), "")


def _apply(world: World, moment: Moment) -> subprocess.Popen[str]:
    return world.sandbox.start_downtime("apply", patch_at(moment), "--environment", "production", "--no-probe", "--yes")


def _second_master(world: World) -> Finding:
    with second_master(world) as (web, approver):
        build = reach(world, Moment.LIVE, sleep_seconds=2 * SLEEP_SECONDS)
        request = web.force(FORCED_BY[BuilderName.LIVE], patch=patch_at(Moment.LIVE))
        rival = web.build_of(BuilderName.LIVE, request, ANSWER_SECONDS)
        waiting = _when_it_waits(web, rival)
        approver.force(FORCED_BY[BuilderName.APPROVE], build=str(waiting.id), decision="approve", reason="",
                       digest=waiting.properties[Property.DIGEST])
        ended = web.ended(waiting, ENDED_SECONDS)
        finding = Finding()
        finding.expect(not ended.good and HOLDER in web.story_of(ended), f"not refused:\n{web.story_of(ended)}")
        expect_deployed(finding, world, build, Moment.LIVE)
        finding.said = ended.state
        expect_whole(finding, world, applied=True, patch=patch_at(Moment.LIVE))
        return finding


def _when_it_waits(web: Web, build: Build) -> Build:
    def look() -> Build | None:
        waits = any(step.state.startswith("waiting for approval") for step in web.steps(build))
        return web.build(build) if waits else None
    return wait(look, ANSWER_SECONDS, "the second master to ask for an approval")


@contextmanager
def second_master(world: World) -> Iterator[tuple[Web, Web]]:
    """One from a backup of the first, with an operator's and an approver's session; both run."""
    folder = world.sandbox.folder / "second"
    sandbox = Sandbox(folder, {}, free_port())
    _copy(world, sandbox)
    master = Buildmaster(sandbox)
    try:
        master.create()  # so that it takes what the first has claimed in the copy for its own
        master.start()
        yield tuple(Web.signed_in(sandbox.address, name, world.sandbox.passwords[name])  # type: ignore[misc]
                    for name in ("operator", "approver"))
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

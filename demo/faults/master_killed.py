"""kill -9 of the buildmaster, at every moment of a deployment."""

from __future__ import annotations

from collections.abc import Callable

from demo.faults.aftermath import expect_not_repeated
from demo.faults.moments import Moment, reach
from demo.faults.rows import Finding, Row, expect_whole, measured
from demo.faults.world import World
from demo.web import Build

FAULT = "kill -9 of the master"
LIMIT_SECONDS = 0.25
STATEMENT_LIMIT_SECONDS = 1.0  # the server looks after its client every 50 ms, and rolls back

AGAIN = "open; after the restart it waits for its approval again"
ROLLED_BACK = "open, rolled back; after the restart not deployed again"
MUST_HOLD = {
    Moment.WAITING: AGAIN,
    Moment.QUIESCED: f"{AGAIN}; background tasks are resumed",
    Moment.AFTER_COMMIT: "open, the patch is in; after the restart a build says so",
    Moment.LIVE: "open; finished statements stay, the one under way is rolled back",
}


def rows() -> tuple[Row, ...]:
    return (*(_row(moment) for moment in Moment), Row(
        fault=FAULT, moment="and again while it starts", must_hold=ROLLED_BACK, play=_killed_again,
        limit_seconds=STATEMENT_LIMIT_SECONDS, in_question="The buildmaster is killed"))


def _row(moment: Moment) -> Row:
    limit = STATEMENT_LIMIT_SECONDS if moment in (Moment.STATEMENT, Moment.LIVE) else LIMIT_SECONDS
    return Row(fault=FAULT, moment=moment, must_hold=MUST_HOLD.get(moment, ROLLED_BACK), limit_seconds=limit,
               play=_killed_at(moment), in_question="The buildmaster is killed")


def _killed_at(moment: Moment) -> Callable[[World], Finding]:
    def play(world: World) -> Finding:
        build = reach(world, moment)
        since = world.strike_master()
        if world.proxy.has_fallen:
            world.proxy.drop()  # what the kernel of the dead master tells the server, and a silent proxy does not
        finding = measured(world, since)
        world.restart_master()
        expect_not_repeated(finding, world, build, moment, applied=moment is Moment.AFTER_COMMIT)
        if moment is Moment.WAITING:
            _expect_still_deployable(finding, world, build)
        return finding
    return play


def _killed_again(world: World) -> Finding:
    """The second time it is about to make the build that says what came of the first."""
    build = reach(world, Moment.STATEMENT)
    finding = measured(world, world.strike_master())
    world.restart_master()
    world.strike_master()
    world.restart_master()
    expect_not_repeated(finding, world, build, Moment.STATEMENT, applied=False)
    return finding


def _expect_still_deployable(finding: Finding, world: World, build: Build) -> None:
    """What asks again is no empty shell: an approval of it deploys."""
    again = world.awaits_approval(world.later_build(build))
    world.approve(again)
    finding.expect(world.ended(again).good, f"its approval should deploy it:\n{world.story_of(again)}")
    expect_whole(finding, world, applied=True)

"""What must hold when a fault is over: an honest end, tasks that run again, and nothing deployed without a word."""

from __future__ import annotations

from demo import web
from demo.faults import promise
from demo.faults.moments import BEGUN, QUIESCED, Moment
from demo.faults.people import ANSWER_SECONDS
from demo.faults.rows import Finding, expect_whole
from demo.faults.sample import LIVE_PATCH, PATCH
from demo.faults.world import World
from demo.web import RETRY, Build, WebError


def patch_at(moment: Moment) -> str:
    """Which patch is deployed at the moment."""
    return LIVE_PATCH if moment is Moment.LIVE else PATCH


def expect_aborted(finding: Finding, world: World, build: Build, moment: Moment) -> None:
    """Somebody or something has ended the build, and its master lives: rolled back, said so, and that was all."""
    expect_told(finding, world, build, moment, applied=False)
    finding.expect(world.is_done_with(build), "Buildbot is going to build the request again")


def expect_not_repeated(finding: Finding, world: World, build: Build, moment: Moment, *, applied: bool | None) -> None:
    """The master was started again: what had begun is not deployed by itself, what waited waits for its approval."""
    if moment in BEGUN:
        expect_told(finding, world, build, moment, applied=applied)
        _expect_own_record_ended(finding, world, build)
        return
    waiting = world.awaits_approval(world.later_build(build))
    finding.said = finding.said or f"waiting for approval of {patch_at(moment)} again, as build {waiting.number}"
    expect_whole(finding, world, applied=applied, patch=patch_at(moment))
    _expect_own_record_ended(finding, world, build)
    _expect_resumed(finding, world, moment)


def expect_told(finding: Finding, world: World, build: Build, moment: Moment, *, applied: bool | None) -> None:
    """The last build of the request ends, its result says what the ledger has, and its headline says why."""
    last = _last_word(world, build)
    expect_whole(finding, world, applied=applied, patch=patch_at(moment))
    for sentence in promise.can_be_read(last, world.state(patch_at(moment))):
        finding.broken.append(f"{sentence}:\n{world.story_of(last)}")
    finding.said = last.state
    _expect_resumed(finding, world, moment)


def expect_deployed(finding: Finding, world: World, build: Build, moment: Moment) -> None:
    """Nothing has disturbed it."""
    expect_told(finding, world, build, moment, applied=True)
    finding.expect(len(world.builds_of_request(build)) == 1, "Buildbot has built the request again")


def _last_word(world: World, build: Build) -> Build:
    """The latest build of the request, ended; after it there will be none."""
    def look() -> Build | None:
        latest = world.latest_of_request(build)
        return latest if latest.complete and world.is_done_with(build) else None
    try:
        return web.wait(look, 2 * ANSWER_SECONDS, "the request to be done with")
    except WebError as error:
        raise AssertionError(f"{error}\n{world.story_of(world.latest_of_request(build))}") from error


def _expect_own_record_ended(finding: Finding, world: World, build: Build) -> None:
    own = world.as_("operator").build(build)
    finding.expect(own.complete, f"build {own.number} still reads as running")
    finding.expect(not own.complete or own.results == RETRY or not own.good,
                   f"build {own.number} had no chance to end well, and reads {own.outcome}")


def _expect_resumed(finding: Finding, world: World, moment: Moment) -> None:
    if moment not in QUIESCED:
        return

    def look() -> bool | None:
        return True if world.quiesced.read_text().endswith("resumed\n") else None
    try:
        web.wait(look, ANSWER_SECONDS, "the background task to be resumed")
    except (OSError, WebError) as error:
        finding.broken.append(str(error))

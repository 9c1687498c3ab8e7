"""One round of faults at random: a deployment, a fault in it, and whether what the product promises still holds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from demo import web
from demo.faults import promise
from demo.faults.draws import Circumstances, Draw, Fault
from demo.faults.sample import PATCH, State
from demo.faults.strikes import OURS, Eyes, Reached, mend, strike, wait_for_instant
from demo.faults.world import World
from demo.faults.writers import Tally, Writers, missing_or_doubled
from demo.sandbox import DATABASE
from demo.web import Build, Web
from steps.shared.names import BuilderName, Property

GONE_SECONDS = 15.0      # for the sessions of a dead master to end
SETTLED_SECONDS = 90.0   # from the fault to the last build's end
RESUMED_SECONDS = 15.0
APPROVAL = "SELECT approved_by, build_url FROM fastdowntime.ledger WHERE id = %s"


class Ended(StrEnum):
    """What became of the deployment."""

    APPLIED = "applied"
    ROLLED_BACK = "rolled back"
    REFUSED = "refused"      # for a fragile user's transaction
    NOT_BEGUN = "ended before it began"
    WAITING = "waits for approval again"


@dataclass(slots=True, kw_only=True)
class Round:
    """What came of one draw; `broken` are complete sentences."""

    draw: Draw
    reached: Reached = Reached.UNSEEN
    ended: Ended | None = None
    dead_seconds: float = 0.0   # from the fault until what must open was there again; next to nothing for most
    open_seconds: float = 0.0   # from then until a new client got in
    shut_seconds: float = 0.0   # the longest time in which no client that comes anew could write a row
    remark: str = ""
    broken: list[str] = field(default_factory=list)
    story: str = ""             # of the builds, for messages


@dataclass(slots=True, kw_only=True)
class Table:
    """A world with writers, on which rounds are played."""

    world: World
    writers: Writers
    before: Tally
    usual_seconds: float = 0.7  # from an approval to the closing of the gate; the latest that was seen

    def play(self, draw: Draw) -> Round:
        """Play a round and put the world right. What escapes is a finding, too."""
        played = Round(draw=draw)
        for act in (self._play, self._put_right):
            try:
                act(played)
            except Exception as error:
                played.broken.append(f"{type(error).__name__}: {error}")
        return played

    def _play(self, played: Round) -> None:
        world, draw = self.world, played.draw
        world.set_pace(draw.pace_seconds)
        build = world.ask()
        self._strike(played, build)
        mend(world, draw)
        left = self._left_behind(draw)
        if draw.fault.stops_master and world.master.process is None:
            self._start(draw)
        builds = _settled(world, build, draw)
        played.story = "\n".join(map(world.story_of, reversed(builds)))
        played.broken += self._judge(played, build, builds, left)

    def _strike(self, played: Round, build: Build) -> None:
        """From the approval until a new client gets in again."""
        world, draw, eyes = self.world, played.draw, Eyes.open(self.world)
        try:
            if draw.approved:
                world.approve(build)
            self.usual_seconds = wait_for_instant(draw, eyes, self.usual_seconds) or self.usual_seconds
            if draw.fault is Fault.RECONFIGURE:
                self.write(draw.circumstances)
            played.reached = eyes.reached()
            struck_at = time.monotonic()
            played.remark = strike(world, draw, eyes, build)
        finally:
            eyes.close()
        if draw.fault is Fault.KILL_BOTH:
            mend(world, draw)
            self._start(draw)  # gate "refuse": nobody is left who could open before
        played.dead_seconds = time.monotonic() - struck_at
        played.open_seconds = world.seconds_until_open(time.monotonic())

    def _put_right(self, _: Round) -> None:
        self.world.put_right()

    def write(self, circumstances: Circumstances) -> None:
        """Settings of production from the next start or reconfig on."""
        self.world.write_settings(kick=circumstances.kick, drain_seconds=circumstances.drain_seconds)
        self.world.keep_settings()

    def _start(self, draw: Draw) -> None:
        self.write(draw.circumstances)
        self.world.master.start()

    def _left_behind(self, draw: Draw) -> State | None:
        """How the patch stands when the master has died with all its sessions; None where it lives."""
        if not draw.fault.stops_master:
            return None
        if self.world.master.process is None:
            question = f"SELECT count(*) FROM pg_stat_activity WHERE {OURS}"
            web.wait(lambda: self.world.production.admin_sql(question) == [(0,)] or None, GONE_SECONDS,
                     "the dead master's sessions to end")
        return self.world.state()

    def _judge(self, played: Round, build: Build, builds: list[Build], left: State | None) -> Iterator[str]:
        """Sentences about what does not hold."""
        world, draw, state = self.world, played.draw, self.world.state()
        before, self.before = self.before, self.writers.report()
        played.ended, played.shut_seconds = _ended(state, builds), self.before.shut_seconds
        yield from promise.is_open(
            open_seconds=played.open_seconds, at_the_end_seconds=world.seconds_until_open(time.monotonic()),
            shut_seconds=played.shut_seconds, dead_seconds=played.dead_seconds)
        yield from promise.is_whole(state, left=left)
        yield from promise.spares_the_fragile(before, self.before, draw.fault)
        yield from missing_or_doubled(self.before, world.connect(superuser=True))
        yield from promise.can_be_read(builds[0], state)
        if state.recorded:
            ((by, url),) = world.production.admin_sql(APPROVAL, (PATCH,), database=DATABASE)
            yield from promise.has_a_word(approved=draw.approved, approved_by=by, build_url=url, build=build)
        if not _resumed(world):
            yield "background tasks were stopped and not resumed"


def _settled(world: World, build: Build, draw: Draw) -> list[Build]:
    """Every build of the request, latest first, when the latest has ended or waits for somebody's word again."""
    def look() -> bool | None:
        latest = world.latest_of_request(build)
        if latest.complete:
            return True if latest.results != web.RETRY else None
        is_unanswered = latest.id != build.id or not draw.approved or _came_to_nothing(world.as_("operator"), build)
        return True if is_unanswered and world.is_asking(latest) else None
    try:
        web.wait(look, SETTLED_SECONDS, "the last build to end, or to wait for its approval")
    except web.WebError as error:
        raise AssertionError(f"{error}\n{world.story_of(world.latest_of_request(build))}") from error
    return world.builds_of_request(build)


def _came_to_nothing(operator: Web, build: Build) -> bool:
    """Whether the approval was not accepted, because production could not be asked at that moment."""
    return any(each.complete and not each.good and each.properties.get(Property.BUILD) == str(build.id)
               for each in operator.builds(BuilderName.APPROVE, limit=2))


def _ended(state: State, builds: list[Build]) -> Ended:
    if state.recorded:
        return Ended.APPLIED
    if not builds[0].complete:
        return Ended.WAITING
    if any("fragile" in build.state for build in builds):
        return Ended.REFUSED
    begun = any(Property.BEGUN in build.properties for build in builds)
    return Ended.ROLLED_BACK if begun else Ended.NOT_BEGUN


def _resumed(world: World) -> bool:
    """Whether what was stopped last is resumed, or soon is."""
    deadline = time.monotonic() + RESUMED_SECONDS
    while world.quiesced.exists() and world.quiesced.read_text().split()[-1:] == ["stopped"]:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True

"""What is told when some time has come."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from downtime.announcements.due import due
from downtime.announcements.kinds import Kind
from downtime.announcements.notice import Notice
from downtime.history.events import Event, Hurried, Outcome, Quiescing
from downtime.lanes import Lane
from tests.downtime.announcements.told import (
    URL,
    approved,
    closed,
    journey_of,
    over,
    planned,
    voided,
    waiting,
)
from tests.downtime.history.histories import at

SECOND = timedelta(seconds=1)


def looked(events: Sequence[Event], since: datetime, now: datetime, *, minutes: Sequence[int] = (15, 5, 1),
           hours: float = 24) -> list[Notice]:
    return list(due(journey_of(events), since, now, closing_minutes=minutes, overdue_hours=hours, url=URL))


def every_minute(events: Sequence[Event], first: float, last: float) -> list[tuple[Kind, int | None]]:
    """What is told when somebody looks each minute from the first to the last."""
    found = []
    for minute in range(int(first), int(last)):
        found += looked(events, at(minute) + SECOND, at(minute + 1) + SECOND)
    return [(notice.kind, notice.minutes) for notice in found]


PLANNED = [*waiting(), approved(), planned(180)]


def test_a_near_downtime_is_told_at_each_of_its_minutes_once() -> None:
    """Fifteen, five and one minute before; never after it should have begun."""

    assert every_minute(PLANNED, 61, 200) == [
        (Kind.CLOSING_SOON, 15), (Kind.CLOSING_SOON, 5), (Kind.CLOSING_SOON, 1)]


def test_a_plan_that_changes_is_told_at_its_new_time() -> None:
    """Of the old time nothing is left."""

    moved = [*PLANNED, planned(240, minutes=100)]
    assert every_minute(moved, 100, 190) == []
    assert [minutes for _, minutes in every_minute(moved, 190, 250)] == [15, 5, 1]


def test_a_downtime_that_is_off_is_not_told() -> None:
    """It has ended, has lost its approval, or has begun already at an operator's word."""

    hurried = Hurried(at=at(100), patch_id="patch-1", request_id=1, by="operator", reason="now")
    for event in (over(Outcome.STOPPED, touched=False), voided(), closed(110), hurried):
        assert every_minute([*PLANNED, event], 111, 181) == [], event.kind


def test_the_quiesced_downtime_begins_at_its_own_time() -> None:
    """An operator's word moves it without a plan."""

    quiescing = Quiescing(at=at(100), patch_id="patch-1", request_id=1, begins_at=at(160))
    assert [minutes for _, minutes in every_minute([*PLANNED, quiescing], 101, 170)] == [15, 5, 1]


def test_a_look_that_comes_late_tells_the_last_minute_only() -> None:
    """A machine that has slept does not tell three times that it is near, nor of what has passed."""

    assert [notice.minutes for notice in looked(PLANNED, at(100), at(179.5))] == [1]
    assert looked(PLANNED, at(100), at(180)) == []


def test_a_live_patch_is_never_near() -> None:
    """It closes nothing."""

    assert every_minute([*waiting(lane=Lane.LIVE), approved(), planned(180)], 61, 200) == []


def test_a_long_wait_is_told_again_and_again() -> None:
    """Every so many hours, as long as nobody has decided."""

    assert looked(waiting(), at(3), at(3 + 23 * 60)) == []
    assert [n.kind for n in looked(waiting(), at(3), at(3 + 24 * 60))] == [Kind.OVERDUE]
    assert looked(waiting(), at(3 + 24 * 60), at(3 + 47 * 60)) == []
    again = looked(waiting(), at(3 + 47 * 60), at(3 + 48 * 60))
    assert "has waited 2 d for an approval" in again[0].subject


def test_what_is_approved_is_not_overdue() -> None:
    """It waits for its window, and nobody has to act."""

    assert looked([*waiting(), approved()], at(3), at(3 + 24 * 60)) == []

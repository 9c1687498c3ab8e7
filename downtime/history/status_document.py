"""What a site's 503 page or status page is told: whether the database is open, and until when it is not. Pure.

It is read by everybody, so it says nothing that a visitor of the site may not know: no name of a person, no SQL. It
never promises an instant that has passed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from math import ceil

from downtime.history.durations import in_words
from downtime.history.journey import Attempt, Journey
from downtime.history.selection import lane_of
from downtime.lanes import Lane

LATE_RETRY_SECONDS = 5      # past its expected end: sooner costs the site requests, later costs its visitors time
ABOUT_TO_SECONDS = 60.0     # before it closes: who comes back by then may as well come back after it


class State(StrEnum):
    """How the database is for its clients."""

    OPEN = "open"
    PLANNED = "planned"      # open, and the begin of a downtime is known
    QUIESCING = "quiescing"  # open, and a downtime has been announced to the background tasks
    CLOSED = "closed"        # new connections are prevented
    UNKNOWN = "unknown"      # a deployment or a buildmaster has ended, and nobody knows yet that it is open


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A downtime to come."""

    patch_id: str
    begins_at: datetime
    expected_seconds: float | None  # None: not known


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusDocument:
    state: State
    message: str                       # a complete sentence for visitors
    planned: tuple[Plan, ...] = ()     # the earliest first
    since: datetime | None = None      # of the state; None where it is open or planned
    expected_end: datetime | None = None    # never in the past; None: not known
    retry_after_seconds: int | None = None  # None: nothing to wait for

    def to_json(self) -> dict[str, object]:
        """As docs/figures.md explains it; instants in ISO 8601 and UTC."""
        planned = [{"patch": each.patch_id, "begins_at": _iso(each.begins_at),
                    "expected_seconds": each.expected_seconds} for each in self.planned]
        return {"state": self.state, "message": self.message, "planned": planned, "since": _iso(self.since),
                "expected_end": _iso(self.expected_end), "retry_after_seconds": self.retry_after_seconds}


def status_document(journeys: Iterable[Journey], now: datetime, *, in_doubt: bool = False) -> StatusDocument:
    """The document at this instant. Live patches close nothing, so nothing is said of them.

    `in_doubt`: nobody knows that the database is open, though no deployment is under way.
    """
    cold = [(journey, attempt) for journey in journeys for attempt in journey.attempts
            if attempt.ended is None and lane_of(journey, attempt) is not Lane.LIVE]
    planned = tuple(sorted((plan for pair in cold if (plan := _plan(*pair)) is not None and plan.begins_at > now),
                           key=lambda plan: (plan.begins_at, plan.patch_id)))
    if closed := [attempt for _, attempt in cold if attempt.closed is not None]:
        return _closed(closed[0], planned, now) if closed[0].spreading is None else _spreading(closed[0], planned)
    if in_doubt:
        return StatusDocument(state=State.UNKNOWN, planned=planned, retry_after_seconds=LATE_RETRY_SECONDS,
                              message="Whether the database is open is not known; it is being looked at.")
    if quiescing := [pair for pair in cold if pair[1].quiescing is not None]:
        return _quiescing(*quiescing[0], planned, now)
    if not planned:
        return StatusDocument(state=State.OPEN, message="The database is open.")
    first = planned[0]
    return StatusDocument(
        state=State.PLANNED, planned=planned, retry_after_seconds=_after(first, now),
        message=f"The database is open; a short downtime is planned for {_clock(first.begins_at)}{_lasting(first)}.")


def _closed(attempt: Attempt, planned: tuple[Plan, ...], now: datetime) -> StatusDocument:
    assert attempt.closed is not None, "it is closed"
    since, expected = attempt.closed.at, timedelta(seconds=attempt.closed.expected_seconds)
    end = _whole_second(since + expected)
    if end <= now:
        return StatusDocument(
            state=State.CLOSED, planned=planned, since=since, retry_after_seconds=LATE_RETRY_SECONDS,
            message=f"The database is closed for a change since {_clock(since)}; it takes longer than expected.")
    return StatusDocument(
        state=State.CLOSED, planned=planned, since=since, expected_end=end, retry_after_seconds=_until(end, now),
        message=f"The database is closed for a change since {_clock(since)}; it is expected back at {_clock(end)}.")


def _spreading(attempt: Attempt, planned: tuple[Plan, ...]) -> StatusDocument:
    """Whoever asks has been refused by one of several databases, and nobody knows by which."""
    assert attempt.spreading is not None, "the others get it now"
    since, expected = attempt.spreading.at, attempt.closed.expected_seconds if attempt.closed is not None else 0.0
    return StatusDocument(
        state=State.CLOSED, planned=planned, since=since, retry_after_seconds=max(LATE_RETRY_SECONDS, ceil(expected)),
        message=f"Several databases are changed one after the other since {_clock(since)}; each is closed for a short"
                " time.")


def _quiescing(journey: Journey, attempt: Attempt, planned: tuple[Plan, ...], now: datetime) -> StatusDocument:
    assert attempt.quiescing is not None, "it quiesces"
    since, plan = attempt.quiescing.at, _plan(journey, attempt)
    assert plan is not None, "the announcement has its begin"
    if plan.begins_at <= now:
        return StatusDocument(state=State.QUIESCING, planned=planned, since=since,
                              retry_after_seconds=max(LATE_RETRY_SECONDS, ceil(plan.expected_seconds or 0)),
                              message=f"The database is about to close for a change{_lasting(plan)}.")
    return StatusDocument(
        state=State.QUIESCING, planned=planned, since=since,
        expected_end=_end(plan) if plan.expected_seconds is not None else None, retry_after_seconds=_after(plan, now),
        message=f"The database is open; it closes for a change at {_clock(plan.begins_at)}{_lasting(plan)}.")


def _plan(journey: Journey, attempt: Attempt) -> Plan | None:
    """The downtime that this attempt will be; None while its begin is not known, or once it has begun."""
    if attempt.closed is not None:
        return None
    begins_at = attempt.planned.begins_at if attempt.planned is not None else None
    if attempt.quiescing is not None:
        begins_at = attempt.quiescing.begins_at
    if begins_at is None:
        return None
    expected = journey.rehearsed.expected_seconds if journey.rehearsed is not None else None
    return Plan(patch_id=journey.patch_id, begins_at=begins_at, expected_seconds=expected)


def _end(plan: Plan) -> datetime:
    return _whole_second(plan.begins_at + timedelta(seconds=plan.expected_seconds or 0))


def _after(plan: Plan, now: datetime) -> int | None:
    """When to come back, where it is about to begin: behind it."""
    soon = (plan.begins_at - now).total_seconds() <= ABOUT_TO_SECONDS
    return _until(_end(plan), now) if soon else None


def _lasting(plan: Plan) -> str:
    return f" and is expected to take {in_words(plan.expected_seconds)}" if plan.expected_seconds is not None else ""


def _whole_second(at: datetime) -> datetime:
    """The same instant, or the next whole second: a page that comes back then is not too early."""
    return at if not at.microsecond else at.replace(microsecond=0) + timedelta(seconds=1)


def _until(at: datetime, now: datetime) -> int:
    return max(1, ceil((at - now).total_seconds()))


def _clock(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

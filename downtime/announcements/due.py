"""What is told when some time has come: a downtime is near, a wait is too long. Pure.

Asked again and again with the time since the last look, so that a change of plan needs no timer to be cancelled, and
a restart of the buildmaster neither repeats nor forgets anything that is still to come.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from downtime.announcements.about import about, begins_at, lane_of
from downtime.announcements.kinds import Kind
from downtime.announcements.notice import Database, Notice, in_utc
from downtime.history.durations import in_words
from downtime.history.journey import Attempt, Journey
from downtime.lanes import Lane


def due(journey: Journey, since: datetime, now: datetime, *, closing_minutes: Sequence[int], overdue_hours: float,
        url: str) -> Iterator[Notice]:
    """The notices whose time is after `since` and not after `now`; of several that a downtime is near, the last."""
    attempt = journey.attempt
    if attempt is None or attempt.ended is not None or attempt.closed is not None:
        return
    if attempt.approved is None:
        yield from _overdue(journey, attempt, since, now, overdue_hours, url)
    elif lane_of(journey, attempt) is not Lane.LIVE:
        yield from _closing_soon(journey, attempt, since, now, closing_minutes, url)


def _closing_soon(journey: Journey, attempt: Attempt, since: datetime, now: datetime, minutes: Sequence[int],
                  url: str) -> Iterator[Notice]:
    at = begins_at(attempt)
    if at is None or at <= now:
        return
    near = [each for each in minutes if since < at - timedelta(minutes=each) <= now]
    if not near:
        return
    within = f"{min(near)} minute{'s' if min(near) > 1 else ''}"
    found = about(journey, Kind.CLOSING_SOON, at - timedelta(minutes=min(near)), url=url, attempt=attempt,
                  happened=f"closes the database in {within}",
                  explained=f"The database closes in {within}, at {in_utc(at)}.")
    yield replace(found, minutes=min(near), database=Database.OPEN)


def _overdue(journey: Journey, attempt: Attempt, since: datetime, now: datetime, hours: float, url: str,
             ) -> Iterator[Notice]:
    """Told again after every further so many hours: a wait that nobody has ended does not get less important."""
    if attempt.asked_first_at is None:
        return
    asked, span = attempt.asked_first_at, timedelta(hours=hours)
    times = (now - asked) // span
    at = asked + times * span
    if times < 1 or at <= since:
        return
    waited = in_words((at - asked).total_seconds())
    yield about(journey, Kind.OVERDUE, at, url=url, attempt=attempt, happened=f"has waited {waited} for an approval",
                explained=f"It has been waiting for an approval since {in_utc(asked)}.")

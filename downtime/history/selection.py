"""Which attempts a figure, a chart or an export is about: those that ended in some days, of one lane or of both. Pure.

Days are days in UTC, like every time that is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from downtime.history.events import Ended
from downtime.history.journey import Attempt, Journey
from downtime.lanes import Lane

FIRST, LAST, LANE = "from", "to", "lane"  # as the query string names them


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Nothing given: everything."""

    first: date | None = None  # the day itself is in it
    last: date | None = None   # the same
    lane: Lane | None = None

    def covers(self, at: datetime, lane: str | None) -> bool:
        """Whether something that happened then to a patch of that lane belongs to it."""
        day = at.date()
        return ((self.first is None or day >= self.first) and (self.last is None or day <= self.last)
                and (self.lane is None or self.lane == lane))

    @property
    def query(self) -> dict[str, str]:
        """As the query string has it."""
        given = {FIRST: self.first, LAST: self.last, LANE: self.lane}
        return {name: str(value) for name, value in given.items() if value is not None}


EVERYTHING = Selection()


def from_query(query: Mapping[str, str]) -> Selection:
    """What a query string asks for; other names in it are not looked at. Raises ValueError with a sentence."""
    first, last = _day(query.get(FIRST, ""), FIRST), _day(query.get(LAST, ""), LAST)
    if first is not None and last is not None and first > last:
        raise ValueError(f"“{FIRST}” ({first}) is later than “{LAST}” ({last}).")
    lane = query.get(LANE, "")
    if lane and lane not in tuple(Lane):
        raise ValueError(f"“{LANE}” should be {' or '.join(Lane)}.")
    return Selection(first=first, last=last, lane=Lane(lane) if lane else None)


def _day(text: str, name: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise ValueError(f"“{name}” should be a day like 2026-03-04.") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """An attempt that is over, with the patch that it is about."""

    journey: Journey
    attempt: Attempt
    ended: Ended
    lane: Lane | None  # None where nobody has ever known it


def lane_of(journey: Journey, attempt: Attempt) -> Lane | None:
    """The lane of one attempt: a patch that was changed may have had another one before."""
    if attempt.ended is not None and attempt.ended.lane is not None:
        return attempt.ended.lane
    return attempt.asked.lane if attempt.asked is not None else journey.lane


def endings(journeys: Iterable[Journey], selection: Selection = EVERYTHING) -> tuple[Ending, ...]:
    """The attempts of the selection that are over, in the order in which they ended."""
    found = [Ending(journey=journey, attempt=attempt, ended=attempt.ended, lane=lane)
             for journey in journeys for attempt in journey.attempts
             if attempt.ended is not None
             and selection.covers(attempt.ended.at, lane := lane_of(journey, attempt))]
    return tuple(sorted(found, key=lambda each: (each.ended.at, each.attempt.request_id)))


def found_applied(journeys: Iterable[Journey], selection: Selection = EVERYTHING) -> tuple[Journey, ...]:
    """The patches that production's ledger had by itself, oldest first."""
    found = [journey for journey in journeys
             if journey.found is not None and selection.covers(journey.found.began_at, journey.found.lane)]
    return tuple(sorted(found, key=lambda each: each.found.began_at if each.found else each.first_at))

"""How long a patch was on its way from landing to production, and what it spent that time on. Pure.

The parts are the time between instants of its journey, in the order of the way; together they are the whole, always.
An instant that nobody noted is the next one that was: its time is counted to the part before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from statistics import median

from downtime.history.durations import in_words
from downtime.history.events import Outcome
from downtime.history.journey import Attempt, Journey
from downtime.history.selection import EVERYTHING, Selection, endings, found_applied

TREND = 10  # patches in the moving median: fewer follow an odd one, more hide what has changed this month


class Part(StrEnum):
    """What a patch spends its time on, in order; the value is what people read."""

    REHEARSAL = "rehearsal"                # from landing until it was rehearsed
    EARLIER = "earlier attempts"           # from then until the attempt that deployed it was asked for
    APPROVAL = "waiting for approval"      # until every word was there; the wait for a free place is in it
    TURN = "waiting for turn or window"    # until the background tasks were stopped, or the deployment began
    DEPLOYING = "quiescing and deploying"  # until the deployment was over


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadTime:
    """One patch that one of our attempts has brought into production."""

    patch_id: str
    lane: str
    landed_at: datetime
    in_production_at: datetime
    parts: dict[Part, float]  # seconds, all five, in order
    trend_seconds: float      # median of this patch and the TREND - 1 before it

    @property
    def seconds(self) -> float:
        return sum(self.parts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadTimes:
    """Those of a selection, in the order in which they reached production."""

    patches: tuple[LeadTime, ...]
    found: int  # patches of the ledger alone: nobody here saw them deployed, they have no lead time

    @property
    def median_seconds(self) -> float | None:
        return median(each.seconds for each in self.patches) if self.patches else None

    @property
    def sentence(self) -> str:
        apart = _apart(self.found)
        if not self.patches:
            return f"No patch has been deployed in this selection.{apart}"
        medians = {part: median(each.parts[part] for each in self.patches) for part in Part}
        longest_part = max(Part, key=lambda part: sum(each.parts[part] for each in self.patches))
        share = sum(each.parts[longest_part] for each in self.patches) / (sum(p.seconds for p in self.patches) or 1)
        longest = max(self.patches, key=lambda each: each.seconds)
        return (f"From landing to production a patch takes {in_words(self.median_seconds or 0)} in the median of "
                f"{len(self.patches)}. Most of the time, {100 * share:.0f} % of all, goes into {longest_part} "
                f"(median {in_words(medians[longest_part])}). "
                f"The longest way was that of {longest.patch_id}: {in_words(longest.seconds)}.{apart}")


def lead_times(journeys: Iterable[Journey], selection: Selection = EVERYTHING) -> LeadTimes:
    """The lead time of every patch that was deployed in the selection."""
    known = tuple(journeys)
    deployed = [each for each in endings(known, selection)
                if each.ended.outcome is Outcome.DEPLOYED and each.ended is each.journey.deployed]
    split = [parts_of(each.journey, each.attempt) for each in deployed]
    wholes = [sum(parts.values()) for parts in split]
    found = [each for each in found_applied(known, selection) if each.deployed is None]
    return LeadTimes(found=len(found), patches=tuple(
        LeadTime(patch_id=each.journey.patch_id, lane=each.lane or "", landed_at=began_at(each.journey, each.ended.at),
                 in_production_at=each.ended.at, parts=parts, trend_seconds=trend)
        for each, parts, trend in zip(deployed, split, moving_median(wholes), strict=True)))


def began_at(journey: Journey, ended_at: datetime) -> datetime:
    """When the way began that ended then: a landing after that is none of it."""
    return min(journey.landed_at if journey.landed_at <= ended_at else journey.first_at, ended_at)


def parts_of(journey: Journey, attempt: Attempt) -> dict[Part, float]:
    """The seconds of each part of the way that ended with this attempt, which is over."""
    assert attempt.ended is not None, "its way has an end"
    end = attempt.ended.at
    offered = attempt.offered_at
    rehearsed = min(journey.rehearsed.at, offered) if journey.rehearsed is not None else offered
    instants = [
        rehearsed,
        offered if attempt is not journey.attempts[0] else rehearsed,  # nothing came before the first one
        attempt.approved.at if attempt.approved is not None else None,
        attempt.quiescing.at if attempt.quiescing is not None else _deploying_at(attempt),
    ]
    here = began_at(journey, end)
    bounds = [here, *_in_order(instants, here, end), end]
    return {part: (later - earlier).total_seconds()
            for part, earlier, later in zip(Part, bounds[:-1], bounds[1:], strict=True)}


def moving_median(values: Sequence[float], latest: int = TREND) -> list[float]:
    """For each value the median of it and those before, `latest` in all; of fewer at the beginning."""
    return [median(values[max(0, place - latest + 1):place + 1]) for place in range(len(values))]


def _deploying_at(attempt: Attempt) -> datetime | None:
    if attempt.closed is not None:
        return attempt.closed.at
    return attempt.ended.began_at if attempt.ended is not None else None


def _in_order(instants: Sequence[datetime | None], first: datetime, last: datetime) -> list[datetime]:
    """The instants, each no earlier than the one before; an unknown one is the next that is known."""
    known, following = [], last
    for instant in reversed(instants):
        following = following if instant is None else min(max(instant, first), following)
        known.append(following)
    return known[::-1]


def _apart(found: int) -> str:
    if not found:
        return ""
    counted = "1 patch was" if found == 1 else f"{found} patches were"
    return f" {counted} found in production’s ledger, applied from a terminal, and not counted here."

"""What is between landing and production, in the order in which it will run, and the outage that it will cost. Pure.

An entry is one deployment of one patch. What a deployment will cost is known from its rehearsal or not at all: what
was not rehearsed is counted, and adds nothing to the total.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from downtime import patches
from downtime.history.durations import in_words
from downtime.history.events import Rehearsed
from downtime.history.journey import Attempt, Journey
from downtime.history.stages import Standing, standing
from downtime.lanes import Lane

Order = Callable[[str], tuple[int, ...]]  # a patch's place, read out of its id: `Inventory.number_of`


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One deployment to come."""

    place: int                              # from 1
    patch_id: str
    lane: Lane | None                       # None: not known before it is rehearsed
    standing: Standing | None               # None: nobody could say
    sha256: str = ""                        # of what was rehearsed; empty: nothing was
    staging_seconds: float | None = None    # the patch's own time there; None: not rehearsed
    expected_seconds: float | None = None   # the patch's own time in production; None: not rehearsed
    begins_at: datetime | None = None       # of the downtime or the live application; None: not known
    behind: tuple[str, ...] = ()            # approved, and follows these patches
    build_url: str = ""

    @property
    def expected_outage_seconds(self) -> float | None:
        """For how long nobody gets in: 0 for a live patch, None where it was not rehearsed."""
        return 0.0 if self.lane is Lane.LIVE and self.expected_seconds is not None else self.expected_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """All of them, in the order in which they will run."""

    entries: tuple[Entry, ...]

    @property
    def cold_seconds(self) -> tuple[float, ...]:
        """The expected outage of each cold patch that was rehearsed."""
        return tuple(seconds for entry in self.entries
                     if entry.lane is not Lane.LIVE and (seconds := entry.expected_outage_seconds) is not None)

    @property
    def live(self) -> int:
        """How many were rehearsed and cost no outage."""
        return sum(entry.lane is Lane.LIVE and entry.expected_seconds is not None for entry in self.entries)

    @property
    def not_rehearsed(self) -> int:
        return sum(entry.expected_seconds is None for entry in self.entries)

    @property
    def total_seconds(self) -> float:
        """The expected outages together; of those that are known."""
        return sum(self.cold_seconds)

    @property
    def longest_seconds(self) -> float:
        """The longest of them; 0 where there is none."""
        return max(self.cold_seconds, default=0.0)

    @property
    def sentence(self) -> str:
        """How many there are and what they cost; every deployment is counted in one of the three groups."""
        if not self.entries:
            return "No deployment is pending."
        parts = [part for part in (self._cold(), f"{self.live} live" if self.live else "") if part]
        return (_are(len(self.entries), "deployment ", "deployments ") + "pending: "
                + "; ".join([*([", ".join(parts)] if parts else []), *self._unknown()]) + ".")

    def _cold(self) -> str:
        count = len(self.cold_seconds)
        if not count:
            return ""
        if count == 1:
            return f"1 cold with {in_words(self.total_seconds)} of outage"
        return (f"{count} cold with {in_words(self.total_seconds)} of outage in all "
                f"(longest {in_words(self.longest_seconds)})")

    def _unknown(self) -> Sequence[str]:
        count = self.not_rehearsed
        return [f"{_are(count, '', '')}not rehearsed yet"] if count else []


def _are(count: int, one: str, many: str) -> str:
    return f"1 {one}is " if count == 1 else f"{count} {many}are "


def queue(journeys: Mapping[str, Journey], *, order: Order = patches.number_of) -> Queue:
    """What is not in production yet; in the order of the patches' numbers, which is that of an inventory."""
    waiting = sorted((journey for journey in journeys.values() if not standing(journey).settled),
                     key=lambda journey: (order(journey.patch_id), journey.patch_id))
    return Queue(entries=tuple(_entry(place, journey) for place, journey in enumerate(waiting, start=1)))


def _entry(place: int, journey: Journey) -> Entry:
    rehearsed, attempt = _rehearsed(journey), _under_way(journey)
    planned = attempt.planned if attempt is not None else None
    return Entry(
        place=place, patch_id=journey.patch_id, lane=journey.lane, standing=standing(journey),
        sha256=rehearsed.sha256 if rehearsed else "", staging_seconds=rehearsed.seconds if rehearsed else None,
        expected_seconds=rehearsed.expected_seconds if rehearsed else None,
        begins_at=_begins_at(attempt) if attempt is not None else None, behind=planned.behind if planned else (),
        build_url=attempt.build_url if attempt is not None else "")


def _rehearsed(journey: Journey) -> Rehearsed | None:
    """What was measured of the patch as it is; with a problem since, it is another one than was measured."""
    return journey.rehearsed if journey.problem is None else None


def _under_way(journey: Journey) -> Attempt | None:
    """The newest attempt, if it has not ended: nothing is planned for another."""
    attempt = journey.attempt
    return attempt if attempt is not None and attempt.ended is None else None


def _begins_at(attempt: Attempt) -> datetime | None:
    if attempt.closed is not None:
        return attempt.closed.at
    if attempt.quiescing is not None:
        return attempt.quiescing.begins_at
    return attempt.planned.begins_at if attempt.planned is not None else None


def to_json(found: Queue, *, now: datetime) -> dict[str, Any]:
    """The queue for other programs.

    | field | |
    |---|---|
    | `as_of` | when it was put together; all instants are UTC |
    | `sentence` | what it comes to, for people |
    | `deployments` | how many there are: `cold` + `live` + `not_rehearsed` |
    | `expected_outage_seconds`, `longest_outage_seconds` | of the cold ones, together and the longest |
    | `entries` | one per deployment, in the order in which they will run |

    Of each entry:

    | field | |
    |---|---|
    | `place` | from 1 |
    | `patch`, `lane`, `sha256` | its id; `cold`, `live` or null; of the bytes that were rehearsed, or empty |
    | `stage`, `waits_for`, `sentence` | as the pages have them; null, null and empty where nobody could say |
    | `staging_seconds`, `expected_seconds` | the patch's own time on staging and in production; null: not rehearsed |
    | `expected_outage_seconds` | how long nobody will get in; 0 for a live patch, null: not rehearsed |
    | `begins_at`, `begins_in_seconds` | null where not known; not below 0, also where it is late |
    | `behind` | patches that must be in production before it, where it is approved and waits for them |
    | `build_url` | the build that waits or runs; empty where there is none |
    """
    return {
        "as_of": now.isoformat(timespec="seconds"), "sentence": found.sentence, "deployments": len(found.entries),
        "cold": len(found.cold_seconds), "live": found.live, "not_rehearsed": found.not_rehearsed,
        "expected_outage_seconds": found.total_seconds, "longest_outage_seconds": found.longest_seconds,
        "entries": [_entry_to_json(entry, now) for entry in found.entries]}


def _entry_to_json(entry: Entry, now: datetime) -> dict[str, Any]:
    stands, begins_at = entry.standing, entry.begins_at
    return {
        "place": entry.place, "patch": entry.patch_id, "lane": entry.lane, "sha256": entry.sha256,
        "stage": stands.stage if stands else None, "waits_for": stands.whose if stands else None,
        "sentence": stands.sentence if stands else "", "staging_seconds": entry.staging_seconds,
        "expected_seconds": entry.expected_seconds, "expected_outage_seconds": entry.expected_outage_seconds,
        "begins_at": begins_at.isoformat(timespec="seconds") if begins_at else None,
        "begins_in_seconds": max(0.0, (begins_at - now).total_seconds()) if begins_at else None,
        "behind": list(entry.behind), "build_url": entry.build_url}

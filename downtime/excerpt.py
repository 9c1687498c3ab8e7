"""What is shown and kept of a patch with very many statements, or of a statement that has done very much. Pure.

Of statements the first, the last and the slowest; of what one did its strongest locks and its largest tables.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from downtime.apply import AppliedStatement
from downtime.footprints import Footprint

T = TypeVar("T")

EACH = 100    # so many of the first, of the last and of the slowest; some 200 kB of evidence, 1.3 MB at the worst
DETAILS = 20  # locks, scans, changes and sizes of one statement, each: it may lock thousands of partitions


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Statements left out, one behind the other, each faster than those of the slowest that are shown."""

    count: int
    seconds: float  # of all of them together

    def __str__(self) -> str:
        return f"… {self.count:,} statements, {self.seconds:.3f} s in all, are not shown"


def of(applied: Sequence[AppliedStatement]) -> list[AppliedStatement | Gap]:
    """All statements, or of more than 3 × EACH some and the gaps between them, in order."""
    if len(applied) <= 3 * EACH:
        return list(applied)
    middle = range(EACH, len(applied) - EACH)
    slowest = sorted(heapq.nlargest(EACH, middle, key=lambda place: applied[place].seconds))
    parts: list[AppliedStatement | Gap] = []
    after = 0
    for place in (*range(EACH), *slowest, *range(len(applied) - EACH, len(applied))):
        if place > after:
            parts.append(Gap(count=place - after, seconds=sum(each.seconds for each in applied[after:place])))
        parts.append(applied[place])
        after = place + 1
    return parts


def of_footprint(whole: Footprint) -> tuple[Footprint, int]:
    """What is kept of a footprint, and how many of its parts are not."""
    kept = replace(
        whole,
        locks=_most(whole.locks, lambda lock: (lock.existing, lock.mode.strength)),
        rewritten=whole.rewritten[:DETAILS], rebuilt=whole.rebuilt[:DETAILS],
        scans=_most(whole.scans, lambda scan: scan.rows),
        changes=_most(whole.changes, lambda change: change.inserted + change.updated + change.deleted),
        sizes=_most(whole.sizes, lambda size: size.table_bytes + size.index_bytes))
    return kept, _parts(whole) - _parts(kept)


def _most(parts: tuple[T, ...], rank: Callable[[T], Any]) -> tuple[T, ...]:
    """The highest-ranking ones, in their own order."""
    if len(parts) <= DETAILS:
        return parts
    places = heapq.nlargest(DETAILS, range(len(parts)), key=lambda place: rank(parts[place]))
    return tuple(parts[place] for place in sorted(places))


def _parts(footprint: Footprint) -> int:
    return sum(len(parts) for parts in (footprint.locks, footprint.rewritten, footprint.rebuilt, footprint.scans,
                                        footprint.changes, footprint.sizes))

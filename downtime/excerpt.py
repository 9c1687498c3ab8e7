"""What is shown and kept of a patch with very many statements: the first, the last and the slowest ones. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from downtime.apply import AppliedStatement

EACH = 100  # so many of the first, of the last and of the slowest; some 30 kB of evidence


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

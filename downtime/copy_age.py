"""When staging was made from production, as the two ledgers show it. Pure.

The ledger's rows are copied with the data. A row that both have to the microsecond was there when the copy was made;
a later row of production that staging lacks, or has from a rehearsal of its own, came after the copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from downtime.ledger import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyAge:
    """Between which two rows of production's ledger the copy was made; instants by production's clock."""

    after: Entry | None = None   # the newest row of production that was copied; None: nothing in common
    before: Entry | None = None  # the first one behind it that was not; None: all were

    def certainly_older_than(self, days: float, now: datetime) -> bool:
        """Whether there is no doubt about it."""
        return self.before is not None and now - self.before.finished_at > timedelta(days=days)


def of(staging: Sequence[Entry], production: Sequence[Entry]) -> CopyAge:
    """Judge the two ledgers, each in any order.

    What differs before the newest common row says nothing: somebody has changed the ledger of staging by hand.
    """
    copied = {_identity(entry) for entry in staging}
    rows = sorted(production, key=lambda entry: entry.finished_at)
    common = [number for number, entry in enumerate(rows) if _identity(entry) in copied]
    if not common:
        return CopyAge()
    later = rows[common[-1] + 1:]
    return CopyAge(after=rows[common[-1]], before=later[0] if later else None)


def _identity(entry: Entry) -> tuple[str, str, datetime]:
    return entry.id, entry.sha256, entry.finished_at

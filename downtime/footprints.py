"""What a statement did to the database, as a rehearsal has seen it: locks, rewrites, scans, rows, WAL. Pure.

`downtime.measuring` takes footprints on a server; `downtime.lane_safety` and `downtime.remedies` judge them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class LockMode(StrEnum):
    """The table-level lock modes, weakest first, in the words of PostgreSQL's documentation."""

    ACCESS_SHARE = "ACCESS SHARE"
    ROW_SHARE = "ROW SHARE"
    ROW_EXCLUSIVE = "ROW EXCLUSIVE"
    SHARE_UPDATE_EXCLUSIVE = "SHARE UPDATE EXCLUSIVE"  # the strongest that lets clients read and write
    SHARE = "SHARE"
    SHARE_ROW_EXCLUSIVE = "SHARE ROW EXCLUSIVE"
    EXCLUSIVE = "EXCLUSIVE"
    ACCESS_EXCLUSIVE = "ACCESS EXCLUSIVE"

    @classmethod
    def of_pg_locks(cls, mode: str) -> Self:
        """`ShareUpdateExclusiveLock`, as pg_locks has it. Raises KeyError for what is no mode of a table."""
        return {each.value.title().replace(" ", "") + "Lock": each for each in cls}[mode]

    @property
    def strength(self) -> int:
        return list(LockMode).index(self)

    @property
    def blocks_clients(self) -> bool:
        """Whether clients that read or write have to wait for it."""
        return self.strength > LockMode.SHARE_UPDATE_EXCLUSIVE.strength


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """One lock that a statement took and its transaction did not hold before."""

    relation: str        # schema.name, as SQL would quote it, and as it was before the patch; of an index its own
    mode: LockMode
    kind: str            # table, partitioned table, index, view, materialized view, sequence, foreign table …
    existing: bool       # the relation was there before the patch, so that clients may be using it
    table: str = ""      # of an index: its table


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A table that was read row by row, not by an index."""

    relation: str
    rows: int      # that this session has read; parallel workers' are not in it
    whole: bool    # it was read to its end, as far as can be told


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Rows that a statement wrote into one table, by whatever means (trigger, DO, function)."""

    relation: str
    inserted: int
    updated: int
    deleted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSize:
    """How large a table that was concerned is, after the statement."""

    relation: str
    table_bytes: int  # with TOAST, without indexes
    index_bytes: int
    rows: int         # the planner's estimate; -1 where it was never analysed


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What one statement did. Locks are what it took anew: what the transaction held already is not seen again."""

    wal_bytes: int                    # that the whole server wrote meanwhile: with clients connected, theirs too
    locks: tuple[Lock, ...] = ()
    rewritten: tuple[str, ...] = ()   # tables and materialized views, there before, that have new storage now
    rebuilt: tuple[str, ...] = ()     # indexes, there before, that have new storage now
    scans: tuple[Scan, ...] = ()
    changes: tuple[Change, ...] = ()
    sizes: tuple[TableSize, ...] = ()
    documented: bool = False          # locks as PostgreSQL documents them: it ran in transactions of its own
    statements: int = 1               # measured together, this being the last; 0: it is in a later one's footprint

    @property
    def strongest(self) -> Lock | None:
        """The strongest new lock on what was there before; of several the first."""
        return strongest(self.locks)

    @property
    def rows_changed(self) -> int:
        return sum(each.inserted + each.updated + each.deleted for each in self.changes)


def strongest(locks: Iterable[Lock]) -> Lock | None:
    """The strongest lock on a relation that was there before; None where there is none."""
    return max((each for each in locks if each.existing), key=lambda each: each.mode.strength, default=None)

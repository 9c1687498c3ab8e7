"""Who holds the locks that a patch, or the check of fragile users, did not get: named, so that somebody can act.

The server does not say which relation a lock was refused on, so all that hold locks on ordinary relations of this
database are named; behind the kick those are few: spared users, superusers, autovacuum, prepared transactions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from downtime import errors
from downtime.apply import PatchBlocked
from downtime.node import Node
from downtime.printable import escaped, quoted

NAMED = 10  # holders, and locks of each: enough to act upon
WEAK_MODES = frozenset({"AccessShareLock", "RowShareLock", "ShareLock"})  # none of them conflicts with SHARE

# Who holds locks on relations of this database that are no catalogs, longest transaction first. Who has begun after
# `patcher` was refused its lock (its transaction failed, and with it the gate may have opened) is not to blame. A
# prepared transaction is known by the lock on its own number: it keeps the virtual one of its session till a restart.
SELECT_HOLDERS = """
SELECT l.pid, a.usename AS "user", a.application_name AS application, a.state, coalesce(p.gid, '') AS prepared,
       coalesce(a.backend_type = 'autovacuum worker', false) AS is_autovacuum,
       coalesce(a.query LIKE 'autovacuum: %% (to prevent wraparound)', false) AS prevents_wraparound,
       extract(epoch FROM clock_timestamp() - coalesce(p.prepared, a.xact_start))::float8 AS transaction_seconds,
       array_agg(DISTINCT ARRAY[n.nspname || '.' || c.relname, l.mode]) AS locks
  FROM pg_catalog.pg_locks l
  JOIN pg_catalog.pg_class c ON c.oid = l.relation
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
  LEFT JOIN (pg_catalog.pg_locks own JOIN pg_catalog.pg_prepared_xacts p ON own.transactionid = p.transaction)
         ON l.pid IS NULL AND own.pid IS NULL AND own.virtualtransaction = l.virtualtransaction
 WHERE l.locktype = 'relation' AND l.granted AND c.relkind IN ('r', 'p', 'm')
   AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
   AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%%'
   AND (l.pid IS NULL OR l.pid <> ALL (%(ours)s))
   AND (a.xact_start < (SELECT state_change FROM pg_catalog.pg_stat_activity WHERE pid = %(patcher)s)) IS NOT FALSE
 GROUP BY l.pid, l.virtualtransaction, a.usename, a.application_name, a.state, a.backend_type, a.query, a.xact_start,
          p.gid, p.prepared
 ORDER BY transaction_seconds DESC NULLS FIRST
"""

# Whose transactions one session waits for just now, with what they hold on relations that are no catalogs; pid 0 stands
# for prepared ones. Empty where it does not wait.
SELECT_BLOCKING = """
SELECT nullif(b.pid, 0) AS pid, a.usename AS "user", a.application_name AS application, a.state,
       coalesce(p.gid, '') AS prepared, coalesce(a.backend_type = 'autovacuum worker', false) AS is_autovacuum,
       coalesce(a.query LIKE 'autovacuum: %% (to prevent wraparound)', false) AS prevents_wraparound,
       extract(epoch FROM clock_timestamp() - coalesce(p.prepared, a.xact_start))::float8 AS transaction_seconds,
       a.xact_start AS began_at,
       ARRAY(SELECT DISTINCT ARRAY[n.nspname || '.' || c.relname, l.mode]
               FROM pg_catalog.pg_locks l
               JOIN pg_catalog.pg_class c ON c.oid = l.relation
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              WHERE l.locktype = 'relation' AND l.granted AND l.pid = b.pid AND c.relkind IN ('r', 'p', 'm')
                AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
                AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%%') AS locks
  FROM (SELECT DISTINCT unnest(pg_catalog.pg_blocking_pids(w.pid)) AS pid
          FROM pg_catalog.pg_stat_get_activity(%(waiting)s) w
         WHERE w.wait_event_type = 'Lock') b  -- the function keeps all lockers of the server waiting for its moment
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid
  LEFT JOIN pg_catalog.pg_prepared_xacts p ON b.pid = 0 AND p.database = current_database()
 ORDER BY transaction_seconds DESC NULLS LAST
"""

# Which of these transactions are there still; a prepared one by its name. Takes no lock.
COUNT_STILL_THERE = """
SELECT (SELECT count(*) FROM unnest(%(pids)s::int[], %(began_at)s::timestamptz[]) AS seen (pid, began_at)
          JOIN pg_catalog.pg_stat_get_activity(NULL) a ON a.pid = seen.pid AND a.xact_start = seen.began_at)
     + (SELECT count(*) FROM pg_catalog.pg_prepared_xacts WHERE gid = ANY (%(prepared)s)) AS count
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A transaction that holds locks: a client's, an autovacuum worker's, or a prepared one that has no session."""

    pid: int | None
    user: str | None
    application: str | None
    state: str | None
    prepared: str                # its name (gid); empty for what has a session
    is_autovacuum: bool
    prevents_wraparound: bool    # such an autovacuum gives way to nobody
    transaction_seconds: float | None
    locks: Sequence[Sequence[str]]  # table and mode
    began_at: datetime | None = None  # its transaction, where it was asked whom a session waits for

    @property
    def gives_way(self) -> bool:
        """Whether the server ends it for who waits for its lock."""
        return self.is_autovacuum and not self.prevents_wraparound

    @property
    def hinders_share(self) -> bool:
        """Whether one of its locks conflicts with a lock in SHARE mode."""
        return any(mode not in WEAK_MODES for _, mode in self.locks)

    def __str__(self) -> str:
        more = [f"and {len(self.locks) - NAMED} more"] if len(self.locks) > NAMED else []
        held = ", ".join([*(f"{mode} on {escaped(table)}" for table, mode in self.locks[:NAMED]), *more])
        age = "" if self.transaction_seconds is None else f", for {self.transaction_seconds:.1f} s"
        return f"{self._who()}{age}: holds {held}" if held else f"{self._who()}{age}"

    def _who(self) -> str:
        if self.prepared:
            return f"prepared transaction {quoted(self.prepared)}"
        if self.is_autovacuum:
            return f"pid {self.pid} autovacuum{' to prevent wraparound' if self.prevents_wraparound else ''}"
        return (f"pid {self.pid} {escaped(self.user or 'dropped role')}"
                f" ({escaped(self.application or '') or 'no application name'}, {self.state or 'state unknown'})")


class PatchLockedOut(errors.DowntimeError):
    """A statement of the patch did not get its lock; rolled back. Who held locks at that moment is named."""

    happened = "{path}, line {line}: {reason}\n  locks are held by {listing}"
    left = errors.Left.REOPENED
    next_step = ("let those transactions end, or end them (a prepared one: COMMIT PREPARED or ROLLBACK PREPARED), then"
                 " run the deployment again")


async def holders(control: Node, *, ours: Collection[int], patcher: int) -> tuple[Holder, ...]:
    """Ask, over a session that is not the one that was refused: `patcher`, the pid of that. Raises NodeError."""
    found = await control.execute(SELECT_HOLDERS, {"ours": sorted(ours), "patcher": patcher})
    return tuple(Holder(**row) for row in found.rows)


async def blocking(control: Node, *, waiting: int) -> tuple[Holder, ...]:
    """Whom the session with this pid waits for at this moment, longest transaction first. Raises NodeError."""
    return tuple(Holder(**row) for row in (await control.execute(SELECT_BLOCKING, {"waiting": waiting})).rows)


async def still_there(control: Node, seen: Sequence[Holder]) -> bool:
    """Whether one of the transactions that `blocking` has seen has not ended yet. Raises NodeError."""
    return bool(seen) and bool((await control.execute(COUNT_STILL_THERE, {
        "pids": [each.pid for each in seen], "began_at": [each.began_at for each in seen],
        "prepared": [each.prepared for each in seen if each.prepared]})).scalar)


@asynccontextmanager
async def named(control: Node, *, ours: Collection[int], patcher: int) -> AsyncIterator[None]:
    """Apply the patch in the block: if it does not get a lock, PatchLockedOut says who stood in its way."""
    try:
        yield
    except PatchBlocked as error:
        try:
            found = listing(await holders(control, ours=ours, patcher=patcher))
        except errors.NodeError as unknown:
            found = f"somebody who could not be looked up: {unknown}"
        raise PatchLockedOut(path=error.facts["path"], line=error.facts["line"], reason=error.facts["reason"],
                             listing=found) from error


def listing(found: Sequence[Holder]) -> str:
    """The holders in one sentence."""
    if not found:
        return "nobody any more"
    more = [f"{len(found) - NAMED} more"] if len(found) > NAMED else []
    return "; ".join([*map(str, found[:NAMED]), *more])

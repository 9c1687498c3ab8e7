"""In which condition a database is: its door, who deploys, who waits, what it has. For `status`, and for a bad day.

Looked at from the maintenance database first, which can be reached while gate "refuse" is closed. While gate "hold"
is closed no look is possible: `observe` then raises DeadlineExceeded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from downtime import deployment_lock, held, indexes, ledger, marker
from downtime.held import Holding
from downtime.marker import Door
from downtime.node import Node, connect
from downtime.target import Target

# Who holds the lease of a database (see downtime.guard); to be asked in the maintenance database. Takes no lock.
SELECT_LEASE_HOLDER = f"""
SELECT a.pid, a.application_name AS application, a.backend_start AS started_at
  FROM pg_catalog.pg_locks l
  JOIN pg_catalog.pg_database d ON l.objid = d.oid AND d.datname = %s
  JOIN pg_catalog.pg_stat_activity a USING (pid)
 WHERE l.locktype = 'advisory' AND l.granted AND l.classid = {deployment_lock.LOCK_CLASS} AND l.objsubid = 2
   AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
"""

# Clients of the whole cluster that gate "hold", or whoever else locks that catalog, keeps waiting. Takes no lock.
COUNT_WAITING_CLIENTS = """
SELECT count(*) AS waiting FROM pg_catalog.pg_locks
 WHERE relation = 'pg_catalog.pg_db_role_setting'::regclass AND NOT granted
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """What a database that accepts connections shows."""

    deployer: str | None                      # who holds the deployment lock
    waiting_clients: int
    invalid_indexes: tuple[str, ...]          # that nobody is building
    entries: tuple[ledger.Entry, ...] | None  # oldest first; None: it has no ledger
    held: tuple[Holding, ...] = ()            # outside the database, by a deployment that is under way or died


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One look."""

    door: Door
    lease_held: bool       # by a living deployer of gate "refuse"
    inside: Inside | None  # None: it does not accept connections

    @property
    def closed_by_dead_run(self) -> bool:
        """An operator has to reopen it."""
        return self.door.closed_by_us and not self.door.open and not self.lease_held

    @property
    def held_by_dead_run(self) -> tuple[Holding, ...]:
        """What an operator has to let go on."""
        return self.inside.held if self.inside is not None and self.inside.deployer is None else ()


async def observe(target: Target, *, reactor: Any = None) -> Condition:
    """Look. Raises NodeError."""
    node = await connect(target.with_database("postgres"), application_name="fastdowntime status", reactor=reactor)
    try:
        door, lease_held = await _look_at_door(node, target.database)
    finally:
        node.close()
    return Condition(door=door, lease_held=lease_held,
                     inside=await _look_inside(target, reactor) if door.open else None)


async def _look_at_door(node: Node, database: str) -> tuple[Door, bool]:
    """Door and lease as they were at one time: they change one after the other."""
    while True:
        door = await marker.read(node, database)
        lease_held = bool((await node.execute(SELECT_LEASE_HOLDER, (database,))).rows)
        if await marker.read(node, database) == door:
            return door, lease_held


async def _look_inside(target: Target, reactor: Any) -> Inside:
    node = await connect(target, application_name="fastdowntime status", reactor=reactor)
    try:
        before = await held.read(node)
        deployer = await deployment_lock.holder(node, target.database)
        return Inside(
            deployer=deployment_lock.describe(deployer) if deployer is not None else None,
            waiting_clients=(await node.execute(COUNT_WAITING_CLIENTS)).scalar,
            invalid_indexes=tuple(map(str, await indexes.invalid(node))),
            entries=await _entries(node),
            # a deployment writes its rows with the lock and removes them before it gives that back
            held=tuple(each for each in await held.read(node) if each in before))
    finally:
        node.close()


async def _entries(node: Node) -> tuple[ledger.Entry, ...] | None:
    try:
        return await ledger.read(node)
    except ledger.NotInstalled:
        return None

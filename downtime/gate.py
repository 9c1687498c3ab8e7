"""Prevent new connections while a patch is applied, and allow them again whatever happens to us.

Two gates with one contract:

* `prevent()` returns when no new client can get in. It is called inside the patching session's transaction.
* `allow_in_transaction()` is called in that same transaction after the patch: its COMMIT opens the gate and puts
  the patch in, in one instant.
* `allow()` is called when the patching transaction has ended, however it ended; afterwards the gate is open.
  Nobody calls it while the patching session may still commit (fence before opening).

`Hold` locks the catalog that every starting session reads. The lock belongs to the patch's transaction, so there is
nothing to undo: commit, rollback, kill -9 of the deployer and a crash of the server all open it, and clients wait
instead of failing. It holds the whole cluster and needs a function that a superuser made once (`install`).

`Refuse` sets ALLOW_CONNECTIONS false, which every server permits the database's owner. That outlives us, so it is
closed together with a marker that says who did it, and only after a guard was armed: a backend of the server that
waits for our lease to vanish (or the hard limit to pass), ends the patching session, waits until it is gone, and
allows connections: `downtime.guard`. What the guard cannot survive, a crash of the server, `downtime.recovery` undoes.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.task import deferLater

from downtime import errors, fence, marker
from downtime.guard import Guard
from downtime.literals import without_literals
from downtime.node import Node, connect
from downtime.parameters import NO_STANDBY, milliseconds
from downtime.printable import quoted
from downtime.target import Target

MAINTENANCE_DATABASE = "postgres"  # from where gate "refuse" closes and opens: a database cannot close itself
APPLICATION_NAME = "fastdowntime gate"
MAINTENANCE_SECONDS = 5.0  # for a statement there, which takes 1 ms; an administrator's own ALTER may delay it
LOCK_WAIT_SECONDS = 0.2   # longer: clients queue behind our waiting lock; shorter: ordinary readers of pg_roles win
LOCK_ATTEMPTS = 5
LOCK_PAUSE_SECONDS = 0.3  # lets the clients that queued behind an attempt pass before the next
GUARD_LIMIT_MARGIN_SECONDS = 5.0  # the guard's limit lies this much behind the deployer's own: the deployer acts first

# In one message, for from the lock on every answer is outage; what follows is not reached where it is not to be had.
# RELEASE keeps the lock; a statement of the patch that rolled back to "gate" would have given it up.
TAKE_THE_LOCK = ("SELECT fastdowntime.prevent_connections(); "
                 "RELEASE SAVEPOINT gate; SET LOCAL lock_timeout TO DEFAULT")

# Which transactions stand in the way of the gate's lock, taken or waited for; each once, whatever it holds (the time is
# that of the statement, the same in all rows). Takes no lock.
SELECT_BLOCKERS = """
SELECT DISTINCT a.pid, a.usename AS "user", a.datname AS database,
       a.application_name AS application, a.state, left(a.query, 80) AS query,
       extract(epoch FROM statement_timestamp() - a.xact_start)::float8 AS seconds
  FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
 WHERE l.relation = 'pg_catalog.pg_db_role_setting'::regclass AND l.granted AND l.pid <> pg_backend_pid()
"""


class GateBlocked(errors.Refused):
    """The lock was not to be had: a transaction has read the roles catalog and is still open."""

    happened = "connections could not be prevented: {listing}"
    next_step = "run the deployment again when that transaction has ended"
    left = errors.Left.REOPENED


class CannotRefuse(errors.Refused):
    """A database cannot be closed from inside, and there is no other to do it from."""

    happened = "gate refuse cannot close {database}: it works from there"
    next_step = "set the environment's gate to hold, or keep the application in a database of its own"


class Unguarded(errors.Refused):
    """The guard has ended before the gate was closed: somebody ended it, or its limit has passed."""

    happened = "the guard of gate refuse is gone; without it nobody would reopen the database for a dead deployer"
    next_step = "run the deployment again"
    left = errors.Left.REOPENED


class Gate(Protocol):
    """What `downtime.outage` needs of a gate. All errors are of `downtime.errors`."""

    async def arm(self, patcher: Node) -> None:
        """Open and prepare whatever is needed, before the outage begins."""

    async def prevent(self) -> None: ...

    async def allow_in_transaction(self) -> None: ...

    async def allow(self) -> None: ...

    async def disarm(self) -> None:
        """After the outage: end what `arm` opened."""


class Hold:
    """Clients wait; the lock lives and dies with the patch's transaction."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    async def arm(self, patcher: Node) -> None:
        self._patcher = patcher

    async def prevent(self) -> None:
        """Take the lock in short attempts, so that clients never queue behind us for long. Raises GateBlocked."""
        await self._patcher.execute(f"SET LOCAL lock_timeout = '{milliseconds(LOCK_WAIT_SECONDS)}'; SAVEPOINT gate")
        for attempt in range(1, LOCK_ATTEMPTS + 1):
            try:
                await self._patcher.execute(TAKE_THE_LOCK)
                return
            except errors.LockNotAvailable as error:
                await self._patcher.execute("ROLLBACK TO SAVEPOINT gate")
                if attempt == LOCK_ATTEMPTS:
                    raise await self._blocked() from error
            await deferLater(self._reactor, LOCK_PAUSE_SECONDS, lambda: None)

    async def allow_in_transaction(self) -> None:
        return  # the COMMIT opens it

    async def allow(self) -> None:
        return  # the end of the transaction has opened it

    async def disarm(self) -> None:
        return

    async def _blocked(self) -> GateBlocked:
        blockers = await self._patcher.execute(SELECT_BLOCKERS)
        names = "; ".join(
            f"pid {row['pid']} {row['user']} in {row['database']} (application {quoted(row['application'] or '')},"
            f" {row['state'] or 'state unknown'}, transaction {row['seconds'] or 0:.1f} s),"
            f" last query {quoted(without_literals(row['query'] or ''))}"
            for row in blockers.rows) or "nobody any more"
        return GateBlocked(listing=f"the roles catalog is locked by {names}")


class Refuse:
    """Clients are refused (SQLSTATE 55000); a guard in the server reopens if we die."""

    def __init__(self, target: Target, reactor: Any, *, limit_seconds: float) -> None:
        self._target = target
        self._reactor = reactor
        self._guard = Guard(target, reactor, limit_seconds=limit_seconds + GUARD_LIMIT_MARGIN_SECONDS)
        self._maintenance: Node | None = None
        self._lease: Node | None = None  # the maintenance session that closes; a later one has no lease
        self._mark = ""                  # no other deployment's
        self._closed = False

    async def arm(self, patcher: Node) -> None:
        if self._target.database == MAINTENANCE_DATABASE:
            raise CannotRefuse(database=MAINTENANCE_DATABASE)
        self._patcher = patcher
        self._mark = (await fence.backend_of(patcher)).by
        self._maintenance = self._lease = await self._connect()
        self._closing = await fence.backend_of(self._lease)
        await self._guard.arm(patcher=patcher, lease=self._lease, mark=self._mark)

    async def prevent(self) -> None:
        lease = self._lease
        assert lease is not None, "arm() comes first"
        if not await self._guard.waits(lease=lease):
            raise Unguarded
        async with lease.transaction():
            await lease.execute(f"SET LOCAL lock_timeout = '{milliseconds(LOCK_WAIT_SECONDS)}'")
            self._closed = True  # from here on the COMMIT may have been carried out, whatever we hear of it
            try:
                await lease.execute(marker.closing(self._target.database, by=self._mark))
            except errors.LockNotAvailable as error:
                raise GateBlocked(listing="another transaction is changing the database's own settings") from error

    async def allow_in_transaction(self) -> None:
        await self._patcher.execute(marker.opening(self._target.database))

    async def allow(self) -> None:
        if not self._closed:
            return
        maintenance = await self._at_hand()
        if maintenance is not self._lease:
            await fence.end(self._closing, seen_from=maintenance)  # a COMMIT of its closing may have been under way
        if await marker.stands(maintenance, self._target.database, by=self._mark):
            async with maintenance.transaction():
                await maintenance.execute(marker.opening(self._target.database))
        self._closed = False

    async def disarm(self) -> None:
        if self._maintenance is None:
            return  # nothing was armed
        try:
            if not self._closed:
                await self._guard.disarm(killer=await self._at_hand())
        finally:
            self._guard.leave()  # one that was not ended opens the gate now that the lease goes
            self._maintenance.close()

    async def _at_hand(self) -> Node:
        """The maintenance session, or a new one: if it was lost the lease went with it and the guard has acted."""
        if self._maintenance is None or self._maintenance.closed:
            self._maintenance = await self._connect()
        return self._maintenance

    async def _connect(self) -> Node:
        return await connect(self._target.with_database(MAINTENANCE_DATABASE), application_name=APPLICATION_NAME,
                             settings=NO_STANDBY,
                             statement_timeout_seconds=MAINTENANCE_SECONDS, reactor=self._reactor)

"""A backend of the server that reopens a database closed by gate "refuse" when its deployer cannot.

It runs one statement: wait for the advisory lock that the deployer's maintenance session holds (the lease), then end
the patching session, wait until it is gone, and allow connections if the mark still stands. The lock comes free when
the deployer's session ends for whatever reason; when the limit passes the wait is given up and the rest happens all
the same. The backend does not need its client: measured 9 ms after kill -9 of the deployer, which was its client.
It does not survive a crash of the server: `downtime.recovery` undoes what that leaves.
"""

from __future__ import annotations

from typing import Any

from psycopg2 import sql
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from downtime import errors, fence, marker
from downtime.deployment_lock import LOCK_CLASS
from downtime.node import Node, connect
from downtime.parameters import NO_STANDBY, milliseconds
from downtime.target import Target

LOG = Logger()

# The lease is keyed by the closed database's oid and lives in the maintenance database, where the guard can wait.
LEASE = f"""
SELECT pg_try_advisory_lock({LOCK_CLASS}, oid::int4) AS taken FROM pg_catalog.pg_database WHERE datname = %s
"""

# Waits for the lease, then fences and opens. The backend's start tells the patching session from a later one with
# the same pid. Takes the advisory lock; at the end ROW EXCLUSIVE on pg_database and pg_db_role_setting.
WATCH = """
DO $guard$
BEGIN
    BEGIN
        PERFORM pg_advisory_lock({lock_class}, oid::int4) FROM pg_catalog.pg_database WHERE datname = {database};
    EXCEPTION WHEN lock_not_available THEN
        RAISE LOG 'fastdowntime guard: the limit has passed';
    END;
    WHILE EXISTS (SELECT FROM pg_catalog.pg_stat_get_activity({patcher}) WHERE backend_start = {patcher_started_at})
    LOOP
        PERFORM pg_catalog.pg_terminate_backend({patcher});
        PERFORM pg_catalog.pg_sleep(0.005);
        PERFORM pg_catalog.pg_stat_clear_snapshot();
    END LOOP;
    LOOP
        BEGIN
            IF EXISTS (SELECT FROM pg_catalog.pg_db_role_setting s
                         JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
                        WHERE d.datname = {database} AND array_to_string(s.setconfig, E'\\n') LIKE {mark}) THEN
                {opening};
            END IF;
            EXIT;
        EXCEPTION WHEN lock_not_available OR deadlock_detected OR internal_error THEN
            -- somebody else is altering the database: "tuple concurrently updated" is an internal error
            RAISE LOG 'fastdowntime guard: tries again to allow connections: %', SQLERRM;
            PERFORM pg_catalog.pg_sleep(0.05);
        END;
    END LOOP;
END
$guard$
"""


async def take_lease(node: Node, database: str) -> bool:
    """Hold the lease of a database for as long as the session lasts; False while another deployer holds it.

    `node` must be a session of the maintenance database.
    """
    return bool((await node.execute(LEASE, (database,))).scalar)


class Guard:
    """Arm it before the gate closes, disarm it after the gate is open."""

    def __init__(self, target: Target, reactor: Any, *, limit_seconds: float) -> None:
        self._target = target.with_database("postgres")
        self._database = target.database
        self._reactor = reactor
        self._limit_seconds = limit_seconds
        self._node: Node | None = None
        self._disarmed = False

    async def arm(self, *, patcher: Node, lease: Node, mark: str) -> None:
        """Returns when the guard waits for the lease that `lease` now holds. Raises NodeError.

        `mark` is what the closing will say, by which it is told from another deployment's.
        """
        if not await take_lease(lease, self._database):
            raise errors.CannotConnect(node=self._target.label, reason="another deployment holds the lease")
        patching = await fence.backend_of(patcher)
        # neither a statement_timeout nor a check of its client: it has to outlive the deployer
        self._node = await connect(
            self._target, application_name="fastdowntime guard", reactor=self._reactor,
            statement_timeout_seconds=None, settings={
                **NO_STANDBY, "client_connection_check_interval": "0",
                "lock_timeout": milliseconds(self._limit_seconds)})
        # a role's own default would show the guard its database as it was before it was closed, or let it write nothing
        await self._node.execute("SET default_transaction_isolation TO 'read committed';"
                                 " SET default_transaction_read_only TO off")
        Deferred.fromCoroutine(self._node.execute(self._watch(patching, mark))).addErrback(self._ended)
        await self._until_waiting(self._node, lease)

    async def waits(self, *, lease: Node) -> bool:
        """Whether it stands by still; `lease` is the session that holds the lease. Raises NodeError."""
        assert self._node is not None, "arm() comes first"
        return bool((await lease.execute(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks WHERE pid = %s AND locktype = 'advisory' AND NOT granted)"
            " AS waiting", (self._node.pid,))).scalar)

    async def disarm(self, *, killer: Node) -> None:
        """End the guard from another session; closing its connection alone would not end it."""
        self._disarmed = True
        if self._node is not None and not self._node.closed:
            await killer.execute("SELECT pg_catalog.pg_terminate_backend(%s)", (self._node.pid,))
        self.leave()

    def leave(self) -> None:
        """Close our connection to the guard. It goes on without us, unless it was ended before."""
        self._disarmed = True
        if self._node is not None:
            self._node.close()

    async def _until_waiting(self, guard: Node, lease: Node) -> None:
        while not guard.closed:
            if await self.waits(lease=lease):
                return
            await deferLater(self._reactor, 0.002, lambda: None)
        raise errors.CannotConnect(node=self._target.label, reason="the guard of gate refuse ended at once")

    def _ended(self, failure: Failure) -> None:
        failure.trap(errors.NodeError)
        if not self._disarmed:
            LOG.warn("the guard of {database} ended: {error}", database=self._database, error=failure.value)

    def _watch(self, patching: fence.Backend, mark: str) -> sql.Composed:
        return sql.SQL(WATCH).format(
            lock_class=sql.Literal(LOCK_CLASS), database=sql.Literal(self._database), patcher=sql.Literal(patching.pid),
            patcher_started_at=sql.Literal(patching.started_at.isoformat()),
            mark=sql.Literal(f"%{marker.PARAMETER}={marker.PREFIX}{mark}%"), opening=marker.opening(self._database))

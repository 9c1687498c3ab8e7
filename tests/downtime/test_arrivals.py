"""A client that was half way in when the gate closed: it is waited for, seen and kicked like everybody else."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import psycopg2
import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from downtime import sessions
from downtime.kicking import Kick, SessionsSurvive
from downtime.phases import Phase
from tests.builders import a_deployment, a_node, pause, until
from tests.databases import Database
from tests.downtime.outages import prepared

SLOWLY = "-c post_auth_delay=1"  # seconds between the server's last look at the gate and the client being visible

# Fails if a client is connected while the patch is applied, a second and a half after it began.
NOBODY_MAY_BE_HERE = """
DO $$
BEGIN
    PERFORM pg_sleep(1.5);
    IF EXISTS (SELECT FROM pg_stat_activity WHERE usename = 'app' AND datname = current_database()) THEN
        RAISE 'a client is connected';
    END IF;
END $$;
"""

# Backends of this database that have passed the gate but are in no list of sessions yet.
ARRIVING = """
SELECT count(*) FROM pg_locks
 WHERE locktype = 'object' AND classid = 'pg_database'::regclass AND mode = 'RowExclusiveLock'
   AND objid = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@asynccontextmanager
async def a_client_on_its_way(database: Database) -> AsyncIterator[None]:
    """A client that has passed the gate, and whose start-up takes a second more."""
    admin = psycopg2.connect(database.superuser_dsn)
    admin.autocommit = True

    def connect() -> None:
        with contextlib.suppress(psycopg2.Error):  # ended on its way
            database.connect("app", options=SLOWLY)

    def arriving() -> bool:
        with admin.cursor() as cursor:
            cursor.execute(ARRIVING)
            return bool(cursor.fetchone() == (1,))

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    try:
        await until(arriving, "the client passing the gate")
        yield
    finally:
        thread.join()
        admin.close()


@pytest.mark.parametrize("gate", ["hold", "refuse"])
async def test_a_client_that_was_half_way_in_is_gone_before_the_patch(gate: str, each_database: Database) -> None:
    """It has passed the gate and shows in no list of sessions yet; it was connected in the middle of the patch."""
    patch = a_deployment(sql=NOBODY_MAY_BE_HERE)
    async with prepared(each_database, patch, gate=gate) as outage, a_client_on_its_way(each_database):
        report = await outage.run()

    assert (report.error, report.applied) == (None, True)


async def test_a_client_that_does_not_end_its_start_up_ends_the_kick_at_its_deadline(each_database: Database) -> None:
    """Nobody knows yet whose it is, so it cannot be passed over."""
    node = await a_node(each_database.target)
    rules = sessions.Rules(spared=frozenset({"postgres"}))
    try:
        async with a_client_on_its_way(each_database):
            kick = Kick(node, rules, reactor, before_each=lambda: None)
            with pytest.raises(SessionsSurvive, match=r"pid \d+ \(still connecting\)"):
                await kick.everybody(deadline=monotonic() - 1)
    finally:
        node.close()


# Clients that wait for the lock that they need to get in.
QUEUED = """
SELECT count(*) > 0 FROM pg_locks  -- autovacuum may queue as well
 WHERE locktype = 'object' AND classid = 'pg_database'::regclass AND mode = 'RowExclusiveLock' AND NOT granted
"""


def _copy(database: Database) -> None:
    """Keeps new clients of a database waiting while it waits, five seconds at most, for the others to leave."""
    with contextlib.suppress(psycopg2.Error):  # they do not
        database.server.admin_sql(f"CREATE DATABASE copy_of_{database.name} TEMPLATE {database.name}")


def _connect(database: Database) -> None:
    with contextlib.suppress(psycopg2.Error):  # refused, when its turn comes
        database.connect("app")


@pytest.mark.parametrize("gate", ["hold", "refuse"])
async def test_a_client_that_queues_outside_is_not_waited_for(gate: str, each_database: Database) -> None:
    """Somebody makes a copy of the database: the client has not passed anything, and the kick waited for it."""
    admin = psycopg2.connect(each_database.server.superuser_dsn("postgres"))
    admin.autocommit = True

    def queued() -> bool:
        with admin.cursor() as cursor:
            cursor.execute(QUEUED)
            return bool(cursor.fetchone() == (True,))

    async with prepared(each_database, a_deployment(sql="SELECT pg_sleep(0.5);"), gate=gate) as outage:
        copying = deferToThread(_copy, each_database)
        await pause(0.1)
        connecting = deferToThread(_connect, each_database)
        await until(queued, "the client queueing behind the copy")
        ended = outage.watch(Phase.KICK)
        running = Deferred.fromCoroutine(outage.run())
        kicked = await ended
        still_queued = queued()
        report = await running
        await copying
        await connecting
    admin.close()
    each_database.server.admin_sql(f"DROP DATABASE IF EXISTS copy_of_{each_database.name}")
    print(f"{each_database.server.installation}, gate {gate}: kicked in {kicked.seconds * 1000:.0f} ms")

    assert (still_queued, report.error, report.applied) == (True, None, True)

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

from downtime import ready, sessions
from downtime.kicking import Kick, SessionsSurvive
from downtime.outage import Outage
from tests.builders import a_deployment, a_node, no_objections, until
from tests.databases import Database

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
    outage = Outage(each_database.target, a_deployment(sql=NOBODY_MAY_BE_HERE),
                    ready.Rules(gate=gate, spared=frozenset({"postgres"})))
    try:
        await outage.prepare(no_objections)
        async with a_client_on_its_way(each_database):
            report = await outage.run()
    finally:
        await outage.close()

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

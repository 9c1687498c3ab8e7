"""The gate's self-test against real servers."""

from __future__ import annotations

from contextlib import closing
from time import monotonic
from typing import Any

import psycopg2
import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from downtime import deployment_lock, errors, node, selftest
from downtime.proof import GateLeaks
from downtime.selftest import LIMIT_SECONDS
from tests.builders import PATIENCE_SECONDS
from tests.databases import Database, Gate
from tests.downtime.outages import lets_in

LONGER_SECONDS = 1


@pytest.mark.parametrize("gate", ["hold", "refuse"])
async def test_a_good_gate_is_closed_for_a_moment_and_opened_again(each_database: Database, gate: Gate) -> None:
    """On every version, with either gate; clients that are connected stay."""
    client = each_database.connect("app")

    seconds = await selftest.run(each_database.target, gate, reactor)

    assert 0 < seconds < LIMIT_SECONDS
    client.cursor().execute("SELECT 1")
    each_database.connect("app")


async def test_a_gate_that_lets_somebody_in_is_found_out(database: Database) -> None:
    """Were a server version to ignore the lock, this is how we would learn it."""
    database.admin_sql("CREATE OR REPLACE FUNCTION fastdowntime.prevent_connections() RETURNS void"
                       " LANGUAGE sql AS 'SELECT'")

    with pytest.raises(GateLeaks, match="gate hold"):
        await selftest.run(database.target, "hold", reactor)


async def test_it_keeps_out_of_a_deployments_way(database: Database) -> None:
    """It takes the deployment lock, and gives way to whoever holds it."""
    deployer = await node.connect(database.target, application_name="deployer")
    try:
        await deployment_lock.take(deployer)
        with pytest.raises(deployment_lock.DeploymentUnderWay, match="deployer"):
            await selftest.run(database.target, "hold", reactor)
    finally:
        deployer.close()


async def test_the_self_test_is_open_again_after_a_crash(doomed: Database) -> None:
    """It closes production for a moment, too: a crash in that moment must not leave it shut."""
    for statement in (f"ALTER SYSTEM SET pre_auth_delay = {LONGER_SECONDS}", "SELECT pg_reload_conf()"):
        doomed.admin_sql(statement)  # for as long the self-test waits to be refused
    with closing(psycopg2.connect(doomed.server.superuser_dsn("postgres"))) as onlooker:
        watching = deferToThread(kill_when_closed, doomed, onlooker)
        running = Deferred.fromCoroutine(selftest.run(doomed.target, "refuse", reactor))
        was_closed = await watching
    doomed.server.start()

    with pytest.raises(errors.DowntimeError):
        await running
    assert was_closed
    assert lets_in(doomed)


def kill_when_closed(database: Database, onlooker: Any) -> bool:
    """In a thread, on a connection that is open already; whether it was closed."""
    deadline = monotonic() + PATIENCE_SECONDS
    onlooker.autocommit = True
    with onlooker.cursor() as cursor:
        is_open = True
        while is_open and monotonic() < deadline:
            cursor.execute("SELECT datallowconn FROM pg_database WHERE datname = %s", (database.name,))
            (is_open,) = cursor.fetchone()
    database.server.kill()
    return not is_open

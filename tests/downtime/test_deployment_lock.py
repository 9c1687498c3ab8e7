"""One deployment at a time per database."""

from __future__ import annotations

import pytest
from twisted.internet import reactor

from demo.application import PATCHER
from demo.pgbouncer import PgBouncer
from downtime import deployment_lock, errors
from downtime.target import Target
from tests.builders import a_node
from tests.databases import Database, MakeDatabase


def close(database: Database) -> None:
    database.server.admin_sql(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false")


async def test_the_second_is_refused_until_the_first_has_ended(each_database: Database) -> None:
    """The holder is named with application and pid; its end gives the lock back."""
    first, second = await a_node(each_database.target), await a_node(each_database.target)
    try:
        await deployment_lock.take(first)
        with pytest.raises(deployment_lock.DeploymentUnderWay, match=rf"test of patcher .* pid {first.pid}"):
            await deployment_lock.take(second)
        first.close()
        await second.execute("SELECT pg_terminate_backend(%s, 5000)", (first.pid,))
        await deployment_lock.take(second)
        held = await deployment_lock.holder(second, second.target.database)
    finally:
        first.close()
        second.close()

    assert held is not None
    assert held["pid"] == second.pid


async def test_other_databases_of_the_server_are_not_concerned(database: Database, make_database: MakeDatabase) -> None:
    """Staging and production may live in one cluster."""
    here, there = await a_node(database.target), await a_node(make_database(database.server).target)
    try:
        await deployment_lock.take(here)
        await deployment_lock.take(there)
        assert (await deployment_lock.holder(there, there.target.database) or {})["pid"] == there.pid
    finally:
        here.close()
        there.close()


async def test_whom_a_closed_gate_keeps_out_is_told_who_deploys(database: Database) -> None:
    """Gate "refuse" lets nobody in to look for the lock: it is seen from the maintenance database."""
    deploying = await a_node(database.target)
    try:
        await deployment_lock.take(deploying)
        close(database)
        with pytest.raises(deployment_lock.DeploymentUnderWay, match=rf"test of patcher .* pid {deploying.pid}"):
            await deployment_lock.session(database.target, application_name="second", reactor=reactor)
    finally:
        deploying.close()


async def test_what_an_administrator_closed_has_no_deployer(database: Database) -> None:
    """Then the server's own refusal is all there is to say."""
    close(database)
    with pytest.raises(errors.ConnectionsRefused):
        await deployment_lock.session(database.target, application_name="second", reactor=reactor)


async def test_through_a_pooler_it_is_not_taken(pooler: PgBouncer, database: Database) -> None:
    """The pooler keeps its server connection for minutes after we have gone, and every deployment would be refused."""
    behind = await a_node(Target(dsn=pooler.dsn(user=PATCHER, database=database.name)))
    beside = await a_node(database.target)
    try:
        with pytest.raises(deployment_lock.ThroughAPooler, match="leads through a pooler"):
            await deployment_lock.take(behind)
        behind.close()
        assert await deployment_lock.holder(beside, database.name) is None
    finally:
        behind.close()
        beside.close()

"""The backend that reopens when its deployer cannot."""

from __future__ import annotations

import psycopg2
import pytest
from twisted.internet import reactor

from downtime import guard, marker
from downtime.node import Node
from tests.builders import a_node, until
from tests.databases import Database

MARK = "by a test"


async def close(lease: Node, database: Database) -> None:
    async with lease.transaction():
        await lease.execute(marker.closing(database.name, by=MARK))


def is_open(database: Database) -> bool:
    return database.server.admin_sql("SELECT datallowconn FROM pg_database WHERE datname = %s",
                                     (database.name,)) == [(True,)]


async def left_closed_by(patcher: Node, lease: Node, watch: guard.Guard, database: Database) -> bool:
    """The deployer dies; whether the guard, when it has ended, has left the database closed."""
    watch.leave()
    lease.close()
    await until(lambda: patcher.closed, "the patching session ending")
    await until(lambda: database.server.admin_sql("SELECT 1 FROM pg_stat_activity WHERE application_name ="
                                                  " 'fastdowntime guard'") == [], "the guard ending")
    return not is_open(database)


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
async def test_it_opens_when_the_lease_vanishes(isolation: str, each_database: Database) -> None:
    """It ends the patching session first, and sees what was closed after it began, whatever the role's defaults."""
    each_database.server.admin_sql(
        f"ALTER ROLE patcher IN DATABASE postgres SET default_transaction_isolation = '{isolation}'")
    patcher = await a_node(each_database.target)
    lease = await a_node(each_database.target.with_database("postgres"))
    watch = guard.Guard(each_database.target, reactor, limit_seconds=30)
    try:
        await watch.arm(patcher=patcher, lease=lease, mark=MARK)
        await close(lease, each_database)
        watch.leave()
        lease.close()
        await until(lambda: is_open(each_database), "the guard opening")
        await until(lambda: patcher.closed, "the patching session ending")
    finally:
        each_database.server.admin_sql("ALTER ROLE patcher IN DATABASE postgres RESET default_transaction_isolation")
        patcher.close()
        lease.close()


async def test_it_opens_when_the_limit_has_passed(database: Database) -> None:
    """A deployer that lives and does nothing does not keep the door shut."""
    patcher = await a_node(database.target)
    lease = await a_node(database.target.with_database("postgres"))
    watch = guard.Guard(database.target, reactor, limit_seconds=0.3)
    try:
        await watch.arm(patcher=patcher, lease=lease, mark=MARK)
        await close(lease, database)
        await until(lambda: is_open(database), "the guard opening")
    finally:
        await watch.disarm(killer=lease)
        patcher.close()
        lease.close()


async def test_it_never_opens_what_carries_no_mark(database: Database) -> None:
    """An administrator closed it meanwhile: the guard ends the patching session and leaves the door."""
    patcher = await a_node(database.target)
    lease = await a_node(database.target.with_database("postgres"))
    watch = guard.Guard(database.target, reactor, limit_seconds=30)
    await watch.arm(patcher=patcher, lease=lease, mark=MARK)
    database.server.admin_sql(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false")
    left_closed = await left_closed_by(patcher, lease, watch, database)
    database.server.admin_sql(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS true")
    patcher.close()

    assert left_closed


async def test_it_tries_again_when_somebody_else_is_altering_the_database(each_database: Database) -> None:
    """An administrator's ALTER DATABASE that commits while the guard waits for it fails the guard's own.

    It gave up then, and the database stayed shut."""
    patcher = await a_node(each_database.target)
    lease = await a_node(each_database.target.with_database("postgres"))
    watch = guard.Guard(each_database.target, reactor, limit_seconds=30)
    administrator = psycopg2.connect(each_database.server.superuser_dsn("postgres"))
    try:
        await watch.arm(patcher=patcher, lease=lease, mark=MARK)
        await close(lease, each_database)
        administrator.cursor().execute(f"ALTER DATABASE {each_database.name} CONNECTION LIMIT 50")
        watch.leave()
        lease.close()
        await until(lambda: each_database.server.admin_sql(
            "SELECT 1 FROM pg_stat_activity WHERE application_name = 'fastdowntime guard'"
            " AND wait_event = 'transactionid'"), "the guard waiting for the administrator")
        administrator.commit()
        await until(lambda: is_open(each_database), "the guard opening")
    finally:
        administrator.close()
        each_database.server.admin_sql(f"ALTER DATABASE {each_database.name} ALLOW_CONNECTIONS true")
        patcher.close()
        lease.close()


async def test_it_never_opens_what_another_deployment_closed(database: Database) -> None:
    """Ours was opened without it, and the next deployment has closed: that one's patch is not applied yet."""
    patcher = await a_node(database.target)
    lease = await a_node(database.target.with_database("postgres"))
    other = await a_node(database.target.with_database("postgres"))
    watch = guard.Guard(database.target, reactor, limit_seconds=30)
    try:
        await watch.arm(patcher=patcher, lease=lease, mark=MARK)
        async with other.transaction():
            await other.execute(marker.closing(database.name, by="by another test"))
        left_closed = await left_closed_by(patcher, lease, watch, database)
        async with other.transaction():
            await other.execute(marker.opening(database.name))
    finally:
        for node in (patcher, lease, other):
            node.close()

    assert left_closed

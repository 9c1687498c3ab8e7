"""What a dead run left closed is opened, and nothing else."""

from __future__ import annotations

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from demo.proxy import Proxy
from downtime import deployment_lock, gate, marker, recovery
from tests.builders import a_node, until
from tests.databases import Database
from tests.downtime.outages import through


def set_open(database: Database, word: str) -> None:
    database.server.admin_sql(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS {word}")


def is_open(database: Database) -> bool:
    return database.server.admin_sql("SELECT datallowconn FROM pg_database WHERE datname = %s",
                                     (database.name,)) == [(True,)]


async def test_an_open_database_is_left_alone(each_database: Database) -> None:
    """Safe at any time, on every server: it says that there is nothing to undo."""
    recovered = await recovery.reopen(each_database.target)

    assert (recovered.changed, "nothing to undo" in recovered.lines[0]) == (False, True)


async def test_what_an_administrator_closed_is_never_opened(database: Database) -> None:
    """It carries no mark of ours: left closed, with the command for whoever means it."""
    set_open(database, "false")
    recovered = await recovery.reopen(database.target)
    still_closed = not is_open(database)
    set_open(database, "true")

    assert (recovered.changed, still_closed) == (False, True)
    assert f'ALTER DATABASE "{database.name}" ALLOW_CONNECTIONS true' in recovered.lines[1]


async def test_a_living_deployer_is_not_interfered_with(database: Database) -> None:
    """Its database is closed by it, and it will open it itself."""
    patcher = await a_node(database.target)
    door = gate.Refuse(database.target, reactor, limit_seconds=30)
    await door.arm(patcher)
    try:
        await door.prevent()
        with pytest.raises(recovery.StillDeploying, match="is closed by a deployment that is under way"):
            await recovery.reopen(database.target)
        closed_meanwhile = not is_open(database)
        await door.allow()
    finally:
        await door.disarm()
        patcher.close()

    assert (closed_meanwhile, is_open(database)) == (True, True)


async def test_a_server_that_died_closed_is_opened(doomed: Database) -> None:
    """kill -9 of everything takes the guard too; the mark survives, and a second run finds nothing to do."""
    patcher = await a_node(doomed.target)
    door = gate.Refuse(doomed.target, reactor, limit_seconds=30)
    await door.arm(patcher)
    await door.prevent()
    doomed.server.kill()
    doomed.server.start()
    closed_after_the_crash = not is_open(doomed)
    recovered = await recovery.reopen(doomed.target)
    again = await recovery.reopen(doomed.target)
    patcher.close()
    await door.disarm()

    assert (closed_after_the_crash, recovered.changed, again.changed, is_open(doomed)) == (True, True, False, True)


async def test_the_mark_comes_and_goes_with_the_closing(database: Database) -> None:
    """Written and removed by the very transactions that close and open."""
    node = await a_node(database.target.with_database("postgres"))
    try:
        async with node.transaction():
            await node.execute(marker.closing(database.name, by="by a test"))
        closed = await marker.read(node, database.name)
        async with node.transaction():
            await node.execute(marker.opening(database.name))
        opened = await marker.read(node, database.name)
    finally:
        node.close()

    assert (closed.open, closed.text, closed.role, closed.closed_by_us) == (
        False, "fastdowntime closed by a test", "patcher", True)
    assert (opened.open, opened.text, opened.closed_by_us) == (True, None, False)


def mark(database: Database) -> None:
    """As a deployment leaves it that has died while the database was closed."""
    database.server.admin_sql(f"ALTER ROLE patcher IN DATABASE {database.name} SET {marker.PARAMETER} ="
                              f" '{marker.PREFIX}by a test'")


def unmark(database: Database) -> None:
    database.server.admin_sql(f"ALTER ROLE patcher IN DATABASE {database.name} RESET {marker.PARAMETER}")


async def test_a_mark_on_an_open_database_ends_nobody(database: Database) -> None:
    """An administrator has opened it by hand: the mark goes, and who deploys live meanwhile goes on."""
    deployer = await a_node(database.target)
    try:
        await deployment_lock.take(deployer)
        mark(database)
        await recovery.reopen(database.target)
        alive = await deployer.execute("SELECT 1")
        again = await recovery.reopen(database.target)
    finally:
        deployer.close()

    assert (alive.scalar, again.changed, is_open(database)) == (1, False, True)


async def test_an_open_door_that_is_closed_while_its_mark_goes_stays_closed(database: Database) -> None:
    """Whoever closes it then is an administrator; the mark goes all the same."""
    mark(database)
    with Proxy("127.0.0.1", database.server.port) as proxy:
        proxy.cut_before(b"RESET")
        running = Deferred.fromCoroutine(recovery.reopen(through(proxy, database)))
        await until(lambda: proxy.has_fallen, "the mark being taken away")
        set_open(database, "false")
        proxy.restore()
        recovered = await running
    again = await recovery.reopen(database.target)
    still_closed = not is_open(database)
    set_open(database, "true")

    assert (recovered.changed, again.changed, still_closed) == (True, False, True)
    assert "left as it is" in again.lines[0]


async def test_a_door_that_an_administrator_closes_meanwhile_stays_closed(database: Database) -> None:
    """Between our look and the lease its deployer opens it, and the administrator closes: not ours to open."""
    mark(database)
    set_open(database, "false")
    with Proxy("127.0.0.1", database.server.port) as proxy:
        proxy.cut_before(b"pg_try_advisory_lock")
        running = Deferred.fromCoroutine(recovery.reopen(through(proxy, database)))
        await until(lambda: proxy.has_fallen, "the lease being asked for")
        set_open(database, "true")
        unmark(database)
        set_open(database, "false")
        proxy.restore()
        recovered = await running
    still_closed = not is_open(database)
    set_open(database, "true")

    assert (recovered.changed, still_closed) == (False, True)

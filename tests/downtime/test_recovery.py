"""What a dead run left closed is opened, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from demo.pgbouncer import PgBouncer
from demo.proxy import Proxy
from demo.servers import Server
from downtime import deployment_lock, errors, gate, held, marker, recovery
from downtime.pooler import Pause
from downtime.target import Target
from tests.builders import a_node, until
from tests.databases import Database, MakeDatabase
from tests.downtime.outages import through
from tests.downtime.watched import a_pause, rows
from tests.master.settings_for_tests import a_settings
from tests.poolers import console_of, paused
from tests.standbys import Replicated


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


async def left_by_a_dead_run(database: Database, *pauses: Pause, replays: Sequence[Target] = ()) -> None:
    """The rows of one whose watchdog has died, too; what they name is the test's to pause."""
    node = await a_node(database.target)
    await held.write(node, [*(held.of_pause(each, by="by a dead run") for each in pauses),
                            *(held.of_replay(each, by="by a dead run") for each in replays)])
    node.close()


async def test_a_pooler_that_a_dead_run_has_paused_goes_on(pooler: PgBouncer, database: Database) -> None:
    """Told with since when and by whom; a second run finds nothing to do."""
    await left_by_a_dead_run(database, a_pause(pooler, database))
    pooler.admin(f"PAUSE {database.name}")
    recovered = await recovery.reopen(database.target, places=[console_of(pooler)])
    left = (paused(pooler), rows(database))
    again = await recovery.reopen(database.target, places=[console_of(pooler)])

    assert left == (set(), [])
    assert (recovered.changed, again.changed) == (True, False)
    assert f"pooler {console_of(pooler).label} is paused since" in recovered.lines[1]
    assert f'"{database.name}" resumed' in recovered.lines[2]


async def test_a_closed_database_is_opened_before_its_pooler_goes_on(pooler: PgBouncer, database: Database) -> None:
    """Whoever is behind it finds it open."""
    await left_by_a_dead_run(database, a_pause(pooler, database))
    pooler.admin(f"PAUSE {database.name}")
    mark(database)
    set_open(database, "false")
    recovered = await recovery.reopen(database.target, places=[console_of(pooler)])

    assert (is_open(database), paused(pooler), rows(database)) == (True, set(), [])
    assert recovered.lines[1] == f"{database.name} accepts connections again"
    assert recovered.lines[2].startswith(f"pooler {console_of(pooler).label} is paused")


async def test_nothing_is_let_go_of_while_somebody_deploys(pooler: PgBouncer, database: Database) -> None:
    """What is held is then a living deployer's, or will be in a moment."""
    await left_by_a_dead_run(database, a_pause(pooler, database))
    pooler.admin(f"PAUSE {database.name}")
    deployer = await a_node(database.target)
    await deployment_lock.take(deployer)
    with pytest.raises(deployment_lock.DeploymentUnderWay):
        await recovery.reopen(database.target, places=[console_of(pooler)])
    still_paused = paused(pooler)
    deployer.close()

    assert still_paused == {database.name}
    assert len(rows(database)) == 1


async def test_what_cannot_be_reached_keeps_its_row_and_nothing_else_waiting(pooler: PgBouncer, database: Database
                                                                            ) -> None:
    """All others go on; exit status 4 names the one that does not, and a later run comes back to it."""
    away = Target(dsn="postgresql://admin@127.0.0.1:1/pgbouncer")
    await left_by_a_dead_run(database, replace(a_pause(pooler, database), console=away), a_pause(pooler, database))
    pooler.admin(f"PAUSE {database.name}")
    with pytest.raises(recovery.StillHeld, match=r"127\.0\.0\.1:1/pgbouncer") as caught:
        await recovery.reopen(database.target, places=[away, console_of(pooler)])

    assert (paused(pooler), [place for _, place, _ in rows(database)]) == (set(), [away.label])
    assert (caught.value.exit_status, caught.value.left) == (errors.ExitStatus.NEEDS_OPERATOR, errors.Left.OPEN)


async def test_nobody_connects_to_where_only_a_row_says(pooler: PgBouncer, database: Database) -> None:
    """A patch may have written it, and our password would go there; the operator is told what to type."""
    await left_by_a_dead_run(database, a_pause(pooler, database))
    pooler.admin(f"PAUSE {database.name}")
    with pytest.raises(recovery.StillHeld, match="the settings name no such server any more"):
        await recovery.reopen(database.target, places=[])

    assert paused(pooler) == {database.name}


async def test_standbys_of_a_dead_run_replay_again(replicated: Replicated) -> None:
    """They have served reads through an outage of which nobody is left."""
    first, second = replicated.standbys
    await left_by_a_dead_run(replicated.database, replays=replicated.targets)
    replicated.await_replay()
    first.admin_sql("SELECT pg_wal_replay_pause()")
    recovered = await recovery.reopen(replicated.database.target, places=replicated.targets)

    assert [standby.admin_sql("SELECT pg_is_wal_replay_paused()") for standby in (first, second)] == 2 * [[(False,)]]
    assert rows(replicated.database) == []
    assert [line for line in recovered.lines if line.endswith("is resumed")] == [
        f"replay on the standby {replicated.targets[0].label} is resumed"]


async def test_all_databases_of_an_environment_are_looked_at(tmp_path: Path, server: Server,
                                                             make_database: MakeDatabase) -> None:
    """The canary and those that get the same patches; one that does not answer keeps no other closed."""
    databases = [make_database(server, gate="refuse") for _ in range(2)]
    environment = a_settings(tmp_path, environments={
        "staging": {"database": "postgresql://patcher@localhost:1/app"},
        "production": {"database": databases[0].dsn_of("patcher"), "fleet": {"databases": [
            {"name": "away", "database": "postgresql://patcher@localhost:1/away"},
            {"name": "other", "database": databases[1].dsn_of("patcher")}]}}}).environment("production")
    for each in databases:
        mark(each)
        set_open(each, "false")
    with pytest.raises(errors.CannotConnect, match="cannot connect to localhost:1/"):
        await recovery.reopen_all(environment)

    assert list(map(is_open, databases)) == [True, True]


async def test_of_several_databases_each_line_names_its_own(tmp_path: Path, server: Server,
                                                            make_database: MakeDatabase) -> None:
    """All of them may have one name on servers of their own; what was undone is said last, as the build's headline."""
    databases = [make_database(server, gate="refuse") for _ in range(2)]
    environment = a_settings(tmp_path, environments={
        "staging": {"database": "postgresql://patcher@localhost:1/app"},
        "production": {"database": databases[0].dsn_of("patcher"), "fleet": {"databases": [
            {"name": "north", "database": databases[1].dsn_of("patcher")}]}}}).environment("production")
    mark(databases[0])
    set_open(databases[0], "false")
    recovered = await recovery.reopen_all(environment)

    assert recovered.lines[0] == f"north: {databases[1].name} accepts connections; nothing to undo"
    assert recovered.lines[-1] == f"canary: {databases[0].name} accepts connections again"


async def test_what_was_held_on_a_standby_that_is_the_primary_now_is_let_go(database: Database) -> None:
    """The row came along to it, and the settings list it as the database and no more as a standby."""
    node = await a_node(database.target)
    await held.write(node, [held.of_replay(database.target, by="by a dead run")])
    node.close()
    recovered = await recovery.reopen(database.target, places=())

    assert recovered.changed
    assert rows(database) == []

"""The service that opens what dead deployments have left closed, however long the server takes to answer."""

from __future__ import annotations

import select
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest
from buildbot.util.service import BuildbotServiceManager, MasterService
from twisted.internet import reactor
from twisted.logger import globalLogPublisher

from demo import application
from demo.pgbouncer import ADMINISTRATOR, CONSOLE, PgBouncer
from demo.servers import Server
from downtime import errors, guard, held, marker
from downtime.node import CONNECT_SECONDS
from downtime.phases import Report
from master.outages import Outages
from master.recovery import LOOK_EVERY_SECONDS, Recovery
from tests.builders import a_node, pause, until
from tests.databases import Database, MakeDatabase
from tests.downtime.watched import a_pause, rows
from tests.master.settings_for_tests import a_settings
from tests.poolers import paused


class AMaster(MasterService):  # type: ignore[misc]
    """As much of a buildmaster as services need."""

    name = "master"

    def __init__(self) -> None:
        super().__init__()
        self.reactor = reactor
        self.config = SimpleNamespace(services={})
        self.service_manager = BuildbotServiceManager()


@asynccontextmanager
async def a_master(folder: Path, database: Database, *, port: int | None = None, others: tuple[Any, ...] = (),
                   pooler: PgBouncer | None = None, tenants: Sequence[Database] = ()) -> AsyncIterator[Recovery]:
    """A running one whose production is the database; `port` leads to it by a detour. Its staging is always open."""
    staging = database.server.dsn(user=application.PATCHER, database="postgres",
                                  password=application.password_of(application.PATCHER))
    production = database.dsn_of(application.PATCHER).replace(
        f":{database.server.port}/", f":{port or database.server.port}/")
    settings = a_settings(folder, environments={
        "staging": {"database": staging},
        "production": {"database": production, "gate": "refuse", "poolers": [
            pooler.dsn(user=ADMINISTRATOR, database=CONSOLE)] if pooler is not None else [], "fleet": {"databases": [
                {"name": each.name, "database": each.dsn_of(application.PATCHER)} for each in tenants]}}})
    master, recovery = AMaster(), Recovery(settings=settings)
    await master.service_manager.setServiceParent(master)
    for service in (recovery, *others):
        await service.setServiceParent(master.service_manager)
        service.reconfigService(*service._config_args, **service._config_kwargs)
    await master.startService()
    try:
        yield recovery
    finally:
        await master.stopService()


@contextmanager
def said() -> Iterator[list[str]]:
    """What the service writes to the log of the master."""
    lines: list[str] = []

    def note(event: dict[str, Any]) -> None:
        if "environment" in event:
            lines.append(str(event["log_format"].format(**event)))

    globalLogPublisher.addObserver(note)
    try:
        yield lines
    finally:
        globalLogPublisher.removeObserver(note)


async def close(database: Database) -> None:
    """As a deployment of gate refuse does whose server crashed."""
    node = await a_node(database.target.with_database("postgres"))
    async with node.transaction():
        await node.execute(marker.closing(database.name, by="by a dead run"))
    node.close()


def is_open(database: Database) -> bool:
    return database.server.admin_sql("SELECT datallowconn FROM pg_database WHERE datname = %s",
                                     (database.name,)) == [(True,)]


async def test_a_closed_database_is_opened_at_the_start(tmp_path: Path, database: Database) -> None:
    """The master died with the server; nobody has to type anything."""

    await close(database)
    async with a_master(tmp_path, database):
        await until(lambda: is_open(database), "the database being opened")


async def test_every_database_that_gets_the_same_patches_is_opened(tmp_path: Path, server: Server,
                                                                   make_database: MakeDatabase) -> None:
    """Until then nobody believes that production is open."""

    canary, *tenants = (make_database(server, gate="refuse") for _ in range(3))
    for database in (canary, *tenants):
        await close(database)
    async with a_master(tmp_path, canary, tenants=tenants) as recovery:
        doubted = recovery.in_doubt("production")
        await until(lambda: all(map(is_open, (canary, *tenants))), "all databases being opened")
        await until(lambda: not recovery.in_doubt("production"), "nobody doubting it any more")

    assert doubted


async def test_a_server_that_is_down_at_the_start_is_asked_until_it_answers(tmp_path: Path, doomed: Database) -> None:
    """The master starts sooner than the server: it looked once, and the database stayed closed."""

    await close(doomed)
    doomed.server.kill()
    with said() as lines:
        async with a_master(tmp_path, doomed):
            await until(lambda: len(lines) == 2, "both environments being found down")
            await pause(2.5 * LOOK_EVERY_SECONDS)
            doomed.server.start()
            accepting = monotonic()
            await until(lambda: is_open(doomed), "the database being opened")
            print(f"open {(monotonic() - accepting) * 1000:.0f} ms after the server accepts connections")
            await until(lambda: any("accepts connections again" in line for line in lines), "the log saying so")

    assert all("looking again until it is open" in line for line in lines[:2])
    assert sum("Connection refused" in line for line in lines) == 2, "a reason is logged once"


async def test_a_living_deployers_database_is_looked_at_again(tmp_path: Path, database: Database) -> None:
    """It is left alone while its deployer lives, and opened when that has died without its guard."""

    await close(database)
    deployer = await a_node(database.target.with_database("postgres"))
    assert await guard.take_lease(deployer, database.name)
    with said() as lines:
        async with a_master(tmp_path, database):
            await until(lambda: len(lines) == 2, "both environments being looked at")
            await pause(2.5 * LOOK_EVERY_SECONDS)
            left_alone = not is_open(database)
            deployer.close()
            await until(lambda: is_open(database), "the database being opened")

    assert left_alone
    assert any("is closed by a deployment that is under way" in line for line in lines)


async def test_what_an_administrator_closed_is_looked_at_once(tmp_path: Path, database: Database) -> None:
    """It stays closed, and nobody knocks at it twice a second for ever."""

    database.server.admin_sql(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false")
    with said() as lines:
        async with a_master(tmp_path, database):
            await until(lambda: len(lines) == 3, "both environments being looked at")
            await pause(2.5 * LOOK_EVERY_SECONDS)
            left_alone = not is_open(database)
    database.server.admin_sql(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS true")

    assert left_alone
    assert len(lines) == 3, "one line of staging, two of production"


async def test_it_stops_with_the_master_while_a_server_does_not_answer(tmp_path: Path, database: Database) -> None:
    """In the middle of a look: that comes to its end by its deadline, and nothing is left in the reactor."""

    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        async with a_master(tmp_path, database, port=silent.getsockname()[1]):
            await until(lambda: select.select([silent], [], [], 0)[0], "a look being under way")
            began = monotonic()

    print(f"stopped after {monotonic() - began:.1f} s")
    assert monotonic() - began < 5 * CONNECT_SECONDS


async def test_it_stops_with_the_master_between_two_looks(tmp_path: Path, database: Database) -> None:
    """A server that refuses at once: the next look is called off."""

    with socket.create_server(("127.0.0.1", 0)) as refusing:
        port = refusing.getsockname()[1]
    with said() as lines:
        async with a_master(tmp_path, database, port=port):
            await until(lambda: any("Connection refused" in line for line in lines), "the first look being over")


@pytest.mark.parametrize("as_a_report", [True, False])
async def test_an_outage_that_ended_in_the_dark_is_looked_after(
        as_a_report: bool, tmp_path: Path, database: Database) -> None:
    """Its report says that an operator is needed: the service goes on looking, and opens."""

    outages = Outages()
    unsure = errors.NeedsOperator(reason="the server is away", command="python -m downtime reopen")

    async def end() -> Any:
        await close(database)
        if as_a_report:
            return a_report(unsure)
        raise unsure

    with said() as lines:
        async with a_master(tmp_path, database, others=(outages,)):
            await until(lambda: len(lines) == 2, "the looks at the start")
            await outages.take_turn(1, database.target.label)
            try:
                await outages.supervise(1, end())
            except errors.NeedsOperator:
                assert not as_a_report
            await until(lambda: is_open(database), "the database being opened")
            await outages.release(1)


async def test_a_pooler_that_was_left_paused_goes_on_when_it_can_be_reached(tmp_path: Path, database: Database,
                                                                            pooler: PgBouncer) -> None:
    """The whole machine had died, the watchdog too; the pooler starts later than the master and is still paused."""
    node = await a_node(database.target)
    await held.write(node, [held.of_pause(a_pause(pooler, database), by="by a dead run")])
    node.close()
    pooler.stop()
    with said() as lines:
        async with a_master(tmp_path, database, pooler=pooler):
            await until(lambda: any("still held" in line for line in lines), "the pooler being found away")
            pooler.start()
            pooler.admin(f"PAUSE {database.name}")
            await until(lambda: not rows(database), "the row being removed")

    assert paused(pooler) == set()
    assert sum("still held" in line for line in lines) == 1, "a reason is logged once"


def a_report(error: errors.DowntimeError) -> Any:
    return Report(phases=(), started_at=datetime.now(UTC), outage_seconds=1.0, patch_seconds=0.0, proof_seconds=0.0,
                  applied=False, statements=(), kicked=(), drained=(), error=error)

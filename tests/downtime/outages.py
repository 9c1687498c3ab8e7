"""What tests of whole outages have in common: one that is prepared or run, moments to catch it at, what it left."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg2
from twisted.internet.defer import Deferred

from demo.proxy import Proxy
from downtime.apply import Deployment
from downtime.node import Node
from downtime.outage import Outage
from downtime.phases import Phase, Report
from downtime.ready import Rules
from downtime.target import Target
from tests.builders import a_deployment, a_node, no_objections, pause, until
from tests.databases import Database

GATES = ("hold", "refuse")
ADMINS = frozenset({"postgres"})  # the tests' own look-ups, which may still be ending
FRAGILE = frozenset({"process_upload"})
SLEEPING = a_deployment(sql="CREATE TABLE added (id int);\nSELECT pg_sleep(30);")


@asynccontextmanager
async def a_control(database: Database, *, user: str = "patcher") -> AsyncIterator[Node]:
    node = await a_node(database.target_of(user))
    try:
        yield node
    finally:
        node.close()


def some_rules(**given: Any) -> Rules:
    return Rules(**{"spared": ADMINS, "fragile": FRAGILE, **given})


@asynccontextmanager
async def prepared(database: Database, deployment: Deployment | None = None, *, target: Target | None = None,
                   say: Any = None, patch_reactor: Any = None, **rules: Any) -> AsyncIterator[Outage]:
    outage = Outage(target or database.target, deployment or a_deployment(), some_rules(**rules), say=say,
                    reactor=patch_reactor)
    try:
        await outage.prepare(no_objections)
        yield outage
    finally:
        await outage.close()


async def run(database: Database, deployment: Deployment | None = None, **rules: Any) -> Report:
    async with prepared(database, deployment, **rules) as outage:
        return await outage.run()


async def in_mid_patch(outage: Outage) -> Deferred[Report]:
    running = Deferred.fromCoroutine(outage.run())
    await until(lambda: len(outage.statements) == 1, "the first statement being applied")
    await pause(0.1)
    return running


async def in_mid_drain(outage: Outage) -> Deferred[Report]:
    running = Deferred.fromCoroutine(outage.run())
    await outage.watch(Phase.PREVENT)
    return running


def lets_in(database: Database) -> bool:
    try:
        psycopg2.connect(database.dsn_of("app"), connect_timeout=2).close()
    except psycopg2.OperationalError:
        return False
    return True


def patcher_of(database: Database) -> int:
    """The pid of the backend that is to apply the patch; to be asked before the gate closes."""
    ((pid,),) = database.server.admin_sql(
        "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name LIKE 'fastdowntime %%patch-1'",
        (database.name,))
    return int(pid)


def is_recorded(database: Database) -> bool:
    return database.admin_sql("SELECT id FROM fastdowntime.ledger") == [("patch-1",)]


def assert_nothing_is_left(database: Database) -> None:
    assert lets_in(database)
    assert database.admin_sql("SELECT to_regclass('added')") == [(None,)]
    assert not is_recorded(database)
    assert database.server.admin_sql("SELECT 1 FROM pg_db_role_setting WHERE array_to_string(setconfig, ',')"
                                     " LIKE %s", ("%fastdowntime closed%",)) == []


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A backend that does not end, whatever it is told, as one in a loop of a procedural language."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def through(proxy: Proxy, database: Database) -> Target:
    return Target(dsn=database.target.dsn.replace(f":{database.server.port}/", f":{proxy.port}/"),
                  password=database.target.password)

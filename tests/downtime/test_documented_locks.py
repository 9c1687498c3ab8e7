"""The locks of statements in transactions of their own: are they those that are documented?

Each runs beside somebody who holds a lock that conflicts with the documented mode, so that it can be seen waiting for
it in pg_locks, and beside a client that writes, who does not keep it waiting for a lock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from psycopg2.extensions import connection
from twisted.internet.defer import Deferred

from downtime.footprints import Lock, LockMode
from downtime.measuring import Measuring
from downtime.node import Node
from downtime.statements import split
from tests.builders import a_node, until
from tests.databases import Database
from tests.downtime.measurements import unmeasured

SUE, AE = LockMode.SHARE_UPDATE_EXCLUSIVE, LockMode.ACCESS_EXCLUSIVE
TABLES = """
SET ROLE patcher;
CREATE INDEX account_name ON account (name);
CREATE TABLE whole (id int) PARTITION BY RANGE (id);
CREATE TABLE part PARTITION OF whole FOR VALUES FROM (0) TO (10);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A statement, the lock that somebody holds, and the mode that the statement is then seen waiting for."""

    sql: str
    holder: str
    mode: LockMode
    relation: str = "account"

    def __str__(self) -> str:
        return f"{self.sql} wants {self.mode} on {self.relation}"


DETACH = "ALTER TABLE whole DETACH PARTITION part CONCURRENTLY"
ON_ACCOUNT = "LOCK TABLE account IN SHARE UPDATE EXCLUSIVE MODE"
SEEN = (
    Waiting(sql="CREATE INDEX CONCURRENTLY made ON account (balance)", holder=ON_ACCOUNT, mode=SUE),
    Waiting(sql="DROP INDEX CONCURRENTLY account_name", holder=ON_ACCOUNT, mode=SUE),
    Waiting(sql="REINDEX TABLE CONCURRENTLY account", holder=ON_ACCOUNT, mode=SUE),
    Waiting(sql="REINDEX INDEX CONCURRENTLY account_name", holder=ON_ACCOUNT, mode=SUE),
    Waiting(sql="VACUUM account", holder=ON_ACCOUNT, mode=SUE),
    Waiting(sql="VACUUM FULL account", holder="LOCK TABLE account IN ACCESS SHARE MODE", mode=AE),
    Waiting(sql=DETACH, relation="whole", mode=SUE,
            holder="LOCK TABLE ONLY whole IN SHARE UPDATE EXCLUSIVE MODE"),
    Waiting(sql=DETACH, relation="part", mode=SUE,
            holder="LOCK TABLE part IN SHARE UPDATE EXCLUSIVE MODE"),
)


@asynccontextmanager
async def measured(database: Database, sql: str, *, holding: tuple[connection, str]
                   ) -> AsyncIterator[tuple[Node, list[Lock]]]:
    """Run the statement beside somebody's; the locks of its footprint come when the block has ended."""
    database.admin_sql(TABLES)
    holding[0].cursor().execute(holding[1])
    worker, observer = await a_node(database.target), await a_node(database.target)
    measuring, locks = Measuring(worker, observer), list[Lock]()
    try:
        await measuring.begin_alone(split(sql)[0])
        running = Deferred.fromCoroutine(worker.execute(sql))
        yield worker, locks
        await running
        footprint = (await measuring.after_alone(unmeasured(sql))).footprint
        assert footprint is not None
        locks += footprint.locks
    finally:
        worker.close()
        observer.close()


@pytest.mark.parametrize("case", SEEN, ids=str)
async def test_a_statement_is_seen_waiting_for_the_documented_mode(each_database: Database, case: Waiting) -> None:
    """And that mode, on that relation, is among those that its footprint has."""
    holder = each_database.connect("patcher")
    async with measured(each_database, case.sql, holding=(holder, case.holder)) as (worker, locks):
        await until(lambda: waits_for(each_database, worker), f"{case} being seen")
        assert waits_for(each_database, worker) == [(case.relation, case.mode)]
        holder.rollback()

    assert (f"public.{case.relation}", case.mode) in [(lock.relation, lock.mode) for lock in locks]


async def test_a_partition_is_detached_with_the_strongest_lock(each_database: Database) -> None:
    """In the last of the statement's transactions, when those that used the table are gone."""
    reader, late = each_database.connect("patcher"), each_database.connect("patcher")
    async with measured(each_database, DETACH, holding=(reader, "SELECT 1 FROM whole")) as (worker, locks):
        await until(lambda: waits_for_a_transaction(each_database, worker), "waiting for the reader")
        late.cursor().execute("LOCK TABLE part IN ACCESS SHARE MODE")
        reader.rollback()
        await until(lambda: waits_for(each_database, worker), "waiting for the partition")
        assert waits_for(each_database, worker) == [("part", AE)]
        late.rollback()

    assert ("public.part", AE) in [(lock.relation, lock.mode) for lock in locks]


@pytest.mark.parametrize("sql", [case.sql for case in SEEN if case.holder == ON_ACCOUNT])
async def test_it_gets_through_beside_clients_that_write(each_database: Database, sql: str) -> None:
    """It asks for no more than is documented: CONCURRENTLY waits for old transactions, for no lock of theirs."""
    writer = each_database.connect("app")
    async with measured(each_database, sql, holding=(writer, "UPDATE account SET balance = 1")) as (worker, _):
        await until(lambda: waits_for_a_transaction(each_database, worker) or is_idle(each_database, worker),
                    "the end, or the wait for the writer")
        assert not waits_for(each_database, worker)
        writer.rollback()


def waits_for(database: Database, worker: Node) -> list[tuple[str, LockMode]]:
    rows = database.admin_sql("SELECT relation::regclass::text, mode FROM pg_locks WHERE pid = %s AND NOT granted"
                              " AND locktype = 'relation'", (worker.pid,))
    return [(relation, LockMode.of_pg_locks(mode)) for relation, mode in rows]


def waits_for_a_transaction(database: Database, worker: Node) -> bool:
    return bool(database.admin_sql("SELECT 1 FROM pg_locks WHERE pid = %s AND NOT granted AND locktype = 'virtualxid'",
                                   (worker.pid,)))


def is_idle(database: Database, worker: Node) -> bool:
    return bool(database.admin_sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'idle'", (worker.pid,)))

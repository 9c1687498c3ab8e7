"""What a fragile user has written is never lost, however fast it moves in and out of transactions."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import psycopg2
import pytest

from demo import application
from demo.flapping import TABLE, flapping
from demo.servers import Server
from downtime import errors, fragile_tables
from downtime.node import Node
from downtime.phases import Report
from tests.builders import a_deployment, a_node, pause, until
from tests.databases import Database, create
from tests.downtime.outages import FRAGILE, run
from tests.downtime.vacuumed import vacuumed


async def run_in_vain(database: Database, **rules: Any) -> Report:
    """An outage that keeps nothing."""
    return await run(database, a_deployment(sql="SELECT 1;"), keep=False, **rules)


async def one_round(database: Database) -> str:
    """One outage that keeps nothing; says how it ended."""
    try:
        report = await run_in_vain(database)
    except errors.Refused as error:
        return type(error).__name__
    return type(report.error).__name__ if report.error else "kicked"


async def hostile_rounds(database: Database, *, seconds: float, kicks: int) -> Counter[str]:
    """Outage after outage for so long, and on until so many of them have ended in a kick."""
    ended: Counter[str] = Counter()
    enough_at = monotonic() + seconds
    while monotonic() < enough_at or ended["kicked"] < kicks:
        ended[await one_round(database)] += 1
        await pause(0.02)
    return ended


@pytest.mark.deadline(seconds=120)
async def test_no_written_transaction_of_a_fragile_user_is_harmed(database: Database) -> None:
    """Scripts that do nothing but begin, write and commit, against outage after outage: nothing acknowledged is lost.

    Check and kick over one snapshot, without locks, harmed some per cent of the rounds that ended in a kick.
    """
    database.admin_sql(f"SET ROLE patcher; {TABLE}")
    with flapping(database.dsn_of("process_upload"), scripts=2) as tally:
        await until(lambda: database.admin_sql("SELECT count(*) > 1 FROM flapping") == [(True,)], "scripts writing")
        ended = await hostile_rounds(database, seconds=8.0, kicks=3)
    print(tally, dict(ended))

    assert tally.transactions > 100
    assert tally.harmed == 0


@asynccontextmanager
async def two_nodes(database: Database) -> AsyncIterator[tuple[Node, Node]]:
    """A patcher in its transaction, and a control session."""
    patcher, control = await a_node(database.target), await a_node(database.target)
    try:
        await patcher.execute("BEGIN")
        yield patcher, control
    finally:
        patcher.close()
        control.close()


async def test_a_fragile_user_cannot_write_while_its_sessions_are_ended(each_database: Database) -> None:
    """It may read; afterwards the patch's transaction holds no lock of this."""
    client = each_database.connect("process_upload", options="-c lock_timeout=100ms")
    client.autocommit = True
    cursor = client.cursor()
    async with two_nodes(each_database) as (patcher, control):
        async with fragile_tables.locked(FRAGILE, patcher, control, ours={patcher.pid, control.pid}) as others:
            cursor.execute("SELECT FROM upload")
            with pytest.raises(psycopg2.errors.LockNotAvailable):
                cursor.execute("INSERT INTO upload (path) VALUES ('x')")
        cursor.execute("INSERT INTO upload (path) VALUES ('x')")

    assert others == ()


async def test_what_a_fragile_user_may_write_is_known(each_database: Database) -> None:
    """By any right: on columns, by a role it may become, by PUBLIC; views, temporary and our own tables are not."""
    each_database.admin_sql("""
        CREATE SCHEMA "a b"; CREATE TABLE "a b"."C d" (id int); GRANT INSERT (id) ON "a b"."C d" TO process_upload;
        CREATE TABLE by_public (id int); GRANT DELETE ON by_public TO PUBLIC; ALTER TABLE by_public OWNER TO patcher;
        CREATE TABLE only_read (id int); GRANT SELECT ON only_read TO process_upload;
        CREATE VIEW seen AS SELECT * FROM only_read; GRANT INSERT ON seen TO process_upload;
        CREATE ROLE writers; CREATE TABLE by_role (id int); GRANT TRUNCATE ON by_role TO writers;
        GRANT writers TO process_upload; ALTER ROLE process_upload NOINHERIT""")
    async with two_nodes(each_database) as (patcher, _):
        found = await fragile_tables.written_by({"process_upload", "no such role"}, patcher)
    each_database.admin_sql("DROP OWNED BY writers; DROP ROLE writers; ALTER ROLE process_upload INHERIT")

    assert [(str(table), table.lockable) for table in found] == [
        ("a b.C d", False), ("public.account", True), ("public.by_public", True), ("public.by_role", False),
        ("public.upload", True)]


async def test_a_table_that_may_not_be_locked_stops_nothing(database: Database) -> None:
    """Who owns other tables may deploy all the same; the tables are there to be named in the log."""
    database.admin_sql("CREATE TABLE foreign_one (id int); GRANT INSERT ON foreign_one TO process_upload")
    database.connect("process_upload")
    report = await run_in_vain(database)

    assert (report.error, len(report.kicked)) == (None, 1)


async def test_a_spared_user_that_is_writing_where_fragile_ones_do_is_named(database: Database) -> None:
    """It cannot be told from outside whose write it is; nothing is applied."""
    database.connect("process_upload")
    spared = psycopg2.connect(database.superuser_dsn, application_name="psql")
    spared.cursor().execute("INSERT INTO upload (path) VALUES ('x')")
    report = await run_in_vain(database)
    spared.close()

    assert isinstance(report.error, fragile_tables.FragileTablesLocked)
    assert "postgres (psql, idle in transaction)" in str(report.error)
    assert "RowExclusiveLock on public.upload" in str(report.error)
    assert report.error.left is errors.Left.REOPENED


async def test_nothing_is_locked_for_fragile_users_who_are_not_connected(database: Database) -> None:
    """Then a spared writer is in nobody's way, and no outage is any longer for it."""
    spared = psycopg2.connect(database.superuser_dsn)
    spared.cursor().execute("INSERT INTO upload (path) VALUES ('x')")
    report = await run_in_vain(database)
    spared.close()

    assert report.error is None


async def test_a_policy_that_kicks_only_transactions_never_ends_a_fragile_session(database: Database) -> None:
    """Neither in the outage nor, when it is idle, after it: it may begin in that very moment."""
    fragile = database.connect("process_upload")
    database.connect("app")
    report = await run_in_vain(database, kick="transactions")
    fragile.cursor().execute("SELECT 1")

    assert (report.error, [session.user for session in report.drained]) == (None, ["app"])


@pytest.mark.deadline(seconds=90)
async def test_an_autovacuum_on_a_table_of_fragile_users_refuses_nothing(each_database: Database) -> None:
    """Its lock is in the way of ours, and it may take hours; but it gives way to who waits for it."""
    each_database.connect("process_upload")
    async with vacuumed(each_database):
        report = await run_in_vain(each_database)
    print(f"{each_database.server.installation}: kicked in {report.phases[2].seconds * 1000:.0f} ms")

    assert (report.error, len(report.kicked)) == (None, 1)


@pytest.fixture
def cramped(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Iterator[Database]:
    """A database with more tables of a fragile user than its server has room for locks."""
    own = Server.create(tmp_path_factory.mktemp("cramped") / "server", server.installation, settings={
        "max_connections": "20", "max_locks_per_transaction": "10", "max_worker_processes": "0",
        "max_wal_senders": "0"})
    own.start()
    own.admin_sql(application.ROLES)
    database = create(own)
    for hundred in range(20):
        database.admin_sql("SET ROLE patcher; DO $$ BEGIN FOR i IN 1..100 LOOP"
                           f" EXECUTE format('CREATE TABLE many_{hundred}_%s (id int)', i);"
                           f" EXECUTE format('GRANT INSERT ON many_{hundred}_%s TO process_upload', i);"
                           " END LOOP; END $$")
    yield database
    database.close_connections()
    own.destroy()


@pytest.mark.deadline(seconds=90)
async def test_a_server_without_room_for_so_many_locks_is_deployed_to(cramped: Database) -> None:
    """"Out of shared memory" refused each deployment; what could not be locked is said in the log."""
    cramped.connect("process_upload")
    report = await run_in_vain(cramped)

    assert (report.error, len(report.kicked)) == (None, 1)
    assert "could not be locked" in report.phases[2].log
    assert " more: what process_upload wrote there" in report.phases[2].log

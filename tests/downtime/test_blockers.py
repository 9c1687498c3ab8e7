"""A patch that does not get its lock says whose it is."""

from __future__ import annotations

import psycopg2
import pytest

from downtime import errors
from downtime.blockers import Holder, PatchLockedOut
from downtime.phases import Report
from tests.builders import a_deployment
from tests.databases import Database
from tests.downtime.outages import prepared, run
from tests.downtime.vacuumed import vacuumed

AT_ONCE = "SELECT 1;\nLOCK TABLE account IN ACCESS EXCLUSIVE MODE NOWAIT;"
ALTER = "ALTER TABLE account ADD COLUMN added int;"
SPARED = frozenset({"postgres", "monitor"})


async def applied(database: Database, sql: str) -> Report:
    return await run(database, a_deployment(sql=sql), spared=SPARED)


def locked_out(report: Report) -> str:
    assert isinstance(report.error, PatchLockedOut), report.error
    assert (report.error.left, report.applied) == (errors.Left.REOPENED, False)
    return str(report.error)


async def test_a_spared_transaction_in_the_way_is_named_with_what_it_holds(each_database: Database) -> None:
    """File, line, pid, user, application, table, mode and age: an operator need not look for it."""
    reader = psycopg2.connect(each_database.superuser_dsn, application_name="psql")
    reader.cursor().execute("SELECT FROM account; SELECT FROM upload")
    report = await applied(each_database, AT_ONCE)
    pid = reader.get_backend_pid()
    reader.close()

    told = locked_out(report)
    assert told.startswith("db/patch-1.sql, line 2: could not obtain lock on relation \"account\"")
    assert f"pid {pid} postgres (psql, idle in transaction), for " in told
    assert "AccessShareLock on public.account, AccessShareLock on public.upload" in told
    assert psycopg2.connect(each_database.dsn_of("app")).closed == 0


async def test_a_lock_on_a_row_is_told_like_one_on_a_table(database: Database) -> None:
    """The patch waits for a transaction then, not for a table; what that holds is told all the same."""
    spared = psycopg2.connect(database.superuser_dsn)
    spared.cursor().execute("UPDATE account SET name = 'x' WHERE id = 1")
    report = await applied(database, "SELECT FROM account WHERE id = 1 FOR UPDATE NOWAIT;")
    spared.close()

    assert "RowExclusiveLock on public.account" in locked_out(report)


async def test_a_prepared_transaction_is_named_by_its_gid(each_database: Database) -> None:
    """It has no session that could be kicked; here it came after the preflight had found none."""
    async with prepared(each_database, a_deployment(sql=AT_ONCE), spared=SPARED) as outage:
        client = each_database.connect("app")
        client.cursor().execute("BEGIN; UPDATE account SET name = 'x'; PREPARE TRANSACTION 'left over'")
        try:
            report = await outage.run()
        finally:
            each_database.admin_sql("ROLLBACK PREPARED 'left over'")

    told = locked_out(report)
    assert 'prepared transaction "left over", for ' in told
    assert "RowExclusiveLock on public.account" in told
    assert "ROLLBACK PREPARED" in report.error.advice if report.error else False


@pytest.mark.deadline(seconds=60)
async def test_an_autovacuum_on_the_patched_table_costs_next_to_nothing(each_database: Database) -> None:
    """It gives way to who has waited for deadlock_timeout, which `install` makes short for the patching role.

    With the server's own, 1 s, each patch of a table that was being vacuumed kept the database closed so long.
    """
    async with vacuumed(each_database):
        report = await applied(each_database, ALTER)
    print(f"{each_database.server.installation}: {report.patch_seconds * 1000:.0f} ms")

    assert report.error is None
    assert report.patch_seconds < 0.9


@pytest.mark.deadline(seconds=90)
async def test_an_autovacuum_against_wraparound_is_not_waited_for_and_named(database: Database) -> None:
    """It gives way to nobody."""
    async with vacuumed(database, against_wraparound=True):
        report = await applied(database, ALTER)

    told = locked_out(report)
    assert "autovacuum to prevent wraparound, for " in told
    assert "ShareUpdateExclusiveLock on public.account" in told
    assert report.outage_seconds < 25


def test_names_that_clients_chose_are_printable() -> None:
    """Errors end in terminals and web pages."""
    holder = Holder(pid=1, user="a\x1b[31m", application="b\nc", state="idle", prepared="", is_autovacuum=False,
                    prevents_wraparound=False, transaction_seconds=1.0, locks=[["public.\x1b", "ShareLock"]])

    assert str(holder).isprintable()


def test_a_thousand_locks_are_no_thousand_lines() -> None:
    """The first ones are told, and how many there are."""
    holder = Holder(pid=1, user="a", application="b", state="idle", prepared="", is_autovacuum=False,
                    prevents_wraparound=False, transaction_seconds=1.0,
                    locks=[[f"public.t{n}", "AccessShareLock"] for n in range(1000)])

    assert str(holder).endswith("public.t9, and 990 more")

"""A live patch that was cut off in a statement outside transactions: the next run takes up what is there."""

from __future__ import annotations

import psycopg2
import pytest
from twisted.internet.threads import deferToThread

from downtime.live import LivePatchFailed
from tests.builders import until
from tests.databases import Database
from tests.downtime.live import (
    ATTACHED,
    DETACH,
    INDEX,
    IS_WAITING,
    PARTITIONS,
    an_old_transaction,
    apply,
    cut_off,
    invalid,
    recorded,
)

UNIQUE = "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS account_name ON account (lower(name)) WHERE id > 0;"


def begun(database: Database, sql: str, *, builds: str = "") -> None:
    """As a run leaves it that dies behind its only statement, before its row in the journal."""
    database.admin_sql("INSERT INTO fastdowntime.live_begun (id, sha256, statement, builds) VALUES"
                       " ('patch-1', encode(sha256(%s::bytea), 'hex'), 1, %s)", (sql.encode(), builds))


async def test_an_index_that_was_cut_off_is_dropped_and_built_again(each_database: Database) -> None:
    """On every server: it is invalid then, and nobody has to see to it."""
    await cut_off(each_database, INDEX)
    left, lines = invalid(each_database), list[str]()
    report = await apply(each_database, INDEX, lines)

    assert left == ["account_name"]
    assert (invalid(each_database), len(report.statements), recorded(each_database)) == ([], 1, [("patch-1", "live")])
    assert any("public.account_name was there and invalid: dropped" in line for line in lines)


async def test_an_index_that_was_finished_but_not_written_down_is_taken_as_done(each_database: Database) -> None:
    """Valid, on that table, and as the statement would make it: it is not built twice."""
    each_database.admin_sql(f"SET ROLE patcher; {UNIQUE.replace('CONCURRENTLY', '')}")
    begun(each_database, UNIQUE, builds="public.account_name")
    lines: list[str] = []
    report = await apply(each_database, UNIQUE, lines)

    assert (report.statements, report.resumed, recorded(each_database)) == ((), 1, [("patch-1", "live")])
    assert any("public.account_name is there, valid and as wanted" in line for line in lines)


@pytest.mark.parametrize("there", [
    "CREATE INDEX account_name ON account (lower(name)) WHERE id > 0",                # not unique
    "CREATE UNIQUE INDEX account_name ON account (name) WHERE id > 0",                # of another expression
    "CREATE UNIQUE INDEX account_name ON account (lower(name)) WHERE id > 1",         # with another predicate
    "CREATE UNIQUE INDEX account_name ON account (lower(name)) INCLUDE (id) WHERE id > 0",
    "CREATE UNIQUE INDEX account_name ON upload (lower(path)) WHERE id > 0",          # on another table
])
async def test_if_not_exists_is_never_trusted(database: Database, there: str) -> None:
    """The server would skip the statement and say that all is well; both definitions are told."""
    database.admin_sql(f"SET ROLE patcher; {there}")
    with pytest.raises(LivePatchFailed, match=r"line 1: public.account_name is there already") as caught:
        await apply(database, UNIQUE)

    assert "wanted: CREATE UNIQUE INDEX account_name ON" in str(caught.value)
    assert f"there:  {there.partition(' ON ')[0]} ON public." in str(caught.value)
    assert recorded(database) == []


async def test_an_index_on_a_name_that_has_to_be_quoted_is_compared(database: Database) -> None:
    """Schema, table and index as the catalog has them, found by the patch's own search_path."""
    database.admin_sql('CREATE SCHEMA "S x" AUTHORIZATION patcher; SET ROLE patcher;'
                       ' CREATE TABLE "S x"."T USING y" (id int); CREATE INDEX "I.x" ON "S x"."T USING y" (id)')
    sql = 'SET search_path = "S x";\nCREATE INDEX CONCURRENTLY IF NOT EXISTS "I.x" ON "T USING y" (id);'
    report = await apply(database, sql)

    assert (len(report.statements), report.resumed) == (1, 1)


async def test_a_failed_index_is_dropped_at_once_and_can_be_built_again(database: Database) -> None:
    """What our own statement has left nobody has to drop by hand."""
    database.admin_sql("UPDATE account SET name = 'same'")
    with pytest.raises(LivePatchFailed, match="could not create unique index"):
        await apply(database, UNIQUE)
    left = invalid(database)
    database.admin_sql("UPDATE account SET name = id::text")
    report = await apply(database, UNIQUE)

    assert (left, len(report.statements), invalid(database)) == ([], 1, [])


async def test_another_invalid_index_of_the_wanted_name_is_not_dropped(database: Database) -> None:
    """It is somebody else's, and another one: both definitions are told."""
    database.admin_sql("UPDATE account SET name = 'same'")
    with pytest.raises(psycopg2.errors.UniqueViolation):
        database.admin_sql("CREATE UNIQUE INDEX CONCURRENTLY account_name ON account (name)")
    with pytest.raises(LivePatchFailed, match="is another index, and invalid"):
        await apply(database, INDEX)

    assert invalid(database) == ["account_name"]


async def test_an_index_that_somebody_else_is_building_is_left_to_them(database: Database) -> None:
    """A role that the patch has SET is not shown who builds: the index was dropped, and the other build broken."""
    database.admin_sql("CREATE ROLE owner_of_it; GRANT owner_of_it TO patcher; GRANT ALL ON SCHEMA public TO"
                       " owner_of_it; ALTER TABLE account OWNER TO owner_of_it; GRANT ALL ON account TO app")
    old, other = an_old_transaction(database), database.connect("patcher", application_name="fastdowntime live patch-1")
    other.autocommit = True
    building = deferToThread(other.cursor().execute, INDEX)
    try:
        await until(lambda: database.admin_sql(IS_WAITING) == [(True,)], "the other build")
        with pytest.raises(LivePatchFailed, match="is being built by another session"):
            await apply(database, f"SET ROLE owner_of_it;\n{INDEX}")
    finally:
        old.rollback()
        await building
        database.admin_sql("REASSIGN OWNED BY owner_of_it TO patcher; DROP OWNED BY owner_of_it; DROP ROLE owner_of_it")

    assert database.admin_sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'account_name'::regclass") == [
        (True,)]


async def test_a_reindex_that_was_cut_off_leaves_no_copies(each_database: Database) -> None:
    """What is named _ccnew and _ccold is dropped by the run that does it again.

    But for the copy of a TOAST table's index, which only a superuser may name: that is told with its cure.
    """
    sql = "REINDEX TABLE CONCURRENTLY account;"
    await cut_off(each_database, sql)
    left = invalid(each_database)
    report = await apply(each_database, sql)

    ours, toasted = sorted(left)
    assert (ours, toasted.startswith("pg_toast.")) == ("account_pkey_ccnew", True)
    assert (invalid(each_database), len(report.statements)) == ([toasted], 1)
    assert [line.endswith("(as a superuser)") for line in report.invalid] == [True]


async def test_a_dropped_index_is_not_dropped_twice(each_database: Database) -> None:
    """Cut off in mid-drop it is dropped by the next run; cut off behind it, that takes it as done."""
    each_database.admin_sql("SET ROLE patcher; CREATE INDEX account_name ON account (name)")
    sql = "DROP INDEX CONCURRENTLY account_name;"
    await cut_off(each_database, sql)
    left = invalid(each_database)
    report = await apply(each_database, sql)
    each_database.admin_sql("DELETE FROM fastdowntime.ledger; DELETE FROM fastdowntime.live_journal")
    again = await apply(each_database, sql)

    assert left == ["account_name"]
    assert (len(report.statements), again.statements, again.resumed) == (1, (), 1)


async def test_a_partition_left_half_detached_is_detached_for_good(each_database: Database) -> None:
    """The server refuses the same statement then; the next run says FINALIZE."""
    each_database.admin_sql(PARTITIONS)
    await cut_off(each_database, DETACH, table="event_1")
    left, lines = each_database.admin_sql(ATTACHED), list[str]()
    report = await apply(each_database, DETACH, lines, measure=True)

    assert ("event_1", True) in left
    assert (each_database.admin_sql(ATTACHED), len(report.statements)) == ([("event_2", False)], 1)
    assert any("FINALIZE" in line for line in lines)
    assert report.statements[0].footprint is not None


async def test_a_partition_that_is_detached_but_not_written_down_is_taken_as_done(database: Database) -> None:
    """The server would say that it is no partition."""
    database.admin_sql(f"{PARTITIONS}; ALTER TABLE event DETACH PARTITION event_1")
    begun(database, DETACH)
    report = await apply(database, DETACH)

    assert (report.statements, report.resumed) == ((), 1)

"""Footprints taken on real servers: what is seen, what is not, what it costs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twisted.internet import reactor

from downtime.apply import AppliedStatement, run_statement
from downtime.footprints import Footprint, Lock, LockMode
from downtime.measuring import MEASURED_ALONE, Measuring
from downtime.node import Node
from downtime.patches import Lane
from downtime.trial import Trial, try_out
from tests.builders import a_deployment, a_node
from tests.databases import Database
from tests.downtime.outages import run


async def tried(database: Database, sql: str) -> Trial:
    return await try_out(database.target, a_deployment(sql=sql), limit_seconds=60.0, go_on=lambda: None, whole=True,
                         reactor=reactor)


async def footprints(database: Database, sql: str) -> list[Footprint]:
    found = [each.footprint for each in (await tried(database, sql)).statements]
    assert all(found)
    return [each for each in found if each is not None]


@asynccontextmanager
async def measured_session(database: Database) -> AsyncIterator[tuple[Node, Measuring]]:
    patcher, observer = await a_node(database.target), await a_node(database.target)
    try:
        yield patcher, Measuring(patcher, observer)
    finally:
        patcher.close()
        observer.close()


async def one(patcher: Node, measuring: Measuring, sql: str) -> AppliedStatement:
    """In a transaction of its own, as a live patch runs it."""
    deployment = a_deployment(sql=sql)
    async with patcher.transaction():
        await measuring.begin()
        return await measuring.after(await run_statement(patcher, deployment, deployment.statements[0], room=0))


def modes(footprint: Footprint, relation: str) -> list[LockMode]:
    return [lock.mode for lock in footprint.locks if lock.relation == relation]


async def test_a_lock_that_was_needed_for_an_instant_is_seen(each_database: Database) -> None:
    """Nothing is sampled: the transaction still has it."""
    (footprint,) = await footprints(each_database, "LOCK TABLE account IN SHARE ROW EXCLUSIVE MODE;")

    assert footprint.locks == (Lock(relation="public.account", mode=LockMode.SHARE_ROW_EXCLUSIVE, kind="table",
                                    existing=True),)


async def test_the_look_itself_is_not_taken_for_a_lock(each_database: Database) -> None:
    """Asking for the size of a table opens its indexes; the next statement must not be blamed."""
    first, second = await footprints(each_database, "LOCK TABLE account IN SHARE MODE;\nSELECT 1;")

    assert [size.relation for size in first.sizes] == ["public.account"]
    assert second.locks == ()


async def test_what_the_patch_has_made_is_not_what_was_there_before(each_database: Database) -> None:
    """A lock on it keeps nobody waiting, and to fill it is no rewrite."""
    found = await footprints(each_database, "CREATE TABLE added (id int PRIMARY KEY, note text);\nTRUNCATE added;\n"
                                            "ALTER TABLE added ALTER id TYPE bigint;")

    assert {lock.existing for each in found for lock in each.locks} == {False}
    assert [each.rewritten + each.rebuilt for each in found] == [(), (), ()]


async def test_a_relation_keeps_the_name_that_clients_know(each_database: Database) -> None:
    """Renamed or dropped in the patch, it is one relation all the way."""
    renamed, changed, dropped = await footprints(
        each_database, "ALTER TABLE account RENAME TO customer;\nUPDATE customer SET balance = 1;\n"
                       "DROP TABLE customer;")

    assert modes(renamed, "public.account") == [LockMode.ACCESS_EXCLUSIVE]
    assert [change.relation for change in changed.changes] == ["public.account"]
    assert modes(dropped, "public.account_id_seq") == [LockMode.ACCESS_EXCLUSIVE]


async def test_what_a_do_block_does_is_seen(each_database: Database) -> None:
    """No parser sees through it, and none needs to."""
    (footprint,) = await footprints(each_database, "DO $$ BEGIN UPDATE account SET balance = 1 WHERE id < 4;\n"
                                    "EXECUTE 'ALTER TABLE upload ALTER path TYPE varchar(99)'; END $$;")

    assert footprint.rows_changed == 3
    assert footprint.rewritten == ("public.upload",)
    assert modes(footprint, "public.account") == [LockMode.ROW_EXCLUSIVE]


async def test_what_a_trigger_writes_elsewhere_is_seen(database: Database) -> None:
    """The statement names one table and writes two."""
    database.admin_sql("""
        SET ROLE patcher;
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO upload (path) VALUES (NEW.name); RETURN NEW; END $$;
        CREATE TRIGGER noting AFTER UPDATE ON account FOR EACH ROW EXECUTE FUNCTION note()""")
    (footprint,) = await footprints(database, "UPDATE account SET balance = 1;")

    assert {change.relation: (change.inserted, change.updated) for change in footprint.changes} == {
        "public.account": (0, 10), "public.upload": (10, 0)}


async def test_catalogs_and_our_own_tables_are_left_out(each_database: Database) -> None:
    """Every DDL writes catalogs, and every deployment its ledger."""
    found = await footprints(each_database, "COMMENT ON TABLE account IS 'x';\nCREATE TYPE mood AS ENUM ('good');\n"
                                            "SELECT count(*) FROM fastdowntime.ledger;")

    assert {lock.relation for each in found for lock in each.locks} == {"public.account"}


async def test_rows_of_an_earlier_transaction_are_not_counted_again(each_database: Database) -> None:
    """The session's counters go on until it hands them over, which takes up to a second."""
    async with measured_session(each_database) as (patcher, measuring):
        applied = [await one(patcher, measuring, "UPDATE account SET balance = balance + 1") for _ in range(3)]

    assert [each.footprint.rows_changed for each in applied if each.footprint] == [10, 10, 10]


async def test_storage_of_an_earlier_transaction_is_not_told_again(each_database: Database) -> None:
    """A table that was rewritten in one transaction is not rewritten in the next."""
    async with measured_session(each_database) as (patcher, measuring):
        first = await one(patcher, measuring, "ALTER TABLE account ALTER balance TYPE text")
        second = await one(patcher, measuring, "ALTER TABLE account ADD COLUMN added int")

    assert [each.footprint.rewritten for each in (first, second) if each.footprint] == [("public.account",), ()]


async def test_what_an_earlier_transaction_of_the_patch_has_made_stays_its_own(each_database: Database) -> None:
    """It was committed, but it was not there before the patch."""
    async with measured_session(each_database) as (patcher, measuring):
        await one(patcher, measuring, "CREATE TABLE added (id int)")
        second = await one(patcher, measuring, "ALTER TABLE added ADD COLUMN note text")

    assert second.footprint is not None
    assert {(lock.relation, lock.existing) for lock in second.footprint.locks if lock.relation == "public.added"} == {
        ("public.added", False)}


async def test_a_role_without_rights_does_not_break_it(each_database: Database) -> None:
    """A patch may act as somebody who owns one table and may see nothing else."""
    each_database.admin_sql("GRANT app TO patcher")
    try:
        first, second = await footprints(each_database, "SET ROLE app;\nUPDATE account SET balance = 1;")
    finally:
        each_database.admin_sql("REVOKE app FROM patcher")

    assert (first.rows_changed, second.rows_changed) == (0, 10)


async def test_names_that_need_quoting_are_quoted(database: Database) -> None:
    """They can be pasted into SQL."""
    database.admin_sql('SET ROLE patcher; CREATE SCHEMA "Odd % one"; CREATE TABLE "Odd % one"."user" (id int)')
    (footprint,) = await footprints(database, 'ALTER TABLE "Odd % one"."user" ADD COLUMN added int;')

    assert [lock.relation for lock in footprint.locks] == ['"Odd % one"."user"']


async def test_a_rolled_back_subtransaction_leaves_no_trace(database: Database) -> None:
    """The one thing that cannot be seen: the lock is given up with it."""
    (footprint,) = await footprints(database, """DO $$ BEGIN
        BEGIN LOCK TABLE account; RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END;
    END $$;""")

    assert footprint.locks == ()


async def test_very_many_statements_are_measured_in_groups(each_database: Database) -> None:
    """Nothing is lost but which statement of a group it was; the last one always is measured."""
    count = MEASURED_ALONE + 200
    found = await footprints(each_database, "UPDATE account SET balance = 1 WHERE id = 1;\n" * (count - 1)
                             + "LOCK TABLE upload;")

    assert sum(each.statements for each in found) == count
    assert sum(each.rows_changed for each in found) == count - 1
    assert [each.statements for each in found[:MEASURED_ALONE]] == [1] * MEASURED_ALONE
    assert modes(found[-1], "public.upload") == [LockMode.ACCESS_EXCLUSIVE]
    looks = sum(1 for each in found if each.statements)
    print(f"{count} statements, {looks} looks")
    assert looks < count


async def test_a_statement_outside_transactions_is_measured_before_and_behind(each_database: Database) -> None:
    """Its locks are as documented; WAL, size and storage are its own."""
    async with measured_session(each_database) as (patcher, measuring):
        deployment = a_deployment(sql="SET search_path = public;\nCREATE INDEX CONCURRENTLY made ON account (name);",
                                  lane=Lane.LIVE)
        statement = deployment.statements[1]
        await measuring.begin_alone(statement)
        footprint = (await measuring.after_alone(
            await run_statement(patcher, deployment, statement, room=0))).footprint

    assert footprint is not None
    assert footprint.documented
    assert footprint.wal_bytes > 0
    assert footprint.strongest == Lock(relation="public.account", mode=LockMode.SHARE_UPDATE_EXCLUSIVE, kind="table",
                                       existing=True)
    assert [(size.relation, size.index_bytes) for size in footprint.sizes] == [("public.account", 2 * 16384)]


async def test_what_a_statement_outside_transactions_has_read_is_not_the_next_ones(each_database: Database) -> None:
    """An index was built, and the harmless statement behind it was said to read the whole table."""
    async with measured_session(each_database) as (patcher, measuring):
        await patcher.execute("INSERT INTO account (name) SELECT 'x' FROM generate_series(1, 1000)")
        deployment = a_deployment(sql="CREATE INDEX CONCURRENTLY made ON account (name);", lane=Lane.LIVE)
        await measuring.begin_alone(deployment.statements[0])
        await measuring.after_alone(await run_statement(patcher, deployment, deployment.statements[0], room=0))
        following = (await one(patcher, measuring, "COMMENT ON TABLE account IS 'indexed';")).footprint

    assert following is not None
    assert following.scans == ()


async def test_a_downtime_is_measured_where_the_rules_say_so(database: Database) -> None:
    """Rehearsals do, production never: what measuring takes is outage."""
    sql = "ALTER TABLE account ADD COLUMN added int;\nUPDATE account SET added = 1;"
    report = await run(database, a_deployment(sql=sql), measure=True, keep=False)
    unmeasured = await run(database, a_deployment(sql=sql), keep=False)

    assert report.error is None
    assert [each.footprint.rows_changed for each in report.statements if each.footprint] == [0, 10]
    # of the gate nothing is to be seen
    assert {lock.relation for each in report.statements if each.footprint for lock in each.footprint.locks} == {
        "public.account", "public.account_pkey"}
    assert 0 < report.measuring_seconds < report.outage_seconds - report.patch_seconds
    assert (unmeasured.measuring_seconds, {each.footprint for each in unmeasured.statements}) == (0.0, {None})

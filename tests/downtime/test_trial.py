"""A patch tried out in one transaction that is rolled back."""

from __future__ import annotations

import pytest
from twisted.internet import reactor

from downtime import errors
from downtime.apply import PatchBlocked, PatchFailed
from downtime.footprints import LockMode
from downtime.patches import Lane
from downtime.trial import Trial, try_out
from tests.builders import a_deployment, until
from tests.databases import Database, MakeDatabase

CONCURRENT = "CREATE TABLE added (id int);\nCREATE INDEX CONCURRENTLY made ON account (name);\nSELECT 1;"


async def tried(database: Database, sql: str, *, whole: bool = True, lane: Lane = Lane.COLD, **given: object) -> Trial:
    rules = {"limit_seconds": 20.0, "go_on": lambda: None, **given}
    return await try_out(database.target, a_deployment(sql=sql, lane=lane), whole=whole, reactor=reactor,
                         **rules)  # type: ignore[arg-type]


async def test_every_statement_is_measured_and_nothing_is_left(each_database: Database) -> None:
    """Also no row in the ledger."""
    trial = await tried(each_database, "CREATE TABLE added (id int);\nUPDATE account SET balance = 1;")

    assert trial.complete
    assert [each.footprint.rows_changed for each in trial.statements if each.footprint] == [0, 10]
    assert trial.seconds > 0
    assert each_database.admin_sql("SELECT to_regclass('added'), (SELECT max(balance) FROM account),"
                                   " (SELECT count(*) FROM fastdowntime.ledger)") == [(None, 0, 0)]


async def test_it_needs_no_installation(make_database: MakeDatabase, database: Database) -> None:
    """Any database will do that the role may patch."""
    bare = make_database(database.server, gate=None)

    assert (await tried(bare, "ALTER TABLE account ADD COLUMN added int;")).complete


async def test_it_needs_no_deployment_lock(database: Database) -> None:
    """A live application holds that while it has its patch tried out."""
    database.connect("patcher").cursor().execute("SELECT pg_advisory_lock(x'6664746D'::int, 1)")

    assert (await tried(database, "SELECT set_config('work_mem', '1MB', false);\nSELECT 1;")).complete


async def test_it_ends_before_what_cannot_run_in_a_transaction(database: Database) -> None:
    """What stands above that has been measured."""
    trial = await tried(database, CONCURRENT, whole=False, lane=Lane.LIVE)

    assert [each.statement.line for each in trial.statements] == [1]
    assert not trial.complete


async def test_it_ends_behind_what_fails_only_in_a_transaction(database: Database) -> None:
    """A new value of an enum is used before it was committed: live that works."""
    database.admin_sql("SET ROLE patcher; CREATE TYPE mood AS ENUM ('good')")
    trial = await tried(database, "ALTER TYPE mood ADD VALUE 'bad';\nSELECT 'bad'::mood;", whole=False)

    assert [each.statement.line for each in trial.statements] == [1]
    assert not trial.complete


async def test_a_patch_that_must_run_as_a_whole_fails_with_its_line(database: Database) -> None:
    """As it would in a downtime."""
    with pytest.raises(PatchFailed, match=r"patch-1.sql, line 2: .*division by zero") as caught:
        await tried(database, "CREATE TABLE added (id int);\nSELECT 1 / 0;")

    assert caught.value.left is errors.Left.UNTOUCHED


async def test_a_deferred_constraint_is_checked(database: Database) -> None:
    """COMMIT would have found it, and there is none."""
    sql = ("CREATE TABLE child (id bigint REFERENCES account DEFERRABLE INITIALLY DEFERRED);\n"
           "INSERT INTO child VALUES (4711);")
    with pytest.raises(PatchFailed, match=r"line 2: .*violates foreign key"):
        await tried(database, sql)


async def test_a_lock_that_is_not_to_be_had_ends_it(database: Database) -> None:
    """Clients stay connected; it does not wait for them longer than a patch would."""
    database.connect("app").cursor().execute("SELECT 1 FROM account")
    with pytest.raises(PatchBlocked, match=r"line 1: .*lock timeout"):
        await tried(database, "ALTER TABLE account ADD COLUMN added int;")


async def test_what_the_patch_sets_does_not_break_the_measuring(database: Database) -> None:
    """pg_dump writes such things at the top of every file."""
    trial = await tried(database, "SET statement_timeout = '100ms';\nSET search_path = '';\nSET ROLE pg_monitor;\n"
                                  "RESET ROLE;\nUPDATE public.account SET balance = 1;\nSET statement_timeout = 1;")

    assert trial.complete
    assert [each.footprint.rows_changed for each in trial.statements if each.footprint] == [0, 0, 0, 0, 10, 0]


async def test_somebody_can_end_it_in_the_middle_of_a_statement(database: Database) -> None:
    """Stop does not wait for the statement."""
    def stop() -> None:
        sleeping = database.admin_sql("SELECT 1 FROM pg_stat_activity WHERE query LIKE %s AND pid <> pg_backend_pid()",
                                      ("%pg_sleep%",))
        if sleeping:
            raise errors.Aborted(phase="rehearse", reason="stopped")

    with pytest.raises(errors.Aborted, match="stopped"):
        await tried(database, "SELECT 1;\nSELECT pg_sleep(600);", go_on=stop, limit_seconds=700.0)


async def test_it_ends_when_its_time_is_up(database: Database) -> None:
    """All statements together: a patch of many short ones has the same limit."""
    with pytest.raises(errors.LimitPassed, match=r"0\.3 s"):
        await tried(database, "SELECT pg_sleep(0.2);\n" * 600, limit_seconds=0.3)


async def test_a_session_that_was_ended_leaves_nothing(database: Database) -> None:
    """The server rolls back; both sessions are closed."""
    with pytest.raises(errors.ConnectionLost):
        await tried(database, "CREATE TABLE added (id int);\nSELECT pg_terminate_backend(pg_backend_pid());")

    trials = "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'fastdowntime trial%'"
    await until(lambda: not database.admin_sql(trials), "both sessions being closed")
    assert database.admin_sql("SELECT to_regclass('added')") == [(None,)]


@pytest.mark.parametrize("types", ["int4, int4", "oid, oid", "text, text", '"char", "char"', "int8, int8"])
async def test_a_patch_cannot_hide_what_it_does(database: Database, types: str) -> None:
    """Operators are looked for along the search_path, also those of what measures: it asks for PostgreSQL's own."""
    left, right = types.split(", ")
    trial = await tried(database, f"CREATE SCHEMA own; CREATE FUNCTION own.no({types}) RETURNS bool LANGUAGE sql AS"
                                  f" 'SELECT false'; CREATE OPERATOR own.= (LEFTARG = {left}, RIGHTARG = {right},"
                                  " FUNCTION = own.no); SET search_path = own, pg_catalog, public;"
                                  " ALTER TABLE account ALTER COLUMN name TYPE varchar(100);")

    footprint = trial.statements[-1].footprint
    assert footprint is not None
    assert footprint.rewritten == ("public.account",)
    assert footprint.strongest is not None
    assert footprint.strongest.mode is LockMode.ACCESS_EXCLUSIVE

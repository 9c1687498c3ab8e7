"""A live patch: applied while clients work, resumed where it failed, never in their way for long."""

from __future__ import annotations

import psycopg2
import pytest
from twisted.internet.defer import Deferred

from downtime import errors, ledger, preflight
from downtime.live import InvalidIndex, LiveApplication, LivePatchFailed
from downtime.patches import Lane
from downtime.settings.sections import Live
from downtime.statements import objections, split
from tests.builders import no_objections, pause, until
from tests.databases import Database
from tests.downtime.live import (
    INDEX,
    IS_WAITING,
    a_live_application,
    a_live_patch,
    an_old_transaction,
    apply,
    recorded,
)


async def test_an_index_is_built_while_clients_are_connected(each_database: Database) -> None:
    """On every server: no gate, nobody kicked, the ledger row at the end."""
    client = each_database.connect("app")
    report = await apply(each_database, f"ALTER TABLE account ADD COLUMN note text;\n{INDEX}")

    client.cursor().execute("SELECT 1")
    assert [each.status for each in report.statements] == ["ALTER TABLE", "CREATE INDEX"]
    assert (report.resumed, recorded(each_database)) == (0, [("patch-1", "live")])
    assert each_database.admin_sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'account_name'::regclass") == [
        (True,)]


async def test_a_second_run_does_not_repeat_what_the_first_has_finished(database: Database) -> None:
    """After a failed second statement the first stays in, and the next run goes on behind it."""
    sql = "INSERT INTO account (name) VALUES ('once');\nINSERT INTO later VALUES (1);"
    with pytest.raises(LivePatchFailed, match="1 of 2 statements are in and will not be run again") as caught:
        await apply(database, sql)
    unfinished = recorded(database)
    database.admin_sql("SET ROLE patcher; CREATE TABLE later (id int)")
    report = await apply(database, sql)

    assert "db/patch-1.sql, line 2" in str(caught.value)
    assert (unfinished, report.resumed, len(report.statements)) == ([], 1, 1)
    assert database.admin_sql("SELECT count(*) FROM account WHERE name = 'once'") == [(1,)]


async def test_somebody_elses_invalid_index_refuses_the_run_and_is_named_with_its_cure(database: Database) -> None:
    """Nobody may think it is in use; what the patch itself drops or builds again is no reason."""
    database.admin_sql("UPDATE account SET name = 'same'")
    with pytest.raises(psycopg2.errors.UniqueViolation):
        database.admin_sql("CREATE UNIQUE INDEX CONCURRENTLY theirs ON account (name)")
    with pytest.raises(InvalidIndex, match="theirs on account") as caught:
        await apply(database, "SELECT 1;")
    report = await apply(database, "DROP INDEX CONCURRENTLY theirs;")

    assert caught.value.advice.startswith("DROP INDEX CONCURRENTLY theirs")
    assert (len(report.statements), report.invalid) == (1, ())


async def test_an_index_that_becomes_invalid_meanwhile_is_told_behind_a_good_run(database: Database) -> None:
    """It is not of our doing: the patch is in, and the operator learns of it."""
    lines: list[str] = []
    sql = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'account_pkey'::regclass"
    database.admin_sql(f"CREATE FUNCTION spoil() RETURNS void LANGUAGE sql SECURITY DEFINER AS $${sql}$$")
    report = await apply(database, "SELECT spoil();", lines)

    assert report.invalid == ("index account_pkey on account is invalid: DROP INDEX CONCURRENTLY account_pkey",)
    assert any("account_pkey on account is invalid" in line for line in lines)
    assert recorded(database) == [("patch-1", "live")]


async def test_an_abort_cancels_the_statement_under_way(database: Database) -> None:
    """What was finished stays; the database was open throughout."""
    live = LiveApplication(database.target, a_live_patch("CREATE TABLE first (id int);\nSELECT pg_sleep(30);"),
                           progress=(lines := []).append, rules=Live())
    running = Deferred.fromCoroutine(live.run(no_objections))
    await until(lambda: any("statement 2" in line for line in lines), "the second statement")
    await pause(0.2)
    live.abort("stopped")
    with pytest.raises(errors.Aborted, match="stopped") as caught:
        await running

    assert caught.value.left is errors.Left.OPEN
    assert database.admin_sql("SELECT to_regclass('first') IS NOT NULL") == [(True,)]


async def test_an_abort_that_falls_between_two_requests_is_not_lost(database: Database) -> None:
    """One asked for before the statement was sent ends it all the same."""
    live = LiveApplication(database.target, a_live_patch("SELECT pg_sleep(30);"),
                           progress=lambda line: live.abort("stopped") if "statement 1" in line else None,
                           rules=Live())
    with pytest.raises(errors.Aborted):
        await live.run(no_objections)


async def test_objections_of_the_ledger_refuse_it(database: Database) -> None:
    """Out of order is out of order in either lane; nothing is run."""
    live = LiveApplication(database.target, a_live_patch(INDEX), progress=lambda line: None, rules=Live())
    with pytest.raises(preflight.PreflightRefused, match=r"patch-0 comes first\."):
        await live.run(lambda entries: ["patch-0 comes first."])

    assert recorded(database) == []


async def test_a_ledger_that_cannot_be_written_does_not_read_as_untouched(database: Database) -> None:
    """Every statement is in; the operator was told that the database was left untouched."""
    database.admin_sql("CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
                       " $$BEGIN RAISE EXCEPTION 'disk full'; END$$;"
                       " CREATE TRIGGER full_disk BEFORE INSERT ON fastdowntime.ledger EXECUTE FUNCTION full_disk()")
    with pytest.raises(LivePatchFailed, match=r"ledger was not written: .*disk full.*; 1 of 1 statements") as caught:
        await apply(database, "INSERT INTO account (name) VALUES ('once');")
    database.admin_sql("DROP TRIGGER full_disk ON fastdowntime.ledger")
    report = await apply(database, "INSERT INTO account (name) VALUES ('once');")

    assert caught.value.left is errors.Left.OPEN
    assert (report.resumed, recorded(database)) == (1, [("patch-1", "live")])
    assert database.admin_sql("SELECT count(*) FROM account WHERE name = 'once'") == [(1,)]


async def test_a_resumed_patch_has_its_search_path_again(database: Database) -> None:
    """The second run is another session: what the first had SET was gone, and the rest went into another schema."""
    database.admin_sql("CREATE SCHEMA reporting AUTHORIZATION patcher")
    sql = "SET search_path = reporting;\nINSERT INTO later VALUES (1);\nCREATE TABLE added (id int);"
    with pytest.raises(LivePatchFailed, match="1 of 3 statements are in"):
        await apply(database, sql)
    database.admin_sql("SET ROLE patcher; CREATE TABLE reporting.later (id int); CREATE TABLE public.later (id int)")
    report = await apply(database, sql)

    assert (report.resumed, recorded(database)) == (1, [("patch-1", "live")])
    assert database.admin_sql("SELECT to_regclass('reporting.added') IS NOT NULL, count(*) FROM reporting.later") == [
        (True, 1)]
    assert database.admin_sql("SELECT to_regclass('public.added') IS NULL, count(*) FROM public.later") == [(True, 0)]


async def test_a_setting_that_cannot_be_set_again_fails_as_a_live_patch_does(database: Database) -> None:
    """What is told is how many statements are in and that the database was open throughout."""
    database.admin_sql("CREATE ROLE passing; GRANT passing TO patcher")
    sql = "SET ROLE passing;\nINSERT INTO later VALUES (1);"
    with pytest.raises(LivePatchFailed):
        await apply(database, sql)
    database.admin_sql("DROP ROLE passing")
    with pytest.raises(LivePatchFailed, match=r"line 1: role \"passing\" does not exist.*1 of 2 statements") as caught:
        await apply(database, sql)

    assert caught.value.left is errors.Left.OPEN


async def test_the_tables_of_an_older_version_refuse_it_before_anything_is_run(database: Database) -> None:
    """What to do is told: run install again."""
    database.admin_sql("DROP TABLE fastdowntime.live_begun")
    with pytest.raises(ledger.Outdated) as caught:
        await apply(database, "INSERT INTO account (name) VALUES ('once');")

    assert "run install again" in caught.value.advice
    assert database.admin_sql("SELECT count(*) FROM account WHERE name = 'once'") == [(0,)]


async def test_what_was_deferred_to_the_end_is_told_with_its_line(database: Database) -> None:
    """COMMIT found it before, and nobody was told which statement it was."""
    database.admin_sql("SET ROLE patcher; CREATE TABLE part (id int REFERENCES account DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(LivePatchFailed, match=r"patch-1\.sql, line 2: .*violates foreign key constraint"):
        await apply(database, "SELECT 1;\nINSERT INTO part VALUES (-1);")

    assert database.admin_sql("SELECT count(*) FROM part") == [(0,)]


async def test_a_deferred_trigger_runs_with_the_search_path_of_the_patch(database: Database) -> None:
    """At COMMIT it ran with the one of the journal, found none of its tables, and no such patch could be applied."""
    database.admin_sql("SET ROLE patcher; CREATE TABLE noted (id int);"
                       " CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
                       " $$BEGIN INSERT INTO noted VALUES (NEW.id); RETURN NULL; END$$;"
                       " CREATE CONSTRAINT TRIGGER note AFTER INSERT ON account DEFERRABLE INITIALLY DEFERRED"
                       " FOR EACH ROW EXECUTE FUNCTION note()")
    await apply(database, "INSERT INTO account (name) VALUES ('once');")

    assert database.admin_sql("SELECT count(*) FROM noted") == [(1,)]


async def test_a_database_that_is_read_only_by_default_gets_its_index(database: Database) -> None:
    """A DBA's safeguard against accidents; transactions of ours say that they write, what is CONCURRENT could not."""
    setting = "ALTER ROLE patcher IN DATABASE {} {} default_transaction_read_only"
    database.admin_sql(f"{setting.format(database.name, 'SET')} = on")
    report = await apply(database, INDEX)

    assert [each.status for each in report.statements] == ["CREATE INDEX"]


async def test_an_abort_names_the_index_that_it_leaves_invalid(database: Database) -> None:
    """Nothing can drop it while an old transaction is there; the report said nothing of it."""
    an_old_transaction(database)
    live = a_live_application(database, INDEX)
    running = Deferred.fromCoroutine(live.run(no_objections))
    await until(lambda: database.admin_sql(IS_WAITING) == [(True,)], "the statement's wait")
    live.abort("stopped")
    with pytest.raises(errors.Aborted, match="stopped; index account_name on account is invalid: DROP INDEX CONC"):
        await running


async def test_an_index_whose_build_is_stopped_leaves_nothing_invalid(database: Database) -> None:
    """Stop cancels the statement, and what it has left is dropped where no old transaction is in the way."""
    database.admin_sql("CREATE FUNCTION slow(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS"
                       " $$BEGIN PERFORM pg_sleep(30); RETURN $1; END$$; GRANT EXECUTE ON FUNCTION slow TO patcher")
    live = a_live_application(database, "CREATE INDEX CONCURRENTLY account_slow ON account (slow(name));")
    running = Deferred.fromCoroutine(live.run(no_objections))
    building = "SELECT EXISTS (SELECT FROM pg_stat_progress_create_index WHERE phase LIKE 'building%')"
    await until(lambda: database.admin_sql(building) == [(True,)], "the build")
    live.abort("stopped")
    with pytest.raises(errors.Aborted, match="stopped"):
        await running

    assert database.admin_sql("SELECT to_regclass('account_slow') IS NULL") == [(True,)]


def test_an_index_needs_a_name_by_which_it_is_found_again() -> None:
    """The server's choice could not be told from another index of the table after a run that was cut off."""
    unnamed = "CREATE INDEX CONCURRENTLY ON account (name);"

    assert [each.reason for each in objections(split(unnamed), Lane.LIVE)] == [
        "CREATE INDEX CONCURRENTLY without a name: a run that was cut off could not find its index again; give it one"]
    assert objections(split(INDEX), Lane.LIVE) == ()

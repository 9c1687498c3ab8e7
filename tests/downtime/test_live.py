"""A live patch: applied while clients work, resumed where it failed, never in their way for long."""

from __future__ import annotations

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from downtime import errors, preflight
from downtime.apply import Deployment
from downtime.live import InvalidIndex, LiveApplication, LivePatchFailed, Report
from downtime.patches import Lane
from tests.builders import a_deployment, no_objections, pause, until
from tests.databases import Database

INDEX = "CREATE INDEX CONCURRENTLY account_name ON account (name);"


def a_live_patch(sql: str) -> Deployment:
    return a_deployment(sql=sql, lane=Lane.LIVE)


async def apply(database: Database, sql: str, lines: list[str] | None = None) -> Report:
    progress = (lines if lines is not None else []).append
    return await LiveApplication(database.target, a_live_patch(sql), progress=progress).run(no_objections)


def recorded(database: Database) -> list[tuple[object, ...]]:
    return database.admin_sql("SELECT id, lane FROM fastdowntime.ledger")


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


async def test_an_index_left_invalid_is_named_with_its_cure(database: Database) -> None:
    """At the failure, and again by a run that comes before it was dropped."""
    database.admin_sql("UPDATE account SET name = 'same'")
    sql = "CREATE UNIQUE INDEX CONCURRENTLY account_name ON account (name);"
    with pytest.raises(LivePatchFailed, match="DROP INDEX CONCURRENTLY account_name"):
        await apply(database, sql)
    with pytest.raises(InvalidIndex, match="account_name on account") as caught:
        await apply(database, sql)

    assert caught.value.advice.startswith("DROP INDEX CONCURRENTLY account_name")


async def test_a_lock_that_is_taken_is_tried_again(database: Database) -> None:
    """Short attempts, so that clients never queue behind us for long, until the blocker has left."""
    blocker = database.connect("app")
    blocker.cursor().execute("SELECT 1 FROM account")
    reactor.callLater(0.8, blocker.rollback)  # type: ignore[attr-defined]
    lines: list[str] = []
    report = await apply(database, "ALTER TABLE account ADD COLUMN note text;", lines)

    assert report.retries >= 1
    assert any("attempt 2 of" in line for line in lines)
    assert recorded(database) == [("patch-1", "live")]


async def test_an_abort_cancels_the_statement_under_way(database: Database) -> None:
    """What was finished stays; the database was open throughout."""
    live = LiveApplication(database.target, a_live_patch("CREATE TABLE first (id int);\nSELECT pg_sleep(30);"),
                           progress=(lines := []).append)
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
                           progress=lambda line: live.abort("stopped") if "statement 1" in line else None)
    with pytest.raises(errors.Aborted):
        await live.run(no_objections)


async def test_objections_of_the_ledger_refuse_it(database: Database) -> None:
    """Out of order is out of order in either lane; nothing is run."""
    live = LiveApplication(database.target, a_live_patch(INDEX), progress=lambda line: None)
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

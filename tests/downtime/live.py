"""What tests of live patches share: applying one, and cutting one off while an old transaction holds it up."""

from __future__ import annotations

import psycopg2.extensions
import pytest
from twisted.internet.defer import Deferred

from downtime.apply import Deployment
from downtime.live import LiveApplication, LivePatchFailed, Report
from downtime.patches import Lane
from downtime.settings.sections import Live
from tests.builders import a_deployment, no_objections, until
from tests.databases import Database

INDEX = "CREATE INDEX CONCURRENTLY account_name ON account (name);"
IS_WAITING = ("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'fastdowntime live patch-1'"
              " AND wait_event_type = 'Lock')")
END_WORKER = ("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
              " WHERE application_name = 'fastdowntime live patch-1'")
INVALID = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"
PARTITIONS = """
SET ROLE patcher;
CREATE TABLE event (id int) PARTITION BY RANGE (id);
CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM (1) TO (2);
CREATE TABLE event_2 PARTITION OF event FOR VALUES FROM (2) TO (3);
GRANT SELECT, INSERT ON event, event_1, event_2 TO app;
"""
DETACH = "ALTER TABLE event DETACH PARTITION event_1 CONCURRENTLY;"
ATTACHED = "SELECT inhrelid::regclass::text, inhdetachpending FROM pg_inherits WHERE inhparent = 'event'::regclass"


def a_live_patch(sql: str) -> Deployment:
    return a_deployment(sql=sql, lane=Lane.LIVE)


def a_live_application(database: Database, sql: str, lines: list[str] | None = None, *, rules: Live | None = None,
                       measure: bool = False) -> LiveApplication:
    return LiveApplication(database.target, a_live_patch(sql), rules=rules or Live(), measure=measure,
                           progress=(lines if lines is not None else []).append)


async def apply(database: Database, sql: str, lines: list[str] | None = None, *, rules: Live | None = None,
                measure: bool = False) -> Report:
    return await a_live_application(database, sql, lines, rules=rules, measure=measure).run(no_objections)


def recorded(database: Database) -> list[tuple[object, ...]]:
    return database.admin_sql("SELECT id, lane FROM fastdowntime.ledger")


def invalid(database: Database) -> list[str]:
    return [name for (name,) in database.admin_sql(INVALID)]


def an_old_transaction(database: Database, table: str = "account") -> psycopg2.extensions.connection:
    """One that has written: what is CONCURRENT waits for its end."""
    connection = database.connect("app")
    connection.cursor().execute(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE")
    return connection


async def cut_off(database: Database, sql: str, *, table: str = "account") -> None:
    """Run until it waits for an old transaction, and lose its session there."""
    old = an_old_transaction(database, table)
    running = Deferred.fromCoroutine(apply(database, sql))
    await until(lambda: database.admin_sql(IS_WAITING) == [(True,)], "the statement's wait")
    database.admin_sql(END_WORKER)
    with pytest.raises(LivePatchFailed):
        await running
    old.rollback()

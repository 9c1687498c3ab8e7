"""Promises of the server fixtures."""

from __future__ import annotations

import psycopg2
import pytest

from downtime import node
from tests.databases import Database, MakeDatabase, drop


async def test_the_patching_role_connects_to_a_fresh_database(each_database: Database) -> None:
    """On every PostgreSQL at hand the patching role owns a database and is no superuser."""

    session = await node.connect(each_database.target, application_name="test")
    try:
        answer = await session.execute(
            "SELECT rolsuper, pg_has_role(current_user, 'pg_signal_backend', 'MEMBER') AS signals,"
            " (SELECT datdba::regrole::text FROM pg_database WHERE datname = current_database()) AS owner"
            " FROM pg_roles WHERE rolname = current_user")
    finally:
        session.close()

    assert answer.rows == [{"rolsuper": False, "signals": True, "owner": "patcher"}]


def test_clients_read_and_write_the_tables(database: Database) -> None:
    """The application's role does its work in tables that the patching role owns."""

    with database.connect("app").cursor() as cursor:
        cursor.execute("INSERT INTO upload (path) VALUES ('a') RETURNING id")

        assert cursor.fetchone() == (1,)


def test_every_test_gets_its_own_database(database: Database, make_database: MakeDatabase) -> None:
    """What one test changes no other test sees."""

    assert make_database(database.server, gate=None).name != database.name


def test_a_test_that_leaves_the_door_shut_is_failed_and_harms_no_other(database: Database,
                                                                       make_database: MakeDatabase) -> None:
    """A lock that keeps new connections out is broken at the end of the test, and the test is named."""

    shut = make_database(database.server, gate=None)
    leaked = psycopg2.connect(shut.superuser_dsn)
    leaked.cursor().execute("LOCK TABLE pg_catalog.pg_db_role_setting IN ACCESS EXCLUSIVE MODE")

    with pytest.raises(pytest.fail.Exception, match="keeps others out"):
        drop(shut)
    leaked.close()

    assert database.admin_sql("SELECT 1") == [(1,)]

"""Servers as one meets them: no connection left, a backend that hears nothing, sessions that say nothing."""

from __future__ import annotations

import contextlib
from typing import Any

import psycopg2
import pytest

from downtime import errors, preflight
from downtime.kicking import SessionsSurvive
from tests.databases import Database
from tests.downtime.outages import run, stopped


def applied(database: Database) -> list[Any]:
    return database.admin_sql("SELECT id FROM fastdowntime.ledger")


async def test_a_server_without_a_connection_left_is_not_touched(database: Database) -> None:
    """What an outage needs it opens before; here the first of its sessions finds no place."""
    with contextlib.suppress(psycopg2.OperationalError):
        while True:
            database.connect("app")
    with pytest.raises(errors.CannotConnect, match="remaining connection slots are reserved") as caught:
        await run(database)

    assert caught.value.left is errors.Left.UNTOUCHED
    assert applied(database) == []


@pytest.mark.deadline(seconds=60)
async def test_a_session_that_does_not_die_ends_the_outage(database: Database) -> None:
    """As in a loop of a procedural language, which hears of its end when it returns: named, open, nothing applied."""
    deaf = database.connect("app").get_backend_pid()
    with stopped(deaf):
        report = await run(database)
        psycopg2.connect(database.dsn_of("app"), connect_timeout=5).close()

    assert isinstance(report.error, SessionsSurvive)
    assert f"pid {deaf} app" in str(report.error)
    assert report.error.left is errors.Left.REOPENED
    assert report.outage_seconds < 50
    assert applied(database) == []


async def test_a_session_that_says_nothing_of_itself_counts_as_fragile(each_database: Database) -> None:
    """With track_activities off nobody can tell whether it is in a transaction: refused, and not kicked."""
    each_database.admin_sql(f"ALTER ROLE process_upload IN DATABASE {each_database.name} SET track_activities = off")
    client = each_database.connect("process_upload")
    with pytest.raises(preflight.PreflightRefused, match="a fragile user is in the middle of a transaction"):
        await run(each_database)

    client.cursor().execute("SELECT 1")
    assert applied(each_database) == []

"""The matrix as people and programs read it."""

from __future__ import annotations

from datetime import UTC, datetime

from downtime import errors
from downtime.fleet.matrix import Matrix, Result, Row, State

ROWS = (
    Row(name="canary", database="db1:5432/app", result=Result(
        state=State.DONE, started_at=datetime(2024, 1, 1, tzinfo=UTC), outage_seconds=0.0123, patch_seconds=0.01,
        kicked=4)),
    Row(name="tenant-1", database="db2:5432/tenant1", result=Result(
        state=State.FAILED, said="line 1: it has failed", left=errors.Left.REOPENED)),
    Row(name="tenant-2", database="db2:5432/tenant2", result=Result(state=State.NOT_REACHED)),
)


def test_table_has_a_line_for_each_database_and_shows_units() -> None:
    """Times in milliseconds; what failed says why, and how its database was left."""

    assert Matrix(rows=ROWS).lines() == (
        "database  where             state        outage ms  patch ms  kicked",
        "canary    db1:5432/app      done              12.3      10.0       4",
        "tenant-1  db2:5432/tenant1  failed               -         -       -  line 1: it has failed; left reopened",
        "tenant-2  db2:5432/tenant2  not reached          -         -       -")


def test_document_has_every_key_for_every_database() -> None:
    """Seconds and ISO instants; null where there is none."""

    document = Matrix(rows=ROWS, stopped="no more were begun: tenant-1 failed").to_json()

    assert (document["complete"], document["stopped"]) == (False, "no more were begun: tenant-1 failed")
    assert document["databases"][0] == {
        "name": "canary", "database": "db1:5432/app", "state": "done", "said": "",
        "started_at": "2024-01-01T00:00:00+00:00", "outage_seconds": 0.0123, "patch_seconds": 0.01, "kicked": 4,
        "over_budget": False, "left": None}
    assert {frozenset(each) for each in document["databases"]} == {frozenset(document["databases"][0])}


def test_rows_tell_themselves_in_a_sentence() -> None:
    """For whoever watches a terminal."""

    assert [row.sentence for row in ROWS] == [
        "canary: done, outage 0.012 s, patch 0.010 s", "tenant-1: failed, line 1: it has failed",
        "tenant-2: not reached"]

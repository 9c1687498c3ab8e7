"""What a database remembers of its patches."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from downtime import errors, ledger
from tests.builders import a_node
from tests.databases import Database, MakeDatabase


async def test_a_row_comes_back_as_it_was_written(each_database: Database) -> None:
    """Who, when, how long, on whose word; and `has` knows exactly these bytes."""
    node = await a_node(each_database.target)
    started = datetime(2024, 1, 2, tzinfo=UTC)
    try:
        await ledger.write(node, patch_id="patch-1", sha256="a" * 64, lane="cold", commit="c" * 40, started_at=started,
                           seconds=1.5, origin=ledger.Origin(requested_by="operator", approved_by="approver"))
        (entry,) = await ledger.read(node)
        known = [await ledger.has(node, "patch-1", digest * 64) for digest in "ab"]
        with pytest.raises(errors.StatementFailed) as caught:
            await ledger.write(node, patch_id="patch-1", sha256="b" * 64, lane="cold", commit="", started_at=started,
                               seconds=1, origin=ledger.Origin())
    finally:
        node.close()

    assert (entry.id, entry.started_at, entry.seconds, entry.approved_by) == ("patch-1", started, 1.5, "approver")
    assert (known, caught.value.sqlstate) == ([True, False], "23505")


async def test_what_was_foretold_is_kept_beside_what_came_true(database: Database) -> None:
    """Staging's measurement, and the forecast made of it; where nobody knew, the ledger says nothing."""
    node = await a_node(database.target)
    known = ledger.Origin(rehearsed_seconds=1.25, forecast_seconds=1.5)
    try:
        for patch_id, origin in (("patch-1", known), ("patch-2", ledger.Origin())):
            await ledger.write(node, patch_id=patch_id, sha256="a" * 64, lane="cold", commit="c" * 40,
                               started_at=datetime(2024, 1, 2, tzinfo=UTC), seconds=1.75, origin=origin)
        entries = await ledger.read(node)
    finally:
        node.close()

    assert [(entry.seconds, entry.rehearsed_seconds, entry.forecast_seconds) for entry in entries] == [
        (1.75, 1.25, 1.5), (1.75, None, None)]


async def test_a_database_without_a_ledger_is_told_from_an_empty_one(database: Database, make_database: MakeDatabase
                                                                     ) -> None:
    """Nothing installed is an error with the command that helps."""
    bare = make_database(database.server, gate=None)
    full, empty = await a_node(database.target), await a_node(bare.target)
    try:
        entries = await ledger.read(full)
        with pytest.raises(ledger.NotInstalled) as caught:
            await ledger.read(empty)
    finally:
        full.close()
        empty.close()

    assert entries == ()
    assert "downtime install" in caught.value.advice

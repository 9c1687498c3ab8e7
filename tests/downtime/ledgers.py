"""Rows of ledgers for the tests that compare them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from downtime import ledger
from downtime.ledger import Entry
from tests.builders import a_node
from tests.databases import Database

START = datetime(2024, 1, 1, tzinfo=UTC)


def an_entry(patch_id: str, *, day: float, sha256: str = "a", microseconds: int = 0) -> Entry:
    at = START + timedelta(days=day, microseconds=microseconds)
    return Entry(id=patch_id, sha256=sha256 * 64, lane="cold", commit="c", started_at=at, finished_at=at, seconds=1.0,
                 build_url="", requested_by="", approved_by="")


async def written(database: Database, patch_id: str, *, seconds: float, sha256: str = "a", lane: str = "cold",
                  origin: ledger.Origin | None = None) -> None:
    """A row of the database's ledger, as a deployment writes it."""
    node = await a_node(database.target)
    try:
        await ledger.write(node, patch_id=patch_id, sha256=sha256 * 64, lane=lane, commit="",
                           started_at=datetime.now(UTC) - timedelta(seconds=seconds), seconds=seconds,
                           origin=origin or ledger.Origin())
    finally:
        node.close()

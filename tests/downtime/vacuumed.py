"""A database whose table `account` a real autovacuum worker is busy with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from demo.faults.vacuuming import slow_autovacuum
from tests.builders import until
from tests.databases import Database


@asynccontextmanager
async def vacuumed(database: Database, *, against_wraparound: bool = False) -> AsyncIterator[None]:
    """The block runs while the worker is at the table."""
    with slow_autovacuum(database.server, database.name, against_wraparound=against_wraparound) as at_work:
        await until(lambda: database.admin_sql(at_work) == [(True,)], "autovacuum", seconds=60.0)
        yield

"""A real autovacuum worker that is busy with one table for as long as a test wants."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.builders import until
from tests.databases import Database

# Keeps a worker busy with one table for minutes: a page costs it 100 ms.
MUCH_TO_DO = """
INSERT INTO upload (path) SELECT repeat('x', 100) FROM generate_series(1, 20000);
UPDATE upload SET path = 'y';
ALTER TABLE upload SET (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0,
                        autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1);
"""
BURN_TRANSACTIONS = """
DO $$ BEGIN FOR i IN 1..100001 LOOP PERFORM txid_current(); COMMIT; END LOOP; END $$
"""
WORKERS = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE %s AND datname = current_database()"


@asynccontextmanager
async def autovacuum_on_upload(database: Database, *, prevents_wraparound: bool = False) -> AsyncIterator[None]:
    """The block runs while a worker is at the table `upload`."""
    database.admin_sql(MUCH_TO_DO)
    if prevents_wraparound:
        database.admin_sql("ALTER TABLE upload SET (autovacuum_freeze_max_age = 100000)")
        database.admin_sql(BURN_TRANSACTIONS)
    query = f"autovacuum: VACUUM%public.upload{' (to prevent wraparound)' if prevents_wraparound else ''}"
    database.admin_sql("ALTER SYSTEM SET autovacuum_naptime = '1s'")
    database.admin_sql("SELECT pg_reload_conf()")
    try:
        await until(lambda: database.admin_sql(WORKERS, (query,)) == [(1,)], "autovacuum", seconds=60.0)
        yield
    finally:
        database.admin_sql("ALTER SYSTEM RESET autovacuum_naptime")
        database.admin_sql("SELECT pg_reload_conf()")

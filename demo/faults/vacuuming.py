"""An autovacuum worker that is at work on the table `account` for as long as anybody looks. Blocking."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from demo.servers import Server

DEAD_ROWS = 30_000          # some 200 pages, behind each of which the worker sleeps for 100 ms
OLD_TRANSACTIONS = 110_000  # more than FREEZE_MAX_AGE
FREEZE_MAX_AGE = 100_000    # the lowest a table may have

SLOWLY = ("autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1,"
          " autovacuum_analyze_threshold = 1000000000")
ORDINARY = f"autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0, {SLOWLY}"
AGAINST_WRAPAROUND = f"autovacuum_freeze_max_age = {FREEZE_MAX_AGE}, {SLOWLY}"
LEAVE_DEAD_ROWS = f"""
INSERT INTO account (name) SELECT 'dead' FROM generate_series(1, {DEAD_ROWS});
DELETE FROM account WHERE name = 'dead';
"""
BURN = f"DO $$ BEGIN FOR i IN 1..{OLD_TRANSACTIONS} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
AT_WORK = """
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'autovacuum worker'
                                              AND query LIKE 'autovacuum: VACUUM public.account{}')
"""
END_WORKERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'"


@contextlib.contextmanager
def slow_autovacuum(server: Server, database: str, *, against_wraparound: bool = False) -> Iterator[str]:
    """Within a second or two of the beginning of the block a worker is there; gives the question whether it is, in SQL.

    One against wraparound gives way to nobody. At the end it is ended, and the table is as it was.
    """
    storage = AGAINST_WRAPAROUND if against_wraparound else ORDINARY
    server.admin_sql(LEAVE_DEAD_ROWS, database=database)
    if against_wraparound:
        server.admin_sql(BURN, database=database)
    server.admin_sql(f"ALTER TABLE account SET ({storage})", database=database)
    _look_for_work(server, "SET autovacuum_naptime = '1s'")
    try:
        yield AT_WORK.format(" (to prevent wraparound)" if against_wraparound else "")
    finally:
        _look_for_work(server, "RESET autovacuum_naptime")
        names = ", ".join(each.split(" =")[0].strip() for each in storage.split(","))
        server.admin_sql(END_WORKERS)  # first: what follows would wait for one against wraparound
        server.admin_sql(f"ALTER TABLE account RESET ({names})", database=database)
        server.admin_sql("VACUUM (FREEZE) account", database=database)


def _look_for_work(server: Server, how_often: str) -> None:
    server.admin_sql(f"ALTER SYSTEM {how_often}")
    server.admin_sql("SELECT pg_reload_conf()")

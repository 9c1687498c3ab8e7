"""The server's own housekeeping at work on the patched table."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from demo.faults.circumstances import applied, deploy_watched, refused, server, until
from demo.faults.rows import Finding
from demo.faults.sample import PATCH
from demo.faults.world import World
from demo.sandbox import DATABASE

DEAD_ROWS = 30_000       # some 200 pages
OLD_TRANSACTIONS = 110_000  # more than FREEZE_MAX_AGE
FREEZE_MAX_AGE = 100_000    # the lowest a table may have

# a worker sleeps behind every page, so that it is at work for as long as anybody looks
SLOWLY = ("autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1,"
          " autovacuum_analyze_threshold = 1000000000")
LEAVE_DEAD_ROWS = f"""
INSERT INTO account (name) SELECT 'dead' FROM generate_series(1, {DEAD_ROWS});
DELETE FROM account WHERE name = 'dead';
"""
BURN = f"DO $$ BEGIN FOR i IN 1..{OLD_TRANSACTIONS} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
AT_WORK = """
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'
                                              AND query LIKE 'autovacuum: VACUUM public.account{}')
"""
END_WORKERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'"


def ordinary(world: World) -> Finding:
    world.production.admin_sql(LEAVE_DEAD_ROWS, database=DATABASE)
    with _vacuuming(world, "autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0", at_work=""):
        return applied(world, deploy_watched(world))


def against_wraparound(world: World) -> Finding:
    world.production.admin_sql(LEAVE_DEAD_ROWS, database=DATABASE)
    world.production.admin_sql(BURN, database=DATABASE)
    with _vacuuming(world, f"autovacuum_freeze_max_age = {FREEZE_MAX_AGE}", at_work=" (to prevent wraparound)"):
        outcome = deploy_watched(world)
        finding = refused(world, outcome.build, f"{PATCH}.sql, line 3", "autovacuum to prevent wraparound",
                          "public.account", untouched=False)
    finding.seconds = outcome.seconds
    return finding


@contextlib.contextmanager
def _vacuuming(world: World, storage: str, *, at_work: str) -> Iterator[None]:
    """While an autovacuum worker is at work on the table."""
    world.production.admin_sql(f"ALTER TABLE account SET ({storage}, {SLOWLY})", database=DATABASE)
    world.watch()
    try:
        with server(world, restart=False, autovacuum_naptime="1s"):
            until(lambda: world.onlooker_sees(AT_WORK.format(at_work)), "an autovacuum worker at work")
            yield
    finally:
        names = ", ".join(each.split(" =")[0].strip() for each in f"{storage}, {SLOWLY}".split(","))
        world.production.admin_sql(END_WORKERS)
        world.production.admin_sql(f"ALTER TABLE account RESET ({names})", database=DATABASE)
        world.production.admin_sql("VACUUM (FREEZE) account", database=DATABASE)

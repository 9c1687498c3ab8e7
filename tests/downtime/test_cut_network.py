"""A deployer whose network is cut while its patch has something to say: the server does not wait for it."""

from __future__ import annotations

from time import monotonic

import pytest

from demo.proxy import Proxy
from downtime import errors
from tests.builders import a_deployment, until
from tests.databases import Database
from tests.downtime.outages import assert_nothing_is_left, in_mid_patch, lets_in, prepared, through

TALK = {
    "one notice": "RAISE NOTICE 'step';",
    "a flood of notices": "FOR i IN 1..100000 LOOP RAISE NOTICE '%', repeat('x', 8000); END LOOP;",
}
OPEN_WITHIN_SECONDS = 25.0  # usual: 4; a kernel that is told nothing goes on sending for a quarter of an hour


@pytest.mark.deadline(seconds=90)
@pytest.mark.parametrize("kind", TALK)
async def test_a_patch_that_speaks_to_nobody_does_not_keep_the_database_closed(kind: str, database: Database) -> None:
    """Where something that was sent waits to be acknowledged no keepalive is sent, and nobody noticed the cut."""
    sql = ("CREATE TABLE added (id int);\n"
           f"DO $$ BEGIN PERFORM pg_sleep(1); {TALK[kind]} PERFORM pg_sleep(80); END $$;")
    with Proxy("127.0.0.1", database.server.port) as proxy:
        async with prepared(database, a_deployment(sql=sql), target=through(proxy, database),
                            limit_seconds=80.0) as outage:
            running = await in_mid_patch(outage)
            proxy.cut()
            began = monotonic()
            try:
                await until(lambda: lets_in(database), "the database letting a client in", seconds=OPEN_WITHIN_SECONDS)
                seconds = monotonic() - began
            finally:
                proxy.drop()
                proxy.restore()
                report = await running
    print(f"{kind}: open {seconds:.1f} s after the cut")

    assert isinstance(report.error, errors.ConnectionLost)
    assert_nothing_is_left(database)

"""Makes standbys see at once what the primary has done: what is not flushed is not sent to them."""

from __future__ import annotations

from downtime.failover import ANSWER_SECONDS
from downtime.node import Node

# Makes the WAL written so far reach the standbys at once: a lock and an abort are not flushed by themselves (the abort
# arrives up to 100 ms later). Everybody may call it. A synchronous standby that is away must not hold it up.
FLUSH = """
SELECT pg_catalog.set_config('synchronous_commit', 'local', true),
       pg_catalog.pg_logical_emit_message(true, 'fastdowntime', '')::text AS lsn
"""


async def flush(control: Node) -> str:
    """Send the standbys all that the primary has written; returns the place in the WAL. Raises NodeError."""
    (row,) = (await control.execute(FLUSH, deadline_seconds=ANSWER_SECONDS)).rows
    return str(row["lsn"])


async def flushed(control: Node) -> str:
    """The same, and the place returned lies behind every COMMIT so far. Raises NodeError."""
    await flush(control)
    return str((await control.execute("SELECT pg_catalog.pg_current_wal_flush_lsn()::text AS lsn",
                                      deadline_seconds=ANSWER_SECONDS)).scalar)

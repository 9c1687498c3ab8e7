"""Replay on one hot standby: paused and resumed, how far it has come, and who stalls it.

Replay is done by the server's startup process. A session that holds what the next record needs stalls it for
`max_standby_streaming_delay` (30 s by default); measured on 15, 16 and 18, it goes on 3 to 10 ms after that session was
ended. A pause outlives whoever has asked for it, but neither a restart of the standby nor its promotion.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

from twisted.internet.task import deferLater

from downtime import errors, sessions
from downtime.fence import ANSWER_SECONDS
from downtime.node import Node, connect
from downtime.sessions import SELECT_SESSIONS, Rules, Session
from downtime.target import Target

PAUSE_SECONDS = 2.0   # replay pauses between two records: within 2 ms, or when whoever stalls it is done
LOOK_SECONDS = 0.001
NOT_PAUSED = "not paused"
PAUSED = "paused"

# Ends whoever stands in the way of replay, but fragile users and superusers, and lists them. The startup process is in
# no pg_blocking_pids (measured on 15, 16 and 18): it waits for one lock, of which every holder stands in its way, or
# for old snapshots and pinned pages, and then it may be anybody who is in a transaction. Takes no lock.
CLEAR_THE_WAY = f"""
WITH seen AS MATERIALIZED ({SELECT_SESSIONS}),
     replaying AS MATERIALIZED (
         SELECT pid, wait_event_type = 'BufferPin' OR wait_event LIKE 'RecoveryConflict%%' AS for_any
           FROM pg_catalog.pg_stat_activity WHERE backend_type = 'startup'),
     blocking AS MATERIALIZED (
         SELECT holder.pid
           FROM replaying
           JOIN pg_catalog.pg_locks wanted ON wanted.pid = replaying.pid AND NOT wanted.granted
           JOIN pg_catalog.pg_locks holder ON holder.granted AND holder.pid <> wanted.pid
                AND (holder.locktype, holder.database, holder.relation, holder.classid, holder.objid, holder.objsubid)
                    IS NOT DISTINCT FROM (wanted.locktype, wanted.database, wanted.relation, wanted.classid,
                                          wanted.objid, wanted.objsubid)
          UNION
         SELECT seen.pid FROM seen JOIN replaying ON for_any WHERE seen.transaction_seconds IS NOT NULL)
SELECT seen.pid, "user", application, client, state, last_query, transaction_seconds, hidden,
       CASE WHEN %(end)s AND "user" <> ALL (%(fragile)s) AND "user" <> ALL (%(superusers)s)
            THEN pg_catalog.pg_terminate_backend(seen.pid) END AS ended
  FROM seen WHERE pid IN (SELECT pid FROM blocking)
"""


class ReplayNotPaused(errors.Refused):
    """Replay did not pause in time; it goes on everywhere, and nothing was closed."""

    happened = "replay on the standby {node} did not pause within {seconds:g} s: {listing}"
    next_step = "run the deployment again when that session is idle, or set serve_reads to false"


async def pause(node: Node, rules: Rules) -> None:
    """Returns when no record is replayed any more. Raises ReplayNotPaused after PAUSE_SECONDS, or NodeError."""
    await node.execute("SELECT pg_catalog.pg_wal_replay_pause()", deadline_seconds=ANSWER_SECONDS)
    deadline = monotonic() + PAUSE_SECONDS
    while await state(node) != PAUSED:
        if monotonic() > deadline:
            raise ReplayNotPaused(node=node.label, seconds=PAUSE_SECONDS, listing=await in_the_way(node, rules))
        await deferLater(node.reactor, LOOK_SECONDS, lambda: None)


async def has_come_to(node: Node, lsn: str) -> bool:
    """Whether everything up to this place in the WAL is replayed; on a promoted server: was, before its promotion."""
    return bool((await node.execute("SELECT pg_catalog.pg_last_wal_replay_lsn() >= %s::pg_lsn AS there", (lsn,),
                                    deadline_seconds=ANSWER_SECONDS)).scalar)


async def clear_the_way(node: Node, rules: Rules) -> tuple[Session, ...]:
    """End the sessions of this database that stall replay at the moment, but those of fragile users and superusers."""
    found = await node.execute(CLEAR_THE_WAY, {**rules.parameters, "end": True})
    return tuple(Session.seen({name: value for name, value in row.items() if name != "ended"})
                 for row in found.rows if row["ended"])


async def in_the_way(node: Node, rules: Rules) -> str:
    """Whoever stalls replay at the moment, in one sentence."""
    found = await node.execute(CLEAR_THE_WAY, {**rules.parameters, "end": False})
    seen = [Session.seen({name: value for name, value in row.items() if name != "ended"}) for row in found.rows]
    return f"in its way: {sessions.listing(seen)}" if seen else "no session of this database is in its way"


async def undo_replay(target: Target, *, reactor: Any) -> tuple[str, ...]:
    """Resume replay on a standby if it is paused, over a connection of its own; lines for a log, none if it was not.

    For whoever cleans up behind a dead deployment. Safe to call again, also where the server was restarted or
    promoted meanwhile. Raises NodeError.
    """
    node = await connect(target, application_name="fastdowntime resume replay", reactor=reactor)
    try:
        return (f"replay on the standby {target.label} is resumed",) if await resume(node) else ()
    finally:
        node.close()


async def resume(node: Node) -> bool:
    """Resume replay; returns whether it was paused. Raises NodeError."""
    if await state(node) in (None, NOT_PAUSED):
        return False  # a restart or a promotion has ended the pause
    try:
        await node.execute("SELECT pg_catalog.pg_wal_replay_resume()", deadline_seconds=ANSWER_SECONDS)
    except errors.StatementFailed:
        if await state(node) is not None:
            raise
    return True


async def state(node: Node) -> str | None:
    """NOT_PAUSED, "pause requested" or PAUSED; None on a server that is no standby."""
    found: str | None = (await node.execute(
        "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_get_wal_replay_pause_state() END AS state",
        deadline_seconds=ANSWER_SECONDS)).scalar
    return found

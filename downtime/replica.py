"""One hot standby: what it is like, who is connected there, and one session there for all of it.

It is the physical copy of a primary, so the role, its rights and the closed gate are the same there, as soon as they
are replayed: the gate closes when its record has arrived, 1 to 4 ms after it was flushed (measured on 15, 16, 18).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

import psycopg2
import psycopg2.extensions
from twisted.internet.task import deferLater

from downtime import errors, replay, sessions
from downtime.failover import FailedOver, Lineage, lineage_of
from downtime.kicking import Kick, SessionsSurvive
from downtime.node import Node, connect
from downtime.sessions import Rules, Session
from downtime.target import Target

LOOK_SECONDS = (0.001, 0.02)   # first and longest pause between two looks
CLEAR_AFTER_SECONDS = 0.004    # replay is usually done before; the look at who stalls it costs CPU

# What decides whether a server may stand beside an outage, in one row. Takes ACCESS SHARE on catalogs only.
SELECT_OBSERVATION = """
SELECT receiver.received_tli AS timeline, receiver.conninfo,
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_get_wal_replay_pause_state() END AS replay_state,
       pg_catalog.has_function_privilege('pg_catalog.pg_wal_replay_pause()', 'EXECUTE')
           AND pg_catalog.has_function_privilege('pg_catalog.pg_wal_replay_resume()', 'EXECUTE') AS may_pause,
       pg_catalog.current_setting('recovery_min_apply_delay') AS delay
  FROM (VALUES (1)) AS one LEFT JOIN pg_catalog.pg_stat_wal_receiver AS receiver ON receiver.status = 'streaming'
"""


class GateNotReplayed(errors.Refused):
    """The primary is closed and the standby still lets clients in."""

    happened = "the standby {node} has not replayed the closing of the gate in time: {listing}"
    next_step = "see what stalls replay there (pg_stat_activity), then run the deployment again"
    left = errors.Left.REOPENED


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a standby is like and what our role may do there."""

    lineage: Lineage
    timeline: int | None   # of what it receives; None where it streams from nobody
    conninfo: str | None   # how it reaches whom it follows
    replay_state: str | None  # NOT_PAUSED, "pause requested", PAUSED; None on a primary
    may_pause: bool
    delay: str             # recovery_min_apply_delay

    def follows(self, primary: Lineage) -> bool:
        """Whether it receives what this primary writes."""
        return self.lineage.is_a_standby_of(primary) and self.timeline == primary.timeline

    @property
    def name(self) -> str:
        """What its primary's pg_stat_replication calls it."""
        try:
            parts = psycopg2.extensions.parse_dsn(self.conninfo or "")
        except psycopg2.ProgrammingError:
            return ""
        return str(parts.get("application_name") or parts.get("fallback_application_name") or "walreceiver")


class Replica:
    """A session on one standby, opened anew where it was lost. All errors are of `downtime.errors`."""

    def __init__(self, target: Target, reactor: Any) -> None:
        self.target = target
        self.label = target.label
        self.ended: dict[int, Session] = {}  # whom we have ended here, by pid
        self._reactor = reactor
        self._node: Node | None = None
        self._rules = Rules()

    async def observe(self, rules: Rules) -> Observation:
        """Open the session and look. `rules` are those of the primary: the pids in it are not this server's."""
        self._rules = replace(rules, ours=frozenset())
        node = await self.session()
        (row,) = (await node.execute(SELECT_OBSERVATION)).rows
        return Observation(lineage=await lineage_of(node), **row)

    async def lineage(self) -> Lineage:
        """Asked over the session that is open already. Raises NodeError where it was lost."""
        if self._node is None:
            raise errors.ConnectionLost(node=self.label, reason="there is no session")
        return await lineage_of(self._node)

    async def session(self) -> Node:
        """The one that is open, or a new one."""
        if self._node is None or self._node.closed:
            self._node = await connect(self.target, application_name="fastdowntime standby", reactor=self._reactor)
        return self._node

    def close(self) -> None:
        if self._node is not None:
            self._node.close()

    # -- who is connected there ---------------------------------------------------------------------------------------

    async def check(self) -> sessions.Verdict:
        """Who is connected and what may be done to them."""
        return sessions.judge(await sessions.list_all(await self.session(), self._rules), self._rules)

    async def kick(self, *, kick_all: bool, deadline: float, gate_at: str | None,
                   before_each: Callable[[], None]) -> None:
        """Until nobody is left who must go, and the closing of the gate, at `gate_at` in the WAL, has arrived here.

        Raises as `Kick` does, naming this standby; GateNotReplayed; or FailedOver.
        """
        node = await self.session()
        kick = Kick(node, self._rules, self._reactor, before_each=before_each)
        kick.kicked = self.ended
        sweep = kick.everybody if kick_all else kick.those_in_a_transaction
        pause, longest = LOOK_SECONDS
        try:
            while True:
                closed = await self._lets_nobody_in(node, gate_at)
                await sweep(deadline=deadline)  # ends those who keep the gate from closing, too
                if closed:
                    return
                if monotonic() > deadline:
                    raise GateNotReplayed(node=self.label, listing=await self.in_the_way())
                await deferLater(self._reactor, pause, lambda: None)
                pause = min(pause * 2, longest)
        except (sessions.FragileUsersActive, sessions.UnkickableSessions, SessionsSurvive) as error:
            listing = f"on the standby {self.label}: {error.facts['listing']}"
            raise type(error)(left=error.left, **{**error.facts, "listing": listing}) from error

    async def _lets_nobody_in(self, node: Node, gate_at: str | None) -> bool:
        """Whether the gate that was closed there has arrived. Raises FailedOver: on a primary it never will."""
        if gate_at is None or await replay.has_come_to(node, gate_at):
            return True
        if not (await lineage_of(node)).in_recovery:
            raise FailedOver(listing=f"{self.label} was promoted")
        return False

    # -- replay -------------------------------------------------------------------------------------------------------

    async def pause_replay(self) -> None:
        """Returns when no record is replayed any more. Raises ReplayNotPaused or NodeError."""
        await replay.pause(await self.session(), self._rules)

    async def lets_fragile_users_end(self, *, deadline: float) -> None:
        """Wait for their transactions, as long as replay is paused and the standby is open to everybody; until the
        deadline, of the monotonic clock. What cannot be asked is not waited for."""
        try:
            while (await self.check()).fragile and monotonic() < deadline:
                await deferLater(self._reactor, LOOK_SECONDS[1], lambda: None)
        except errors.NodeError:
            return  # replay has to be resumed all the same

    async def resume_replay(self, *, deadline: float) -> None:
        """Nothing happens where it is not paused, or where this is a primary by now. Tried again until the deadline,
        of the monotonic clock, also over a new session; then raises NodeError."""
        while True:
            try:
                await replay.resume(await self.session())
                return
            except errors.NodeError:
                if monotonic() > deadline:
                    raise
            await deferLater(self._reactor, LOOK_SECONDS[1], lambda: None)

    async def replays(self, lsn: str, *, deadline: float, clearing: bool) -> bool:
        """Whether everything up to `lsn` is there by the deadline, of the monotonic clock; False at once on a server
        that was promoted before it came there.

        With `clearing`, sessions that stall it are ended, but those of fragile users: they are waited for. A lost
        session is opened anew; what does not work at the deadline raises NodeError.
        """
        pause, longest = LOOK_SECONDS
        while True:
            try:
                node = await self.session()
                if await replay.has_come_to(node, lsn):
                    return True
                if not (await lineage_of(node)).in_recovery:
                    return False
                if clearing and pause > CLEAR_AFTER_SECONDS:
                    self.ended.update({each.pid: each for each in await replay.clear_the_way(node, self._rules)})
            except errors.NodeError:
                if monotonic() > deadline:
                    raise
            if monotonic() > deadline:
                return False
            await deferLater(self._reactor, pause, lambda: None)
            pause = min(pause * 2, longest)

    async def in_the_way(self) -> str:
        """Whoever stalls replay at the moment, in one sentence."""
        return await replay.in_the_way(await self.session(), self._rules)

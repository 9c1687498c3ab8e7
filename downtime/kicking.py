"""Ends sessions until none is left that must go, and never one of a fragile user in the middle of a transaction.

The check is made twice. `sessions.judge` looks before anybody is kicked and costs nothing if it says no. `Kick` looks
again in the very statement that ends the sessions, over one snapshot, and ends none if a fragile user has begun a
transaction in between. One that begins between the snapshot and the signal is kept from writing by locks on the
tables it may write: `downtime.fragile_tables`. Therefore fragile users go last, when the others are gone.

A client that was half way in when the gate closed is in no list of sessions yet. It has passed the gate when it holds
a lock on its database, as every session does to the end of its start-up; the sweep goes on until there is no such
lock, and by then the client is in the list, to be judged like everybody else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from twisted.internet.task import deferLater

from downtime import errors
from downtime.node import Node
from downtime.sessions import (
    SELECT_SESSIONS,
    FragileUsersActive,
    Rules,
    Session,
    UnkickableSessions,
    judge,
    listing,
    users,
)

KICK_SECONDS = 10.0  # 1,000 sessions die in about 1 s; what still stands after this will not die by itself
SWEEP_SECONDS = (0.001, 0.005)  # first and longest pause between two looks; looking costs CPU the dying need

# Ends the sessions that may be ended, unless a fragile one is in a transaction or (when all must go) one may not be
# ended; returns those seen of which all or only those in a transaction must go (hundreds that may stay idle would cost
# our processor), as they were before, and who is arriving. Whom it has signalled before it leaves to die. Once it has
# signalled anybody, those whose turn has not come stand in nobody's way: they are checked when it comes. Takes no lock;
# works while gate "hold" is closed, whose waiting clients are outside.
#
# The locks of those who arrive must be read before the sessions: who has ended its start-up in between is then in the
# list. A condition without columns is decided before the scan behind it begins, hence `count(*) >= 0`. Sessions are
# read once (MATERIALIZED), so that check and kick see the same snapshot. The function behind pg_stat_activity is
# called for the rest because planning another view costs more than the whole look.
KICK_SESSIONS = f"""
WITH starting AS MATERIALIZED (
         SELECT pid FROM pg_catalog.pg_locks GROUP BY pid
         HAVING bool_or(locktype = 'object' AND classid = 'pg_catalog.pg_database'::regclass
                        AND mode = 'RowExclusiveLock' AND granted AND objid = (
                            SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
            AND NOT bool_or(coalesce(relation = 'pg_catalog.pg_db_role_setting'::regclass AND NOT granted, false))),
     seen AS MATERIALIZED ({SELECT_SESSIONS} AND (SELECT count(*) FROM starting) >= 0),
     arriving AS MATERIALIZED (
         SELECT coalesce(array_agg(pid), '{{}}') AS pids FROM starting
          WHERE pid NOT IN (SELECT pid FROM pg_catalog.pg_stat_get_activity(NULL) WHERE datid IS NOT NULL)),
     sorted AS MATERIALIZED (
         SELECT *, hidden OR state IS DISTINCT FROM 'idle' OR transaction_seconds IS NOT NULL AS in_transaction
           FROM seen),
     obstacles AS MATERIALIZED (
         SELECT count(*) AS sessions FROM sorted
          WHERE in_transaction AND (hidden OR "user" = ANY (%(fragile)s))
                AND ("user" <> ALL (%(not_yet)s) OR %(signalled)s = '{{}}')
             OR NOT %(only_in_transaction)s AND "user" = ANY (%(superusers)s))
SELECT sorted.pid, "user", application, client, state, last_query, transaction_seconds, hidden,
       CASE WHEN obstacles.sessions = 0 AND "user" <> ALL (%(superusers)s) AND "user" <> ALL (%(not_yet)s)
                 AND sorted.pid <> ALL (%(signalled)s) AND (in_transaction OR NOT %(only_in_transaction)s)
            THEN pg_catalog.pg_terminate_backend(sorted.pid) END AS kicked,
       arriving.pids AS arriving
  FROM obstacles CROSS JOIN arriving
  LEFT JOIN sorted ON NOT %(only_in_transaction)s OR in_transaction OR sorted.pid = ANY (%(signalled)s)
"""

# Ends idle sessions one by one; one that has begun a transaction since it was listed is left alone.
KICK_IF_IDLE = """
SELECT pid, pg_catalog.pg_terminate_backend(pid) AS kicked
  FROM pg_catalog.pg_stat_activity
 WHERE pid = ANY (%s) AND state = 'idle'
"""


class SessionsSurvive(errors.DowntimeError):
    """Kicked sessions were still there at the deadline, or a client that is connecting has not come to an end."""

    happened = "still connected {seconds:g} s after they were kicked: {listing}"
    left = errors.Left.REOPENED
    next_step = "find out what holds them (pg_stat_activity.wait_event), then run the deployment again"


@dataclass(frozen=True, slots=True)
class Arriving:
    """A backend that has passed the gate and is not yet a session: its user is not known."""

    pid: int

    def __str__(self) -> str:
        return f"pid {self.pid} (still connecting)"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    sessions: tuple[Session, ...]
    arriving: tuple[Arriving, ...]


class Kick:
    """One round of kicking over one session: signal, then look until nobody is left. Keeps what it has seen.

    `kicked` grows as sessions are signalled and is what the kick report is made of, also when the round fails.
    """

    def __init__(self, node: Node, rules: Rules, reactor: Any, *, before_each: Callable[[], None]) -> None:
        """`before_each` is called before every look and may raise to end the round."""
        self.kicked: dict[int, Session] = {}
        self._before_each = before_each
        self._node = node
        self._rules = rules
        self._reactor = reactor

    async def all_but_fragile(self, *, deadline: float) -> tuple[Session, ...]:
        """Policy `all`, before fragile users: until only theirs are left, which are returned, and nobody arrives.

        `deadline` is of the monotonic clock, in seconds. Raises FragileUsersActive (nobody was kicked in that look),
        UnkickableSessions or SessionsSurvive.
        """
        seen = await self._sweep(self._others_left, deadline=deadline, not_yet=self._rules.fragile)
        return seen.sessions

    async def everybody(self, *, deadline: float) -> None:
        """Policy `all`: until no client session is left. Deadline and errors as above."""
        await self._sweep(self._anybody_left, deadline=deadline)

    async def those_in_a_transaction(self, *, deadline: float) -> None:
        """Policy `transactions`: until nobody who was in a transaction is left."""
        await self._sweep(self._signalled_left, deadline=deadline, only_in_transaction=True)

    async def idle_ones(self, sessions: Sequence[Session], *, pace: tuple[int, float]) -> None:
        """Drain gently after the outage: `pace` is how many at a time and the pause after them in seconds."""
        count, pause = pace
        for start in range(0, len(sessions), count):
            few = {session.pid: session for session in sessions[start:start + count]}
            result = await self._node.execute(KICK_IF_IDLE, (list(few),))
            self.kicked.update({row["pid"]: few[row["pid"]] for row in result.rows if row["kicked"]})
            await deferLater(self._reactor, pause, lambda: None)

    async def _sweep(self, left: Callable[[_Look], Sequence[Session | Arriving]], *, deadline: float,
                     only_in_transaction: bool = False, not_yet: Collection[str] = ()) -> _Look:
        pause, longest = SWEEP_SECONDS
        began = monotonic()
        remaining: Sequence[Session | Arriving] = ()
        while True:
            try:
                seen = await self._look(only_in_transaction=only_in_transaction, not_yet=not_yet)
            except errors.Aborted as error:
                if not remaining:
                    raise
                raise error.while_waiting_for("; ".join(map(str, remaining))) from error
            remaining = left(seen)
            if not remaining:
                return seen
            if monotonic() > deadline:
                raise SessionsSurvive(seconds=monotonic() - began, listing="; ".join(map(str, remaining)))
            await deferLater(self._reactor, pause, lambda: None)
            pause = min(pause * 2, longest)

    async def _look(self, *, only_in_transaction: bool, not_yet: Collection[str]) -> _Look:
        self._before_each()
        result = await self._node.execute(KICK_SESSIONS, {
            **self._rules.parameters, "signalled": list(self.kicked), "only_in_transaction": only_in_transaction,
            "not_yet": sorted(not_yet)})
        arriving = tuple(map(Arriving, result.rows[0]["arriving"]))
        seen = []
        for row in result.rows:
            kicked = row.pop("kicked")
            del row["arriving"]
            if row["pid"] is None:
                continue  # nobody: the row is there for who arrives
            seen.append(session := Session.seen(row))
            if kicked:
                self.kicked[session.pid] = session
        if fragile := self._to_abort_for(seen, not_yet):
            raise FragileUsersActive(listing=listing(fragile), users=users(fragile))
        return _Look(sessions=tuple(seen), arriving=arriving)

    def _to_abort_for(self, seen: Sequence[Session], not_yet: Collection[str]) -> list[Session]:
        """Fragile sessions in a transaction, but those that were signalled while they were idle and show one as they
        die, and, once anybody was signalled, those whose turn has not come."""
        return [each for each in judge(seen, self._rules).fragile
                if each.pid not in self.kicked and not (self.kicked and each.user in not_yet)]

    def _others_left(self, seen: _Look) -> Sequence[Session | Arriving]:
        return [each for each in self._anybody_left(seen)
                if isinstance(each, Arriving) or each.user not in self._rules.fragile]

    def _anybody_left(self, seen: _Look) -> Sequence[Session | Arriving]:
        if unkickable := judge(seen.sessions, self._rules).unkickable:
            raise UnkickableSessions(listing=listing(unkickable))
        return [*seen.sessions, *seen.arriving]

    def _signalled_left(self, seen: _Look) -> Sequence[Session | Arriving]:
        return [session for session in seen.sessions if session.pid in self.kicked]

"""Who is connected: list the sessions, say which must not be disturbed, kick the others until none is left, report.

A *fragile* user is white-listed: the run aborts if one of its sessions is in the middle of a transaction. A *spared*
user is never kicked and never counted. A session whose state the role may not see counts as fragile: a check that
cannot see must not pass.

The check is made twice. `judge` looks before anybody is kicked and costs nothing if it says no. `kick` looks again
in the very statement that ends the sessions, over one snapshot, and ends none if a fragile user has begun a
transaction in between: of such transactions two statements harmed 7 % and one statement 1.6 %, measured with a user
that does nothing but begin and commit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any

from twisted.internet.task import deferLater

from downtime import errors
from downtime.node import Node

QUERY_CHARACTERS = 200          # of a session's last query: enough to recognise it, too little to fill a log
SWEEP_SECONDS = (0.001, 0.005)  # first and longest pause between two looks; looking costs CPU the dying need

# Client sessions of this database but ours. Takes no lock; works while gate "hold" is closed.
# pg_stat_activity is read once (MATERIALIZED) so that check and kick see the same snapshot.
SELECT_SESSIONS = """
SELECT pid, coalesce(usename, 'dropped role') AS "user", application_name AS application, backend_start AS connected_at,
       coalesce(host(client_addr) || ':' || client_port, 'local socket') AS client,
       state, left(query, %(query_characters)s) AS last_query,
       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS transaction_seconds,
       query = '<insufficient privilege>' OR state = 'disabled' AS hidden
  FROM pg_catalog.pg_stat_activity
 WHERE datname = current_database()
   AND coalesce(backend_type, 'client backend') = 'client backend'  -- NULL where the role may not see the session
   AND pid <> pg_backend_pid() AND pid <> ALL (%(ours)s)
   AND coalesce(usename, '') <> ALL (%(spared)s)
"""

# Ends the sessions that may be ended, unless a fragile one is in a transaction or (when all must go) one may not be
# ended; returns all that were seen, as they were before. Whom it has signalled before it leaves to die. Takes no lock.
KICK_SESSIONS = f"""
WITH seen AS MATERIALIZED ({SELECT_SESSIONS}),
     sorted AS MATERIALIZED (
         SELECT *, hidden OR state IS DISTINCT FROM 'idle' OR transaction_seconds IS NOT NULL AS in_transaction
           FROM seen),
     obstacles AS MATERIALIZED (
         SELECT count(*) AS sessions FROM sorted
          WHERE in_transaction AND (hidden OR "user" = ANY (%(fragile)s))
             OR NOT %(only_in_transaction)s AND "user" = ANY (%(superusers)s))
SELECT sorted.pid, "user", application, connected_at, client, state, last_query, transaction_seconds, hidden,
       CASE WHEN obstacles.sessions = 0 AND "user" <> ALL (%(superusers)s) AND sorted.pid <> ALL (%(signalled)s)
                 AND (in_transaction OR NOT %(only_in_transaction)s)
            THEN pg_catalog.pg_terminate_backend(sorted.pid) END AS kicked
  FROM sorted CROSS JOIN obstacles
"""

# Ends idle sessions one by one; one that has begun a transaction since it was listed is left alone.
KICK_IF_IDLE = """
SELECT pid, pg_catalog.pg_terminate_backend(pid) AS kicked
  FROM pg_catalog.pg_stat_activity
 WHERE pid = ANY (%s) AND state = 'idle'
"""


class FragileUsersActive(errors.Refused):
    """A white-listed user is in the middle of a transaction. Nobody has been kicked."""

    happened = "a fragile user is in the middle of a transaction: {listing}"
    next_step = "run the deployment again when the transaction has ended"


class UnkickableSessions(errors.Refused):
    """Sessions of superusers, which pg_signal_backend may not end, stand in the way of `kick: all`."""

    happened = "sessions of superusers cannot be kicked by this role: {listing}"
    next_step = "end them by hand, or list their users under users.spared"


class SessionsSurvive(errors.DowntimeError):
    """Kicked sessions were still there at the deadline."""

    happened = "still connected {seconds:g} s after they were kicked: {listing}"
    left = errors.Left.REOPENED
    next_step = "find out what holds them (pg_stat_activity.wait_event), then run the deployment again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One client session as pg_stat_activity shows it."""

    pid: int
    user: str
    application: str
    client: str                        # address:port, or "local socket"
    state: str | None
    transaction_seconds: float | None  # age of its transaction; None when it is in none
    last_query: str
    hidden: bool                       # the role may not see what it does, or the session does not say
    connected_at: datetime | None = None

    @property
    def in_transaction(self) -> bool:
        return self.hidden or self.state != "idle" or self.transaction_seconds is not None

    def __str__(self) -> str:
        age = f", transaction {self.transaction_seconds:.1f} s" if self.transaction_seconds is not None else ""
        user, application = quoted(self.user)[1:-1], quoted(self.application)[1:-1]
        return f"pid {self.pid} {user}@{self.client} ({application or 'no application name'}," \
               f" {self.state or 'state unknown'}{age})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Which users are fragile, which are spared, and which of our own backends do not count."""

    fragile: frozenset[str] = frozenset()
    spared: frozenset[str] = frozenset()
    superusers: frozenset[str] = frozenset()  # users this role may not kick; empty where it is a superuser itself
    ours: frozenset[int] = frozenset()

    @property
    def parameters(self) -> dict[str, Any]:
        return {"query_characters": QUERY_CHARACTERS, "ours": sorted(self.ours), "spared": sorted(self.spared),
                "fragile": sorted(self.fragile), "superusers": sorted(self.superusers)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the rules say of the sessions that were seen."""

    fragile: tuple[Session, ...]     # in the middle of a transaction: abort
    unkickable: tuple[Session, ...]  # of superusers
    to_kick: tuple[Session, ...]

    @property
    def in_transaction(self) -> tuple[Session, ...]:
        return tuple(session for session in self.to_kick if session.in_transaction)


def judge(sessions: Sequence[Session], rules: Rules) -> Verdict:
    """Sort the sessions by what may be done to them. Pure."""
    unkickable = tuple(s for s in sessions if s.user in rules.superusers)
    return Verdict(
        fragile=tuple(s for s in sessions if (s.user in rules.fragile or s.hidden) and s.in_transaction),
        unkickable=unkickable,
        to_kick=tuple(s for s in sessions if s not in unkickable))


async def list_all(node: Node, rules: Rules) -> tuple[Session, ...]:
    """Every client session of the database but ours and the spared ones."""
    result = await node.execute(SELECT_SESSIONS, rules.parameters)
    return tuple(Session(**row) for row in result.rows)


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

    async def everybody(self, *, deadline: float) -> None:
        """Policy `all`: until no client session is left, or `deadline` (monotonic clock, seconds) has passed.

        Raises FragileUsersActive (nobody was kicked in that look), UnkickableSessions or SessionsSurvive.
        """
        await self._sweep(self._everybody_left, deadline=deadline, only_in_transaction=False)

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

    async def _sweep(self, left: Callable[[Sequence[Session]], Sequence[Session]], *, deadline: float,
                     only_in_transaction: bool) -> None:
        pause, longest = SWEEP_SECONDS
        began = monotonic()
        while remaining := left(await self._look(only_in_transaction=only_in_transaction)):
            if monotonic() > deadline:
                raise SessionsSurvive(seconds=monotonic() - began, listing=listing(remaining))
            await deferLater(self._reactor, pause, lambda: None)
            pause = min(pause * 2, longest)

    async def _look(self, *, only_in_transaction: bool) -> tuple[Session, ...]:
        self._before_each()
        result = await self._node.execute(KICK_SESSIONS, {
            **self._rules.parameters, "signalled": list(self.kicked), "only_in_transaction": only_in_transaction})
        seen = []
        for row in result.rows:
            kicked = row.pop("kicked")
            seen.append(session := Session(**row))
            if kicked:
                self.kicked[session.pid] = session
        verdict = judge(seen, self._rules)
        # one that was signalled while it was still idle may show a transaction as it dies: it is not aborted for
        if fragile := [s for s in verdict.fragile if s.pid not in self.kicked]:
            raise FragileUsersActive(listing=listing(fragile))
        return tuple(seen)

    def _everybody_left(self, seen: Sequence[Session]) -> Sequence[Session]:
        if unkickable := judge(seen, self._rules).unkickable:
            raise UnkickableSessions(listing=listing(unkickable))
        return seen

    def _signalled_left(self, seen: Sequence[Session]) -> Sequence[Session]:
        return [session for session in seen if session.pid in self.kicked]


def listing(sessions: Collection[Session]) -> str:
    """The sessions in one sentence."""
    return "; ".join(str(session) for session in sessions)


def report(kicked: Collection[Session]) -> str:
    """The kick report: every kicked session on two lines, for a log. What clients wrote is quoted, never raw."""
    if not kicked:
        return "nobody was connected"
    lines = []
    for session in sorted(kicked, key=lambda s: (s.user, s.pid)):
        transaction = ("not in a transaction" if session.transaction_seconds is None
                       else f"IN A TRANSACTION for {session.transaction_seconds:.3f} s")
        lines.append(f"pid {session.pid}  user {quoted(session.user)}  application {quoted(session.application)}"
                     f"  client {session.client}  {session.state or 'state unknown'}  {transaction}")
        lines.append(f"    last query: {quoted(session.last_query)}")
    return "\n".join(lines)


def quoted(text: str) -> str:
    """Text of unknown origin as one printable line: control characters and escapes appear as backslash codes."""
    return '"' + text.encode("unicode_escape").decode("ascii").replace('"', '\\"') + '"'

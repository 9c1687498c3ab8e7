"""Who is connected: list the sessions, say which must not be disturbed, and report those that were kicked.

A *fragile* user is white-listed: the run aborts if one of its sessions is in the middle of a transaction. A *spared*
user is never kicked and never counted. A session whose state the role may not see counts as fragile: a check that
cannot see must not pass. Ending sessions is in `downtime.kicking`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from downtime import errors
from downtime.literals import without_literals
from downtime.node import Node
from downtime.printable import escaped, quoted

QUERY_CHARACTERS = 200  # of a session's last query: enough to recognise it, too little to fill a log

# Client sessions of this database but ours. Takes no lock; works while gate "hold" is closed.
SELECT_SESSIONS = """
SELECT pid, coalesce(usename, 'dropped role') AS "user", application_name AS application,
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


class FragileUsersActive(errors.Refused):
    """A white-listed user is in the middle of a transaction: its sessions go on. Nothing was applied."""

    happened = "a fragile user is in the middle of a transaction: {listing}"
    next_step = "run the deployment again when the transaction has ended"


class UnkickableSessions(errors.Refused):
    """Sessions of superusers, which pg_signal_backend may not end, stand in the way of `kick: all`."""

    happened = "sessions of superusers cannot be kicked by this role: {listing}"
    next_step = "end them by hand, or list their users under users.spared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One client session as pg_stat_activity shows it."""

    pid: int
    user: str
    application: str
    client: str                        # address:port, or "local socket"
    state: str | None
    transaction_seconds: float | None  # age of its transaction; None when it is in none
    last_query: str                    # without the contents of its literals, which may be passwords
    hidden: bool                       # the role may not see what it does, or the session does not say
    standby: str = ""                  # the label of the hot standby it was on; empty: the primary

    @classmethod
    def seen(cls, row: Mapping[str, Any]) -> Session:
        """From a row of SELECT_SESSIONS."""
        return cls(**{**row, "last_query": without_literals(row["last_query"])})

    @property
    def in_transaction(self) -> bool:
        return self.hidden or self.state != "idle" or self.transaction_seconds is not None

    def __str__(self) -> str:
        age = f", transaction {self.transaction_seconds:.1f} s" if self.transaction_seconds is not None else ""
        user, application = escaped(self.user), escaped(self.application)
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
    return tuple(Session.seen(row) for row in result.rows)


def listing(sessions: Collection[Session]) -> str:
    """The sessions in one sentence."""
    return "; ".join(str(session) for session in sessions)


def users(sessions: Collection[Session]) -> tuple[str, ...]:
    """Whose they are, each name once."""
    return tuple(sorted({session.user for session in sessions}))


def report(kicked: Collection[Session]) -> str:
    """The kick report: every kicked session on two lines, for a log. What clients wrote is quoted, never raw."""
    if not kicked:
        return "nobody was connected"
    lines = []
    for session in sorted(kicked, key=lambda s: (s.user, s.pid)):
        transaction = ("not in a transaction" if session.transaction_seconds is None
                       else f"IN A TRANSACTION for {session.transaction_seconds:.3f} s")
        where = f"  on the standby {session.standby}" if session.standby else ""
        lines.append(f"pid {session.pid}  user {quoted(session.user)}  application {quoted(session.application)}"
                     f"  client {session.client}  {session.state or 'state unknown'}  {transaction}{where}")
        lines.append(f"    last query: {quoted(session.last_query)}")
    return "\n".join(lines)

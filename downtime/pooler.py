"""The console of one PgBouncer: who is behind it, PAUSE, RESUME. And undoing a pause from anywhere, at any time.

What a console is like (PgBouncer 1.18, observed):

* PAUSE takes hold at once: from then on nobody behind that name gets a server connection. It is answered when no
  server connection of any paused database is left, another deployment's among them, and never when somebody resumes
  meanwhile. So it is sent on a session of its own, nobody waits for its answer, and whether it is done is seen from
  another session: in SHOW DATABASES and SHOW POOLS.
* It outlives the session that has sent it and a RELOAD, but no restart. PAUSE of what is paused succeeds.
* With pools in session mode a client keeps its server connection; PAUSE holds back new ones only.
* `server_login_retry` (15 s) is a trap: a pool whose last login at the server was cut or refused tries none for so
  long; its clients wait, and those that ask for more while it has no server connection at all are thrown out ("server
  login has been failing"). Lowered, the setting takes effect at once. SET lasts until RELOAD, restart, or the next SET.
* PAUSE cuts logins that are under way, and goes on to cut those that begin: `min_pool_size` has one begun every 0.3 s
  in a pool that is paused. Nothing but a login that succeeds makes the pool forget it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Self

from psycopg2 import sql
from twisted.internet.task import deferLater

from downtime import errors, parameters
from downtime.node import Node, Row, Sql, open_session
from downtime.printable import quoted
from downtime.target import Target

APPLICATION_NAME = "fastdowntime"
CONSOLE_DATABASE = "pgbouncer"
COMMAND_SECONDS = 2.0       # each takes 1 ms; later the pooler does not answer any more
LOGIN_RETRY = "server_login_retry"
MINIMUM = "min_pool_size"
NO_MINIMUM = "0"
QUICK_RETRY = "0.05"        # seconds, as the console writes it; lower: a pool hammers a server that refuses it
SETTLE_SECONDS = 5.0        # for clients that wait to be served; longer: the end of the outage is told late
GRACE_SECONDS = 0.2         # for a client to come whose pool could not log in before; see `Console.settle`
LOOK_EVERY_SECONDS = 0.005
SERVER_COUNTS = ("sv_active", "sv_idle", "sv_used", "sv_tested")


class ConsoleRefused(errors.NodeError):
    """The console has answered with an error."""

    happened = "{node}: the pooler refuses {command}: {reason}"
    next_step = "see docs/pooler.md for what the user of the console may need, and the log of the pooler"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """What one pooler holds back, and everything that is needed to let it go on."""

    console: Target
    databases: tuple[str, ...]  # names in the pooler, all of which lead to one database
    ended: bool                 # a pool is in session mode: its clients keep their connections, until they are kicked
    login_retry: str            # server_login_retry as it was before, as the console writes it (seconds)
    min_pool_size: str          # the same, in connections; while the pooler is paused it is 0

    def to_json(self) -> dict[str, Any]:
        """All but the password of the console."""
        return {"console": self.console.dsn, "databases": list(self.databases), "ended": self.ended,
                "login_retry": self.login_retry, "min_pool_size": self.min_pool_size}

    @classmethod
    def from_json(cls, given: Mapping[str, Any], *, password: str | None = None) -> Self:
        """The reverse of `to_json`. Raises KeyError, TypeError or ValueError where it was something else."""
        databases = given["databases"]
        if not isinstance(databases, list) or not all(isinstance(name, str) for name in databases):
            raise ValueError("databases should be a list of names")
        return cls(console=Target(dsn=str(given["console"]), password=password), databases=tuple(databases),
                   ended=bool(given["ended"]), login_retry=str(given["login_retry"]),
                   min_pool_size=str(given["min_pool_size"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One user's connections to one database of the pooler."""

    database: str
    user: str
    mode: str         # session | transaction | statement
    waiting: int      # clients that wait for a server connection
    servers: int      # connections that have logged in at the server
    idle: int         # those of them that the next client can have
    logging_in: int   # connections on their way there

    @property
    def keeps_connections(self) -> bool:
        """Whether a client has its server connection for as long as it likes."""
        return self.mode == "session"

    @property
    def empty(self) -> bool:
        return not self.servers and not self.logging_in

    def may_log_in(self, size: int) -> bool:
        """Whether a connection is on its way to the server, or may soon be begun because the pool is short of them.

        `size`: so many servers it may have. A pool that has none and is asked by nobody may stay so for days.
        """
        short = self.waiting > 0 or 2 * self.idle < self.servers
        return self.logging_in > 0 or (short and self.servers < size)


class Console:
    """One session on a console. Make it with `Console.open`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._reactor = node.reactor
        self.label = node.label

    @classmethod
    async def open(cls, target: Target, reactor: Any) -> Self:
        """Raises CannotConnect or DeadlineExceeded."""
        target = target.with_database(CONSOLE_DATABASE)
        keywords = await parameters.of_console(target, application_name=APPLICATION_NAME, reactor=reactor,
                                               resolve_seconds=COMMAND_SECONDS)
        return cls(await open_session(keywords, target, connect_seconds=COMMAND_SECONDS, reactor=reactor,
                                      deadline_seconds=COMMAND_SECONDS))

    @property
    def closed(self) -> bool:
        return self._node.closed

    def close(self) -> None:
        self._node.close()

    async def command(self, command: Sql, *, deadline_seconds: float | None = None) -> list[Row]:
        """One command and its rows. Raises ConsoleRefused, ConnectionLost or DeadlineExceeded."""
        try:
            return (await self._node.execute(command, deadline_seconds=deadline_seconds)).rows
        except errors.NodeError as error:
            if self._node.closed:
                raise
            # its errors have the SQLSTATE of a lost connection (08P01)
            raise ConsoleRefused(node=self.label, command=_name_of(command), reason=error.facts["reason"]) from error

    async def pause(self, database: str, *, deadline_seconds: float) -> None:
        """Returns when the pooler says so, if ever; see above."""
        await self.command(sql.SQL("PAUSE {}").format(sql.Identifier(database)), deadline_seconds=deadline_seconds)

    async def resume(self, databases: Sequence[str]) -> tuple[str, ...]:
        """Let these go on; returns those that were paused. Raises ConsoleRefused where one stays paused."""
        resumed, _ = await self._resume_each(databases)
        if late := await self.paused(databases):  # by a PAUSE that was on its way when ours had passed it
            again, refused = await self._resume_each(late)
            resumed += again
            if refused is not None and await self.paused(late):
                raise refused
        return tuple(dict.fromkeys(resumed))

    async def _resume_each(self, databases: Sequence[str]) -> tuple[list[str], ConsoleRefused | None]:
        resumed, refused = [], None
        for database in databases:
            try:
                await self.command(sql.SQL("RESUME {}").format(sql.Identifier(database)))
                resumed.append(database)
            except ConsoleRefused as error:  # most often: it is not paused, or the pooler knows it no longer
                refused = error
        return resumed, refused

    async def databases(self) -> list[Row]:
        return await self.command("SHOW DATABASES")

    async def paused(self, databases: Sequence[str]) -> tuple[str, ...]:
        """Those of them that are paused."""
        return tuple(row["name"] for row in await self.databases() if row["name"] in databases and row["paused"])

    async def pools(self, databases: Sequence[str]) -> list[Pool]:
        """The pools of these databases."""
        return [Pool(database=row["database"], user=row["user"], mode=row["pool_mode"], waiting=row["cl_waiting"],
                     servers=sum(row[count] for count in SERVER_COUNTS), idle=row["sv_idle"] + row["sv_used"],
                     logging_in=row["sv_login"])
                for row in await self.command("SHOW POOLS") if row["database"] in databases]

    async def clients(self, databases: Sequence[str]) -> list[Row]:
        """Who is connected to these; `link` is empty for those that are in no transaction."""
        return [row for row in await self.command("SHOW CLIENTS") if row["database"] in databases]

    async def make_known(self, database: str) -> None:
        """Have the pooler list a name that its entry `*` stands for; one it does not know stays unknown."""
        try:
            await self.command(sql.SQL("WAIT_CLOSE {}").format(sql.Identifier(database)))
        except ConsoleRefused:
            return  # no such database

    async def settings(self) -> dict[str, str]:
        """The pooler's own settings as the console writes them."""
        return {row["key"]: row["value"] for row in await self.command("SHOW CONFIG")}

    async def set(self, name: str, value: str) -> None:
        """Until RELOAD, restart, or the next SET. Only for an administrator of the console."""
        await self.command(sql.SQL("SET {} = {}").format(sql.SQL(name), sql.Literal(value)))

    async def settle(self, pause: Pause, *, retry_seconds: float = GRACE_SECONDS) -> bool:
        """See that clients which have waited get server connections; False where some still wait after SETTLE_SECONDS.

        `server_login_retry` is lowered meanwhile, and for `retry_seconds` at the most where a pool has no server
        connection and nobody waits: its last login may have failed, and the next client would pay for it.
        """
        before, began = None, monotonic()
        try:
            while True:
                pools, passed = await self.pools(pause.databases), monotonic() - began
                waiting = any(pool.waiting and not pool.servers for pool in pools)
                suspect = passed < retry_seconds and any(not pool.servers for pool in pools)
                if not suspect and (not waiting or passed > SETTLE_SECONDS):
                    return not waiting
                if before is None:
                    before = (await self.settings())[LOGIN_RETRY]
                    await self.set(LOGIN_RETRY, QUICK_RETRY)
                await deferLater(self._reactor, LOOK_EVERY_SECONDS, lambda: None)
        finally:
            if not self.closed:
                await self._give_back(LOGIN_RETRY, QUICK_RETRY,
                                      pause.login_retry if before in (None, QUICK_RETRY) else before)
                await self._give_back(MINIMUM, NO_MINIMUM, pause.min_pool_size)

    async def _give_back(self, name: str, lowered: str, before: str) -> None:
        """Also what a run has lowered that died before it could give it back."""
        if (await self.settings())[name] == lowered != before:
            await self.set(name, before)


async def undo(pause: Pause, *, reactor: Any) -> tuple[str, ...]:
    """RESUME whatever of it is paused, on a session of its own; lines for a log. Raises NodeError.

    Safe to call again, and where the pooler has been restarted: then nothing is paused.
    """
    console = await Console.open(pause.console, reactor)
    try:
        resumed = await console.resume(pause.databases)
        served = await console.settle(pause)
    finally:
        console.close()
    return (*told(pause.console.label, resumed), *(() if served else (unserved(pause.console.label),)))


def told(label: str, resumed: Sequence[str]) -> tuple[str, ...]:
    """What was resumed, for a log; no line where nothing was."""
    return (f"pooler {label}: {', '.join(map(quoted, resumed))} resumed",) if resumed else ()


def unserved(label: str) -> str:
    """What `settle` has found in vain."""
    return (f"warning: pooler {label}: clients still wait for a server connection: see its log, its logins at the"
            " server may fail")


def _name_of(command: Sql) -> str:
    """The command's first word."""
    text = command if isinstance(command, str) else command.seq[0].string
    return text.split(" ")[0]

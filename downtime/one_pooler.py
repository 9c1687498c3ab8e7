"""One PgBouncer before a database: what of it leads there, holding its clients back, letting them go on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from time import monotonic
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from downtime import errors, pooler_names
from downtime.pooler import (
    COMMAND_SECONDS,
    CONSOLE_DATABASE,
    GRACE_SECONDS,
    LOGIN_RETRY,
    LOOK_EVERY_SECONDS,
    MINIMUM,
    NO_MINIMUM,
    QUICK_RETRY,
    SETTLE_SECONDS,
    Console,
    Pause,
    told,
    unserved,
)
from downtime.printable import escaped, quoted
from downtime.settings.cluster import Pooler
from downtime.target import Target

UNTOUCHED = "query_wait_timeout"  # a setting that no deployment changes: several may be behind one pooler
RESUME_EVERY_SECONDS = 0.1
CALM_LOOKS = 3       # in a row without a login: a pool that grows begins the next when the last is done
LOGIN_SECONDS = 1.0  # a login takes 10 ms; a pool that is short of connections for longer is paused all the same
LONGEST_RETRY_SECONDS = 15.0  # how long a restarted pooler is looked after at the most
SETTLE_ATTEMPTS = 2  # the second on a new session, where the first was lost
SHOWN_CLIENTS = 5


class CannotPause(errors.Refused):
    """A pooler could not be paused; every pooler goes on, and its clients have waited for a while."""

    happened = "pooler {pooler} could not be paused: {reason}"
    next_step = "run the deployment again when that has ended; pause_seconds says how long it is waited for"
    left = errors.Left.REOPENED


class OnePooler:
    """Its settings, its sessions, and what is paused there. `prepare`, `hold_back`, `resume`; `close` in any case."""

    def __init__(self, settings: Pooler, database: Target, reactor: Any) -> None:
        self._settings = settings
        self._database = database
        self._reactor = reactor
        self._console: Console | None = None    # looks, and resumes
        self._pausing: dict[str, Console] = {}  # by name: a PAUSE may never be answered
        self._held_back = False
        self._waiting = 0  # clients, when we looked last
        self._sizes: dict[str, int] = {}  # by name: connections to the server that each of its pools may have
        self.pause = Pause(console=settings.target.with_database(CONSOLE_DATABASE), databases=(), ended=False,
                           login_retry="", min_pool_size="")

    async def prepare(self) -> pooler_names.Verdict:
        """What will be paused, and what speaks against it. Raises NodeError."""
        console = await self._at_hand()
        settings = await self._untouched(console)
        # changes nothing; whoever may not do this may not PAUSE either
        await console.set(UNTOUCHED, settings[UNTOUCHED])
        seen = await self._look(console, settings)
        verdict = pooler_names.judge(seen, self._database, wanted=self._settings.databases,
                                     session_pools=self._settings.session_pools)
        self.pause = Pause(console=self.pause.console, databases=verdict.names, ended=verdict.ended,
                           login_retry=settings[LOGIN_RETRY], min_pool_size=settings[MINIMUM])
        self._sizes = {row["name"]: row["pool_size"] for row in seen.databases}
        if not verdict.reasons:
            for name in verdict.names:
                self._pausing[name] = await Console.open(self.pause.console, self._reactor)
        return replace(verdict, remarks=(*verdict.remarks, *self._of_their_own(seen, settings[MINIMUM])))

    async def hold_back(self, go_on: Callable[[], None]) -> str:
        """Returns when nobody behind the names has a server connection. Raises CannotPause or NodeError."""
        began = monotonic()
        if self.pause.min_pool_size != NO_MINIMUM:
            await (await self._at_hand()).set(MINIMUM, NO_MINIMUM)
        await self._until_nobody_logs_in(go_on)
        refused: list[Failure] = []  # answers of the console; or of sessions that we have ended
        for name, console in self._pausing.items():
            Deferred.fromCoroutine(console.pause(name, deadline_seconds=self._seconds + COMMAND_SECONDS)
                                   ).addErrback(refused.append)
        try:
            while not await self._is_quiet():
                go_on()
                if refused:
                    raise CannotPause(pooler=self.label, reason=str(refused[0].value))
                if monotonic() - began > self._seconds:
                    raise CannotPause(pooler=self.label, reason=await self._who_is_in_the_way())
                await deferLater(self._reactor, LOOK_EVERY_SECONDS, lambda: None)
        finally:
            self._end_pausing()
        self._held_back = True
        return f"pooler {self.label}: paused in {monotonic() - began:.3f} s, {self._waiting} clients wait"

    async def resume(self, *, within_seconds: float) -> tuple[str, ...]:
        """Try until it has gone on. Raises NodeError when the time has passed."""
        deadline = monotonic() + within_seconds
        while True:
            try:
                console = await self._at_hand()
                resumed = await console.resume(self.pause.databases)
                break
            except errors.NodeError:
                self.close()
                if monotonic() > deadline:
                    raise
            await deferLater(self._reactor, RESUME_EVERY_SECONDS, lambda: None)
        restarted = self._held_back and len(resumed) < len(self.pause.databases)
        self._held_back = False
        lines = [f"pooler {self.label}: was restarted or resumed by somebody else meanwhile"] if restarted else []
        return (*lines, *told(self.label, resumed), *await self._settle(restarted=restarted))

    def close(self) -> None:
        """End all sessions; what is paused stays paused."""
        self._end_pausing()
        if self._console is not None:
            self._console.close()

    @property
    def label(self) -> str:
        return self.pause.console.label

    @property
    def by_hand(self) -> str:
        """What an operator types to let it go on."""
        commands = " ".join(f'RESUME "{escaped(name)}";' for name in self.pause.databases)
        return f"{self.label}: {commands}"

    @property
    def _seconds(self) -> float:
        return self._settings.pause_seconds

    async def _at_hand(self) -> Console:
        """The session that looks and resumes, or a new one."""
        if self._console is None or self._console.closed:
            self._console = await Console.open(self.pause.console, self._reactor)
        return self._console

    def _end_pausing(self) -> None:
        for console in self._pausing.values():
            console.close()
        self._pausing = {}

    async def _untouched(self, console: Console) -> dict[str, str]:
        """The pooler's settings; where another deployment behind it has lowered one, it is let give it back."""
        deadline = monotonic() + SETTLE_SECONDS
        while (settings := await console.settings())[LOGIN_RETRY] == QUICK_RETRY and monotonic() < deadline:
            await deferLater(self._reactor, LOOK_EVERY_SECONDS, lambda: None)
        return settings

    async def _look(self, console: Console, settings: Mapping[str, str]) -> pooler_names.Seen:
        """What the console shows of its databases; those that exist only while they are used are made to exist."""
        rows = await console.databases()
        wanted = self._settings.databases or (self._database.database,)
        if missing := [name for name in wanted if name not in {row["name"] for row in rows}]:
            for name in missing:
                await console.make_known(name)
            rows = await console.databases()
        modes = defaultdict(set)
        for pool in await console.pools([row["name"] for row in rows]):
            modes[pool.database].add(pool.mode)
        return pooler_names.Seen(
            console=self.pause.console, default_mode=settings["pool_mode"],
            shares_its_port=settings.get("so_reuseport") == "1",
            databases=[row for row in rows if row["name"] != CONSOLE_DATABASE],
            pool_modes={name: frozenset(found) for name, found in modes.items()})

    def _of_their_own(self, seen: pooler_names.Seen, minimum: str) -> Iterator[str]:
        """Names whose pools begin logins while they are paused, whatever the pooler is told meanwhile."""
        for row in seen.databases:
            if row["name"] in self.pause.databases and str(row.get(MINIMUM, minimum)) not in (minimum, NO_MINIMUM):
                yield (f"warning: pooler {self.label}: {quoted(row['name'])} has a {MINIMUM} of its own, which cannot"
                       " be set to 0 meanwhile: clients that ask just when it goes on may be thrown out")

    async def _until_nobody_logs_in(self, go_on: Callable[[], None]) -> None:
        """PAUSE cuts logins at the server that are under way, and a pool whose login was cut throws clients out later.

        So a moment is waited for without one, and in which none is about to begin; the clients work on meanwhile.
        """
        deadline, calm = monotonic() + min(LOGIN_SECONDS, self._seconds), 0
        while calm < CALM_LOOKS and monotonic() < deadline:
            go_on()
            if calm:
                await deferLater(self._reactor, LOOK_EVERY_SECONDS, lambda: None)
            pools = await (await self._at_hand()).pools(self.pause.databases)
            calm = 0 if any(pool.may_log_in(self._sizes.get(pool.database, 0)) for pool in pools) else calm + 1

    async def _is_quiet(self) -> bool:
        """Whether all names are paused and nobody has a server connection but who may keep it."""
        console, names = await self._at_hand(), self.pause.databases
        if set(await console.paused(names)) != set(names):
            return False
        pools = await console.pools(names)
        self._waiting = sum(pool.waiting for pool in pools)
        return all(pool.empty or (self.pause.ended and pool.keeps_connections) for pool in pools)

    async def _who_is_in_the_way(self) -> str:
        """Clients that are in the middle of a transaction."""
        clients = [row for row in await (await self._at_hand()).clients(self.pause.databases) if row["link"]]
        shown = [f"{escaped(row['user'])} from {row['addr']}:{row['port']}"
                 + (f" (application {quoted(row['application_name'])})" if row.get("application_name") else "")
                 for row in clients[:SHOWN_CLIENTS]]
        more = [f"{len(clients) - len(shown)} more"] if len(clients) > len(shown) else []
        return (f"after {self._seconds:g} s clients are in the middle of a transaction: "
                + ("; ".join([*shown, *more]) or "nobody any more"))

    async def _settle(self, *, restarted: bool) -> tuple[str, ...]:
        """See that its clients are served. They go on in any case, so what fails here is a line for the log."""
        retry_seconds = min(float(self.pause.login_retry), LONGEST_RETRY_SECONDS) if restarted else GRACE_SECONDS
        for _ in range(SETTLE_ATTEMPTS):
            try:
                served = await (await self._at_hand()).settle(self.pause, retry_seconds=retry_seconds)
            except errors.NodeError as error:
                failure = error
            else:
                return () if served else (unserved(self.label),)
        return (f"warning: after it was resumed: {failure}: see that {LOGIN_RETRY} is {self.pause.login_retry} there",)

"""What a watchdog does for a deployer that is gone or stuck: fence, open, let poolers and standbys go on.

In this order. The patching session is ended and seen to be gone, with gate "refuse" the door is opened if this
deployment's mark stands, and then whatever was paused goes on, so that its clients find the database open. A server
that cannot be reached, or a backend that does not end, delays that for a moment only: clients then meet the gate in
the database itself. Everything is tried again until it succeeds or GIVE_UP_SECONDS have passed; what is left then has
its row in `downtime.held`, for `downtime.recovery`.

What the deployer had sent before it died may be carried out after our first look (a PAUSE on its way to a pooler), so
everything is looked at again a moment later, and its row is removed only then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Any, Self

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from downtime import errors, fence, held, marker, pooler
from downtime.condition import SELECT_LEASE_HOLDER
from downtime.gate import MAINTENANCE_DATABASE
from downtime.held import Holding
from downtime.node import Node, connect
from downtime.parallel import failures, in_parallel, results
from downtime.parameters import NO_STANDBY
from downtime.pooler import Console, Pause
from downtime.replay import undo_replay
from downtime.target import Target

APPLICATION_NAME = "fastdowntime watchdog"
OPEN_FIRST_SECONDS = 1.0    # what poolers wait for the database to open; where it can be reached it takes some 10 ms
STATEMENT_SECONDS = 5.0     # each takes 1 ms; an administrator's own ALTER may delay the opening
GIVE_UP_SECONDS = 600.0     # a server or a network is back by then, or an operator has to act in any case
TRY_EVERY_SECONDS = 0.2
LOOK_AGAIN_SECONDS = (0.25, 1.0)  # after the look before; what a dead deployer had sent has arrived by then

Attempt = Callable[[], Awaitable[tuple[str, ...]]]  # lines for a log; raises what has failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One deployment, as its watchdog is told of it before anything is paused. Targets have their passwords."""

    target: Target
    patching: fence.Backend
    gate: str                     # hold | refuse
    mark: str                     # what the closing of gate "refuse" and the rows of `downtime.held` say who did it
    pauses: tuple[Pause, ...]     # of poolers, before they are made
    replays: tuple[Target, ...]   # standbys whose replay will be paused
    limit_seconds: float          # from arming; it acts then though its deployer lives, which should have acted before

    @property
    def holdings(self) -> tuple[Holding, ...]:
        """The rows to be written before anything is paused."""
        return (*(held.of_pause(pause, by=self.mark) for pause in self.pauses),
                *(held.of_replay(target, by=self.mark) for target in self.replays))

    def to_json(self) -> dict[str, Any]:
        """For the watchdog's standard input and nothing else: passwords are in it."""
        return {
            "target": _target_to_json(self.target), "gate": self.gate, "mark": self.mark,
            "patching": {"pid": self.patching.pid, "started_at": self.patching.started_at.isoformat()},
            "pauses": [{"pause": pause.to_json(), "console": _target_to_json(pause.console)} for pause in self.pauses],
            "replays": [_target_to_json(target) for target in self.replays], "limit_seconds": self.limit_seconds}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """The reverse of `to_json`."""
        patching = told["patching"]
        return cls(
            target=Target(**told["target"]), gate=told["gate"], mark=told["mark"],
            patching=fence.Backend(pid=patching["pid"], started_at=datetime.fromisoformat(patching["started_at"])),
            pauses=tuple(replace(Pause.from_json(each["pause"]), console=Target(**each["console"]))
                         for each in told["pauses"]),
            replays=tuple(Target(**each) for each in told["replays"]), limit_seconds=told["limit_seconds"])


class Rescue:
    """Has its sessions before the gate closes. Make it with `arm`; then `run` or nothing; `close` in any case."""

    def __init__(self, watched: Watched, *, say: Callable[[str], None], reactor: Any) -> None:
        self._watched = watched
        self._inside: Node | None = None   # the database itself; behind a closed gate nobody gets in any more
        self._outside: Node | None = None  # gate "refuse" only: the maintenance database, from where it is opened
        self._lease: fence.Backend | None = None  # the same: the deployer's session there, which closes the door
        self._consoles: dict[str, Console] = {}   # of the poolers, which may be full when their clients wait
        self._say = say
        self._reactor = reactor
        self._deadline = 0.0

    @classmethod
    async def arm(cls, watched: Watched, *, say: Callable[[str], None], reactor: Any) -> Self:
        """Returns when every session is open; the outage must not begin before. Raises NodeError."""
        rescue = cls(watched, say=say, reactor=reactor)
        try:
            await rescue._open_sessions()
        except BaseException:
            rescue.close()
            raise
        return rescue

    async def _open_sessions(self) -> None:
        await self._in_the_database()
        if self._watched.gate == "refuse":
            self._lease = await _lease_holder(await self._at_the_door(), self._watched.target.database)
        for failure in failures(await in_parallel(map(self._open_console, self._watched.pauses))):
            raise failure

    async def _open_console(self, pause: Pause) -> None:
        self._consoles[pause.console.label] = await Console.open(pause.console, self._reactor)

    @property
    def pids(self) -> tuple[int, ...]:
        """Of its sessions on the primary: nobody may kick them."""
        return tuple(node.pid for node in (self._inside, self._outside) if node is not None)

    def close(self) -> None:
        for session in (self._inside, self._outside, *self._consoles.values()):
            if session is not None:
                session.close()

    async def run(self) -> bool:
        """Everything above; whether nothing is left to be done."""
        self._deadline = monotonic() + GIVE_UP_SECONDS
        opening = Deferred.fromCoroutine(self._insist(self._open))
        opened_by = monotonic() + OPEN_FIRST_SECONDS
        while not opening.called and monotonic() < opened_by:
            await deferLater(self._reactor, fence.LOOK_EVERY_SECONDS, lambda: None)
        let_go = results(await in_parallel(self._let_go(holding, undo) for holding, undo in self._undoings()))
        return all([await opening, *let_go])

    def _undoings(self) -> Iterator[tuple[Holding, Attempt]]:
        watched = self._watched
        for pause in watched.pauses:
            yield held.of_pause(pause, by=watched.mark), partial(self._resume, pause)
        for target in watched.replays:
            yield held.of_replay(target, by=watched.mark), partial(undo_replay, target, reactor=self._reactor)

    # -- the database ------------------------------------------------------------------------------------------------

    async def _open(self) -> tuple[str, ...]:
        """Fence, and open what this deployment has closed."""
        database = self._watched.target.database
        node = await (self._at_the_door() if self._watched.gate == "refuse" else self._in_the_database())
        await fence.end(self._watched.patching, seen_from=node)
        if self._lease is not None:
            await fence.end(self._lease, seen_from=node)  # it cannot close the door any more
        if self._watched.gate != "refuse" or not await marker.stands(node, database, by=self._watched.mark):
            return (f"the patching session of {database} is gone",)
        async with node.transaction():
            await node.execute(marker.opening(database))
        return (f"the patching session of {database} is gone, and {database} accepts connections again",)

    async def _in_the_database(self) -> Node:
        if self._inside is None or self._inside.closed:
            self._inside = await _connect(self._watched.target, self._reactor)
        return self._inside

    async def _at_the_door(self) -> Node:
        if self._outside is None or self._outside.closed:
            self._outside = await _connect(self._watched.target.with_database(MAINTENANCE_DATABASE), self._reactor)
        return self._outside

    # -- poolers and standbys ----------------------------------------------------------------------------------------

    async def _let_go(self, holding: Holding, undo: Attempt) -> bool:
        """Undo one pause, look again, remove its row."""
        if not await self._insist(undo, holding):
            return False
        for wait_seconds in LOOK_AGAIN_SECONDS:
            await deferLater(self._reactor, wait_seconds, lambda: None)
            if await self._is_undone_by_others(holding):
                return True
            if not await self._insist(undo, holding):
                return False
        return await self._insist(partial(self._remove, holding))

    async def _resume(self, pause: Pause) -> tuple[str, ...]:
        """Over the session that is there; a pooler that was restarted meanwhile, or cut it, is connected to anew."""
        console = self._consoles.pop(pause.console.label, None)
        if console is not None and not console.closed:
            try:
                resumed = await console.resume(pause.databases)
                served = await console.settle(pause)
            except errors.NodeError:
                console.close()
            else:
                self._consoles[pause.console.label] = console
                label = pause.console.label
                return (*pooler.told(label, resumed), *(() if served else (pooler.unserved(label),)))
        return await pooler.undo(pause, reactor=self._reactor)

    async def _remove(self, holding: Holding) -> tuple[str, ...]:
        await held.remove(await self._in_the_database(), [holding])
        return ()

    async def _is_undone_by_others(self, holding: Holding) -> bool:
        """An operator, or a buildmaster that has started, has removed the row; a later deployment may hold it now."""
        try:
            rows = await held.read(await self._in_the_database())
        except errors.NodeError:
            return False
        return (holding.kind, holding.place, holding.by) not in {(each.kind, each.place, each.by) for each in rows}

    # -- trying ------------------------------------------------------------------------------------------------------

    async def _insist(self, attempt: Attempt, holding: Holding | None = None) -> bool:
        """Try until it succeeds or it is too late. Says an error once, for as long as it stays the same."""
        said = ""
        while (error := await self._once(attempt)) is not None:
            if error != said:
                said = error
                self._say(f"{error}; trying again")
            if monotonic() > self._deadline:
                self._say(f"given up after {GIVE_UP_SECONDS:g} s; next: python -m downtime reopen --environment NAME")
                return False
            await deferLater(self._reactor, TRY_EVERY_SECONDS, lambda: None)
            if holding is not None and await self._is_undone_by_others(holding):
                return True
        return True

    async def _once(self, attempt: Attempt) -> str | None:
        """What has failed; None: nothing."""
        try:
            for line in await attempt():
                self._say(line)
        except Exception as error:  # whatever it is, the rest goes on and this is tried again
            return f"{type(error).__name__}: {error}"
        return None


async def _connect(target: Target, reactor: Any) -> Node:
    return await connect(target, application_name=APPLICATION_NAME, statement_timeout_seconds=STATEMENT_SECONDS,
                         settings=NO_STANDBY, reactor=reactor)


async def _lease_holder(node: Node, database: str) -> fence.Backend | None:
    """The backend that has closed the door or may still close it."""
    rows = (await node.execute(SELECT_LEASE_HOLDER, (database,))).rows
    return fence.Backend(pid=rows[0]["pid"], started_at=rows[0]["started_at"]) if rows else None


def _target_to_json(target: Target) -> dict[str, Any]:
    return {"dsn": target.dsn, "password": target.password}

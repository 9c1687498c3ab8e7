"""What stands around a database while it is closed: poolers before it, standbys beside it, a watchdog behind us.

`downtime.outage` calls this in the order of an outage:

    prepare ─► arm ─► pause ─► closed ─► check ─► kick ─► (patch) ─► refuse_failover ─► (COMMIT)
                                                                          resume ─► catch_up or let_replay ─► close

* Poolers are the outermost gate: paused before the database closes, resumed when it is open again, whatever came of it.
* Neither a pooler nor a standby guards itself. What will be paused there is written down in the database first
  (`downtime.held`), for `downtime.recovery`, and a watchdog process stands by that undoes it at once when we die.
* Without poolers and standbys nothing here asks anybody anything, and no process is started.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from time import monotonic
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from downtime import errors, fence, held, sessions
from downtime.catching_up import Caught, ReplayStaysPaused
from downtime.failover import NewPrimary, new_primary
from downtime.kicking import KICK_SECONDS
from downtime.node import Node, connect
from downtime.patches import Patch
from downtime.poolers import Poolers
from downtime.replicas import Replicas
from downtime.rescue import Watched
from downtime.settings.cluster import Pooler
from downtime.settings.cluster import Replicas as ReplicaSettings
from downtime.target import Target
from downtime.watching import Watchdog, WatchdogFailed

LOG = Logger()

# The watchdog's limit lies this much behind the deployer's own, which counts from some seconds later: it acts first.
WATCHDOG_MARGIN_SECONDS = 10.0


class Cluster:
    """Poolers and standbys of one database during one outage. `close()` in any case."""

    def __init__(self, target: Target, *, poolers: Sequence[Pooler], replicas: ReplicaSettings, reactor: Any) -> None:
        self._target = target
        self._reactor = reactor
        self._settings = replicas
        self._poolers = Poolers(poolers, target, reactor)
        self._replicas = Replicas(replicas, target, reactor)
        self._control: Node | None = None
        self._watchdog: Watchdog | None = None
        self._held: tuple[held.Holding, ...] = ()
        self._clients_wait = self._replay_waits = False  # paused by us, and not known to go on

    # -- before the outage -------------------------------------------------------------------------------------------

    async def prepare(self, control: Node, rules: sessions.Rules, *, kick_all: bool) -> tuple[str, ...]:
        """Open sessions everywhere and look for reasons not to begin; lines for a log. Raises Refused or NodeError."""
        self._control = control
        return (*await self._poolers.prepare(), *await self._replicas.prepare(control, rules, kick_all=kick_all))

    async def arm(self, patching: fence.Backend, *, gate: str, limit_seconds: float) -> frozenset[int]:
        """Write down what will be paused, and have a watchdog stand by; the backends of its sessions on the primary.

        Raises WatchdogFailed, LeftBehind or NodeError.
        """
        pauses, replays = self._poolers.pauses, self._replicas.replays
        if not pauses and not replays:
            return frozenset()
        catching_up = self._settings.catch_up_seconds if replays else 0.0
        watched = Watched(target=self._target, patching=patching, gate=gate, mark=patching.by, pauses=pauses,
                          replays=replays, limit_seconds=limit_seconds + catching_up + WATCHDOG_MARGIN_SECONDS)
        self._watchdog = await Watchdog.start(watched, reactor=self._reactor)
        self._held = watched.holdings  # before: a COMMIT may be carried out of which nobody hears
        async with _at_hand(self._control, self._target, self._reactor) as node:
            await held.write(node, watched.holdings)
        return self._watchdog.pids

    # -- the outage --------------------------------------------------------------------------------------------------

    async def pause(self) -> tuple[str, ...]:
        """The outermost gate. Raises what stood in the way; what was paused before that goes on with `resume`.

        Raises WatchdogFailed, with nothing paused, where the watchdog was killed or has acted: its limit has passed.
        """
        if self._watchdog is not None and self._watchdog.ended:
            raise WatchdogFailed(node=self._target.label, reason="has ended before anything was paused",
                                 left=errors.Left.REOPENED)
        self._replay_waits = bool(self._replicas.replays)
        lines = await self._replicas.pause_replay()
        self._clients_wait = bool(self._poolers.pauses)
        return (*lines, *await self._poolers.pause())

    def give_up(self) -> None:
        """Have a `pause()` that is under way fail at once."""
        self._poolers.give_up()

    async def closed(self) -> None:
        """The database is closed: so are its standbys, at once."""
        if self._settings.servers and self._control is not None:
            await self._replicas.gate_closed(self._control)

    async def check(self) -> None:
        """Raises FragileUsersActive for one on a standby."""
        await self._replicas.check()

    async def kick(self, *, kick_all: bool, before_each: Callable[[], None]) -> tuple[str, ...]:
        """End the sessions on the standbys as on the primary; lines for a log. Raises as `Replicas.kick` does."""
        if not self._settings.servers:
            return ()
        await self._replicas.kick(kick_all=kick_all, deadline=monotonic() + KICK_SECONDS, before_each=before_each)
        return (f"{len(self._replicas.kicked)} sessions kicked and gone on the standbys",)

    @property
    def kicked(self) -> tuple[sessions.Session, ...]:
        """Whom it has ended on the standbys so far; those who stalled replay after the COMMIT among them."""
        return tuple(replace(session, standby=label) for label, session in self._replicas.kicked)

    async def refuse_failover(self) -> None:
        """To be asked last, before the COMMIT. Raises FailedOver."""
        await self._replicas.refuse_failover()

    async def resume(self) -> tuple[str, ...]:
        """Clients behind the poolers go on: it is open, or nothing more can be done about it; lines for a log.

        Raises NeedsOperator where one could not be resumed, after all others were.
        """
        lines = await self._poolers.resume()
        self._clients_wait = False
        return lines

    async def new_primary(self, patch: Patch) -> NewPrimary | None:
        """Which standby has taken over from a primary that cannot be reached; None where none is known to have."""
        if not self._settings.servers:
            return None
        try:
            return await new_primary(self._settings.targets, self._replicas.lineage, patch, reactor=self._reactor)
        except errors.DowntimeError as error:
            LOG.info("no standby of {database} answers: {error}", database=self._target.label, error=error)
            return None

    # -- behind it ---------------------------------------------------------------------------------------------------

    async def let_replay(self) -> tuple[str, ...]:
        """Nothing has become of the patch: standbys replay, and open at once; lines for a log. Raises NeedsOperator."""
        lines = await self._replicas.let_replay()
        self._replay_waits = False
        return lines

    async def catch_up(self, patch: Patch) -> Caught | None:
        """Returns when every standby has the patch, or has not got it in time; None where there is none."""
        if not self._settings.servers or self._control is None:
            return None
        caught = await self._replicas.catch_up(self._control, patch)
        self._replay_waits = isinstance(caught.error, ReplayStaysPaused)
        return caught

    async def close(self) -> None:
        """Give back everything; safe at any time. Never raises: what stays paused is left to watchdog and recovery."""
        try:
            await self._put_away()
        except Exception:
            LOG.failure("putting away what stood around {database}", database=self._target.label)
        finally:
            self._poolers.close()
            await self._replicas.close()

    async def _put_away(self) -> None:
        watchdog, self._watchdog = self._watchdog, None
        if watchdog is None:
            return  # nothing was armed, or it was put away before
        try:
            if not (self._clients_wait or self._replay_waits):
                async with _at_hand(self._control, self._target, self._reactor) as node:
                    await held.remove(node, self._held)
                await watchdog.dismiss()
                return
        except errors.NodeError as error:
            LOG.warn("what was held beside {database} is still written down: {error}; its watchdog goes on",
                     database=self._target.label, error=error)
        # it acts as if we were dead, and goes on trying for longer than anybody waits for us
        Deferred.fromCoroutine(watchdog.leave()).addErrback(
            lambda failure: LOG.failure("leaving the watchdog", failure=failure))


@asynccontextmanager
async def _at_hand(control: Node | None, target: Target, reactor: Any) -> AsyncIterator[Node]:
    """The control session, or a new one for the block: the old one may have been lost with the server."""
    if control is not None and not control.closed:
        yield control
        return
    node = await connect(target, application_name="fastdowntime cluster", reactor=reactor)
    try:
        yield node
    finally:
        node.close()

"""How an outage ends: the patching session is gone or has answered, connections are allowed, the outcome is known.

Then the poolers resume, also where the database could not be opened: their clients are better told by the server.

In this order, for nobody opens while the patching session may still commit. None of it needs the sessions the outage
began with: what was lost is opened anew. A server that cannot be reached (it crashed and is starting, or the way to it
is cut) is tried again and again, so that a database that gate "refuse" closed is open within moments of its return.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, TypeVar

from twisted.internet.task import deferLater
from twisted.logger import Logger

from downtime import errors, failover, fence, ledger
from downtime.apply import Deployment
from downtime.node import connect
from downtime.ready import Ready

LOG = Logger()

REOPEN_SECONDS = 30.0     # a server is back from a crash by then, or an operator should know
TRY_EVERY_SECONDS = 0.2

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """How it ended; `problem` is what an operator has to see to, `lines` are for a log."""

    committed: bool  # the patch is in, where that was asked
    problem: errors.NeedsOperator | None
    lines: tuple[str, ...]


class Reopening:
    """The end of one outage."""

    def __init__(self, ready: Ready, deployment: Deployment, *, say: Callable[[str], None], reactor: Any) -> None:
        """`say` is told what takes time."""
        self._ready = ready
        self._deployment = deployment
        self._say = say
        self._reactor = reactor
        self._fenced = False

    async def run(self, *, ask_the_ledger: bool) -> Opened:
        """Open, and let the poolers resume. Never raises."""
        committed = False
        problem: errors.NeedsOperator | None = None
        lines: list[str] = []
        try:
            committed = await self._open(ask_the_ledger=ask_the_ledger)
            lines.append("connections are allowed")
        except failover.LivesElsewhere as error:
            committed, problem = error.has_patch, error
        except errors.NeedsOperator as error:
            problem = error
        try:
            lines += await self._ready.cluster.resume()
        except Exception as error:  # whatever it is, the outage has to be told; a watchdog goes on trying
            stuck = _not_resumed(self._ready.target.label, error)
            lines.append(stuck.explain())
            problem = problem or stuck
        return Opened(committed=committed, problem=problem, lines=tuple(lines))

    async def _open(self, *, ask_the_ledger: bool) -> bool:
        """Returns whether the patch is in, where that is asked. Raises NeedsOperator, nothing else."""
        label = self._ready.target.label
        try:
            return await patiently(lambda: self._attempt(ask_the_ledger=ask_the_ledger), label=label, say=self._say,
                                   reactor=self._reactor)
        except errors.NeedsOperator:
            raise
        except fence.SurvivingBackends as error:
            raise _still_closed(label, error) from error
        except Exception as error:
            LOG.failure("while opening {database}", database=label)
            raise unsure(label, error) from error

    async def _attempt(self, *, ask_the_ledger: bool) -> bool:
        try:
            return await self._here(ask_the_ledger=ask_the_ledger)
        except fence.SurvivingBackends:
            raise
        except errors.NodeError as error:
            if (found := await self._ready.cluster.new_primary(self._deployment.patch)) is not None:
                raise failover.LivesElsewhere(self._ready.target.label, found) from error
            raise

    async def _here(self, *, ask_the_ledger: bool) -> bool:
        if self._ready.patcher.closed and not self._fenced:
            await self._ready.fence()
            self._fenced = True
            self._say("the patching session was lost; it is ended and gone")
        await self._ready.gate.allow()
        return ask_the_ledger and await self._has_committed()

    async def _has_committed(self) -> bool:
        """The COMMIT got no answer: the ledger knows whether it was carried out."""
        asking = await connect(self._ready.target, application_name="fastdowntime ledger", reactor=self._reactor)
        try:
            patch = self._deployment.patch
            return await ledger.has(asking, patch.id, patch.sha256)
        finally:
            asking.close()


async def patiently(attempt: Callable[[], Awaitable[T]], *, label: str, say: Callable[[str], None], reactor: Any,
                    seconds: float = REOPEN_SECONDS) -> T:
    """What the attempt gives, once it succeeds. Raises NeedsOperator when `seconds` have passed, or SurvivingBackends.

    The deadline falls between two attempts: the last one is given its own time.
    """
    deadline = monotonic() + seconds
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    said = ""
    while True:
        try:
            return await attempt()
        except fence.SurvivingBackends:
            raise
        except errors.NodeError as error:
            if monotonic() > deadline:
                raise unsure(label, error) from error
            if str(error) != said:
                said = str(error)
                say(f"{label} cannot be reached: {said}; trying until {until:%H:%M:%S} UTC")
        await deferLater(reactor, TRY_EVERY_SECONDS, lambda: None)


def unsure(label: str, error: Exception) -> errors.NeedsOperator:
    """Nobody knows whether the database is open."""
    return errors.NeedsOperator(reason=f"cannot make sure that {label} is open: {error}",
                                command="start the server, or mend the way to it; a living buildmaster then opens the"
                                        " database, and without one: python -m downtime reopen --environment NAME",
                                left=errors.Left.UNKNOWN)


def _not_resumed(label: str, error: Exception) -> errors.NeedsOperator:
    if isinstance(error, errors.NeedsOperator):
        return error
    LOG.failure("while the poolers before {database} were to go on", database=label)
    return errors.NeedsOperator(reason=f"clients may wait at the poolers before {label}:"
                                       f" {type(error).__name__}: {error}",
                                command="python -m downtime status, and reopen where it says so",
                                left=errors.Left.CLOSED)


def _still_closed(label: str, error: fence.SurvivingBackends) -> errors.NeedsOperator:
    pids = error.facts["pids"]
    return errors.NeedsOperator(
        reason=f"{label} is still closed: a session of this deployment, pid {pids}, was told to end"
               f" {error.facts['seconds']:g} s ago and is still there. Nobody may open while it could still commit."
               " When that process ends it is rolled back, and the database opens by itself",
        command=f"end process {pids} on the server's machine, then python -m downtime status", left=errors.Left.CLOSED)

"""Tries a patch out on any database: one transaction, each statement measured, always rolled back.

Needs no gate, no ledger and no deployment lock; clients stay connected, and what the patch locks they wait for. It is
how a live patch is judged before anything of it stays, and how `rehearse --rollback` works on any database.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from time import monotonic
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from downtime import apply, errors, safety
from downtime.apply import AppliedStatement, Deployment
from downtime.cancelling import note
from downtime.measuring import Measuring
from downtime.node import Node, connect
from downtime.parameters import milliseconds
from downtime.ready import PATCH_LOCK_SECONDS
from downtime.statements import Statement
from downtime.target import Target

ASK_SECONDS = 0.1  # how often somebody is asked whether it should go on while a statement runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a patch has done before it was rolled back."""

    statements: tuple[AppliedStatement, ...]  # each with its footprint
    seconds: float                            # the patch's own, without measuring
    complete: bool                            # all of it ran in the one transaction


async def try_out(target: Target, deployment: Deployment, *, limit_seconds: float, go_on: Callable[[], None],
                  whole: bool, reactor: Any) -> Trial:
    """Run the patch and roll it back.

    With `whole=False` it ends without a word before the first statement that cannot run inside a transaction, and
    behind one that fails in it: live it may well work. `go_on` may raise to end it, also while a statement runs.
    `limit_seconds` are for all of it. Raises PatchFailed, PatchBlocked, what `go_on` raises, or NodeError; nothing is
    left of it in any case.
    """
    patcher = await connect(target, application_name=f"fastdowntime trial {deployment.patch.id}", reactor=reactor,
                            statement_timeout_seconds=limit_seconds,
                            settings={"lock_timeout": milliseconds(PATCH_LOCK_SECONDS)})
    try:
        observer = await connect(target, application_name="fastdowntime trial observer", reactor=reactor)
        try:
            return await _Attempt(patcher, observer, deployment, go_on, limit_seconds).run(whole=whole)
        finally:
            observer.close()
    finally:
        patcher.close()


class _Attempt:
    """One trial on open sessions."""

    def __init__(self, patcher: Node, observer: Node, deployment: Deployment, go_on: Callable[[], None],
                 limit_seconds: float) -> None:
        self._patcher = patcher
        self._observer = observer
        self._deployment = deployment
        self._may_go_on = go_on
        self._measuring = Measuring(patcher, observer)
        self._applied: list[AppliedStatement] = []
        self._limit_seconds = limit_seconds
        self._began = monotonic()
        self._stopped: errors.DowntimeError | None = None

    async def run(self, *, whole: bool) -> Trial:
        statements = self._deployment.statements
        first = statements if whole else tuple(takewhile(lambda each: each.transactional, statements))
        asking = LoopingCall(self._ask)
        asking.clock = self._patcher.reactor
        asked = asking.start(ASK_SECONDS, now=False)
        try:
            seconds = await self._run(first)
            complete = len(first) == len(statements)
        except errors.DowntimeError as error:
            if not isinstance(error, errors.NeedsOperator):
                error.left = errors.Left.UNTOUCHED
            if self._stopped is not None:
                raise self._stopped from error
            if whole or not isinstance(error, apply.PatchFailed):
                raise
            seconds, complete = self._seconds, False
        finally:
            asking.stop()
            await asked  # the last cancel request has its answer
        return Trial(statements=tuple(self._applied), seconds=seconds, complete=complete)

    async def _run(self, statements: Sequence[Statement]) -> float:
        """In a transaction that ends with the block, or with the session; returns the statements' seconds."""
        await self._patcher.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
        try:
            await self._measuring.begin()
            self._began = monotonic() - self._measuring.seconds
            await apply.run_all(
                self._patcher, self._deployment, statements, before_each=self._go_on, progress=self._applied.append,
                make_safe=lambda first: safety.put_timeouts_back(self._patcher, first=first),
                measuring=self._measuring)
            return self._seconds
        finally:
            await self._roll_back()

    async def _roll_back(self) -> None:
        try:
            await self._patcher.execute("ROLLBACK")
        except errors.NodeError:
            self._patcher.close()  # the server rolls back when the connection goes

    @property
    def _seconds(self) -> float:
        return monotonic() - self._began - self._measuring.seconds

    def _go_on(self) -> None:
        if self._stopped is not None:
            raise self._stopped
        self._may_go_on()
        if self._seconds > self._limit_seconds:
            raise errors.LimitPassed(phase="trying out", left=errors.Left.UNTOUCHED,
                                     reason=f"the limit of {self._limit_seconds:g} s has passed")

    def _ask(self) -> Deferred[None] | None:
        """Cancels the statement under way where it should not go on; again, if one request fell between two."""
        try:
            self._go_on()
        except errors.DowntimeError as error:
            self._stopped = error
            return Deferred.fromCoroutine(self._cancel()).addErrback(note)
        return None

    async def _cancel(self) -> None:
        await self._observer.execute("SELECT pg_catalog.pg_cancel_backend(%s)", (self._patcher.pid,))

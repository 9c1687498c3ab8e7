"""Ending a live application on somebody's word: between its statements, or in the one under way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from downtime import errors
from downtime.cancelling import note
from downtime.node import Node

CANCEL_EVERY_SECONDS = 0.1  # one cancel request may fall between two statements


class LiveAbort:
    """Of one live application: `begin(reason)` at any time, `await over()` at its end."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._sessions: tuple[Node, Node] | None = None
        self._cancelling: Deferred[None] | None = None
        self._spared = False
        self.reason: str | None = None

    def applies_to(self, worker: Node, control: Node) -> None:
        self._sessions = (worker, control)
        self._cancel()

    def begin(self, reason: str) -> None:
        if self.reason is None:
            self.reason = reason
            self._cancel()

    def go_on(self) -> None:
        """Raises Aborted where it has begun."""
        if self.reason is not None:
            raise errors.Aborted(phase="applying live", reason=self.reason, left=errors.Left.OPEN)

    @contextmanager
    def spared(self) -> Iterator[None]:
        """The block's statements are not cancelled: what was done is written down, what was left is cleared away."""
        self._spared = True
        try:
            yield
        finally:
            self._spared = False

    async def over(self) -> None:
        """When the worker's session is closed nothing is cancelled any more."""
        if self._cancelling is not None:
            await self._cancelling

    def _cancel(self) -> None:
        if self.reason is not None and self._sessions is not None and self._cancelling is None:
            self._cancelling = Deferred.fromCoroutine(self._until_over(*self._sessions)).addErrback(note)

    async def _until_over(self, worker: Node, control: Node) -> None:
        while not (worker.closed or control.closed):
            if not self._spared:
                await control.execute("SELECT pg_catalog.pg_cancel_backend(%s)", (worker.pid,))
            await deferLater(self._reactor, CANCEL_EVERY_SECONDS, lambda: None)

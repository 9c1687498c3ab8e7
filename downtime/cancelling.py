"""End the patch of a running outage: cancel its statement, and give up a session that does not answer.

A cancel request is repeated, for one may fall between two statements. What does not end by it (a statement in C code
that looks at no interrupt, a stopped process, a cut network) is waited for no longer than CANCEL_SECONDS: then the
connection is closed, and what stands behind it is ended by the fence: see `downtime.reopening`.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from downtime import errors
from downtime.ready import Ready

LOG = Logger()

CANCEL_EVERY_SECONDS = 0.05
CANCEL_SECONDS = 2.0  # a rollback takes longer only where it hangs; the outage is longer by so much


class Cancelling:
    """Of one outage: `begin()` when it is to end, `end()` when its transaction has ended."""

    def __init__(self, ready: Ready, reactor: Any) -> None:
        self._patcher, self._control = ready.patcher, ready.control
        self._reactor = reactor
        self._timer: Any = None
        self._asking = False
        self.committing = False  # set when the COMMIT is sent: nothing is cancelled any more, the ledger will know
        self._over = False
        self.given_up = False  # a session was closed because it did not answer

    def begin(self) -> None:
        if not self._over:
            self._timer = self._reactor.callLater(CANCEL_SECONDS, self._give_up)
            Deferred.fromCoroutine(self._until_over()).addErrback(note)

    def end(self) -> None:
        """The transaction has ended, or its session is lost."""
        self._over = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    async def _until_over(self) -> None:
        try:
            while not (self._over or self.committing or self._control.closed):
                await self._ask()
                await deferLater(self._reactor, CANCEL_EVERY_SECONDS, lambda: None)
        finally:
            if not self.committing:
                self._give_up()  # nobody is left who can cancel: the server rolls back when its client is gone

    async def _ask(self) -> None:
        self._asking = True
        try:
            await self._control.execute("SELECT pg_catalog.pg_cancel_backend(%s)", (self._patcher.pid,))
        finally:
            self._asking = False

    def _give_up(self) -> None:
        if self._over:
            return
        self.given_up = True
        self._patcher.close()
        if self._asking:
            self._control.close()  # it does not answer either


def note(failure: Failure) -> None:
    """What fails beside the outage is noted; the outage notices its effect by itself."""
    failure.trap(errors.NodeError)
    LOG.warn("beside the outage: {error}", error=failure.value)

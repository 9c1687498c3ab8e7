"""Keeps deliveries back while a database has just been closed: a fork or a handshake takes the master's only thread.

Most outages are over before the hold is; a longer one is told of while it lasts, because 503 pages wait for that.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

HOLD_SECONDS = 1.0  # shorter: most outages share the processor with notices; longer: "closed" is told later


class Hold:
    """What begins with `Closed` and ends with `Ended`, or after a second."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._timers: dict[int, Any] = {}  # by request
        self._waiting: list[Deferred[None]] = []

    @property
    def held(self) -> bool:
        return bool(self._timers)

    def begin(self, request_id: int) -> None:
        self.end(request_id)
        self._timers[request_id] = self._reactor.callLater(HOLD_SECONDS, self._over, request_id)

    def end(self, request_id: int) -> None:
        """Without effect where nothing is held for it."""
        timer = self._timers.get(request_id)
        if timer is not None:
            timer.cancel()
            self._over(request_id)

    def release(self) -> None:
        """End all there is: the master stops."""
        for request_id in list(self._timers):
            self.end(request_id)

    async def over(self) -> None:
        """Returns when nothing is held."""
        while self.held:
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            await waiting

    def _over(self, request_id: int) -> None:
        del self._timers[request_id]
        if not self._timers:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                # in another turn of the reactor: whoever ends the hold is in the middle of a deployment
                self._reactor.callLater(0, _go_on, each)


def _go_on(waiting: Deferred[None]) -> None:
    if not waiting.called:  # it may have been cancelled
        waiting.callback(None)

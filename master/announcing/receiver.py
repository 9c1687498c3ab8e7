"""What a way out must offer, and how a delivery fails."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred

from downtime.announcements.kinds import Kind
from downtime.announcements.notice import Notice

T = TypeVar("T")


class NotDelivered(Exception):
    """The receiver did not take the notice; the text says why, without any secret."""


class TryAgain(NotDelivered):
    """It may take it later."""


class Receiver(Protocol):
    """Somebody who is told."""

    @property
    def name(self) -> str:
        """For the log and the status page: without any secret."""

    def wants(self, kind: Kind) -> bool: ...

    async def deliver(self, notice: Notice) -> None:
        """Returns when it was taken, within its own deadline. Raises NotDelivered; may be cancelled at any moment."""


def within(seconds: float, work: Deferred[T], reactor: Any) -> Deferred[T]:
    """The result of the work. Fails with TimeoutError after so long, and with CancelledError when it is cancelled.

    Either ends the work, whatever it answers to that: Twisted's web client wraps a cancellation into its own error.
    """
    over = False

    def end(_: Deferred[T]) -> None:
        nonlocal over
        over = True
        work.cancel()

    outcome: Deferred[T] = Deferred(end)

    def pass_on(result: Any) -> None:
        if not over:
            outcome.callback(result)  # a Failure goes on as one

    work.addBoth(pass_on)
    return outcome.addTimeout(seconds, reactor)

"""The notices on the way to one receiver: in their order, tried again where that can help, bounded, counted."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from downtime.announcements.notice import Notice
from master.announcing.hold import Hold
from master.announcing.receiver import NotDelivered, Receiver, TryAgain

LOG = Logger()

PAUSES_SECONDS = (1, 2, 5, 15, 30, 60, 120, 180, 180)  # between tries: about ten minutes; then it is given up
LONGEST = 100  # notices that wait for one receiver; the oldest go first: they have the least to say


@dataclass(frozen=True, slots=True, kw_only=True)
class LineState:
    """How one receiver does, for people who look after the buildmaster."""

    receiver: str
    waiting: int     # not delivered yet
    delivered: int   # since the master has started, as the next two
    failed: int      # given up
    dropped: int     # never tried: too many waited
    problem: str     # of the last try; empty where it succeeded, or where there was none


class Line:
    """Delivers beside everything else; nobody waits for it but `close()`."""

    def __init__(self, receiver: Receiver, *, reactor: Any, hold: Hold) -> None:
        self.receiver = receiver
        self._reactor = reactor
        self._hold = hold
        self._waiting: deque[Notice] = deque()
        self._working: Deferred[None] | None = None
        self._pause: Deferred[None] | None = None
        self._closing = False
        self._delivered = self._failed = self._dropped = 0
        self._problem = ""

    @property
    def state(self) -> LineState:
        return LineState(
            receiver=self.receiver.name, waiting=len(self._waiting) + (self._working is not None),
            delivered=self._delivered, failed=self._failed, dropped=self._dropped, problem=self._problem)

    def put(self, notice: Notice) -> None:
        """Returns at once."""
        if not self.receiver.wants(notice.kind) or self._closing:
            return
        self._waiting.append(notice)
        while len(self._waiting) > LONGEST:
            self._waiting.popleft()
            self._dropped += 1
        if self._working is None:
            self._begin()

    async def close(self, seconds: float) -> None:
        """Take nothing more, and give what is under way so long; what waits to be tried again is given up at once."""
        self._closing = True
        if self._pause is not None:
            self._pause.cancel()
        if self._working is None:
            return
        timer = self._reactor.callLater(seconds, self._working.cancel)
        over: Deferred[None] = Deferred()
        self._working.addBoth(lambda _: over.callback(None))
        await over
        if timer.active():
            timer.cancel()

    def _begin(self) -> None:
        working = self._working = Deferred.fromCoroutine(self._work())
        if working.called:
            self._working = None
        working.addErrback(self._let_go)

    def _let_go(self, failure: Any) -> None:
        self._working = None
        if failure.check(CancelledError):
            LOG.warn("{receiver}: the buildmaster stops; {count} notices were not delivered",
                     receiver=self.receiver.name, count=len(self._waiting) + 1)
        else:
            LOG.failure("notices to {receiver}", failure=failure, receiver=self.receiver.name)

    async def _work(self) -> None:
        while self._waiting:
            await self._deliver(self._waiting.popleft())
        self._working = None

    async def _deliver(self, notice: Notice) -> None:
        for pause_seconds in (*PAUSES_SECONDS, None):
            await self._hold.over()
            again = await self._try(notice)
            if not self._problem:
                self._delivered += 1
                return
            if not again or pause_seconds is None or not await self._paused(pause_seconds):
                break
        self._failed += 1

    async def _try(self, notice: Notice) -> bool:
        """Whether another try can help; `_problem` says whether this one did."""
        problem, again = "", False
        try:
            await self.receiver.deliver(notice)
        except NotDelivered as error:
            problem, again = str(error), isinstance(error, TryAgain)
        except CancelledError:
            raise
        except Exception as error:  # a mistake of ours: the next notice is tried all the same
            problem = f"internal error: {error!r}"
        self._note(problem)
        return again

    async def _paused(self, seconds: float) -> bool:
        """False where there is no time any more."""
        if self._closing:
            return False
        self._pause = deferLater(self._reactor, seconds)
        try:
            await self._pause
        except CancelledError:
            if self._closing:
                return False
            raise
        finally:
            self._pause = None
        return True

    def _note(self, problem: str) -> None:
        """The log has a failure once, until it works again."""
        if problem and not self._problem:
            LOG.warn("{receiver}: a notice was not delivered: {problem}; further failures are only counted",
                     receiver=self.receiver.name, problem=problem)
        elif self._problem and not problem:
            LOG.info("{receiver}: notices are delivered again", receiver=self.receiver.name)
        self._problem = problem

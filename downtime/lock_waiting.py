"""Wait for the locks of a live statement without keeping traffic waiting.

A lock that is waited for stops every client that comes later, so one attempt queues for a moment only. Who holds the
lock is asked while the attempt waits: behind it nobody knows which lock it was. The long wait, until those
transactions have ended, is made outside the queue, and then the next attempt is made. The pauses between attempts grow
and are left to chance, so that clients get at the table between them however many transactions follow each other.

The server's lock_timeout bounds one wait. A statement that locks many partitions one after the other waits many times
and keeps what it has got; one may have a lock_timeout of its own inside (DO, a function). So the waits that keep
clients out are added up over the attempt, and where they come to more than lock_seconds the attempt is cancelled.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any, TypeVar

from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from downtime import blockers, errors, sqlstates
from downtime.apply import was_cancelled
from downtime.blockers import Holder
from downtime.node import Node
from downtime.settings.sections import Live

LOG = Logger()
T = TypeVar("T")

BACK_OFF_SECONDS = (0.1, 5.0)  # first and longest pause between attempts; half of it is chance
LOOK_SECONDS = 0.2             # between two looks whether a transaction has ended
LOOKS_PER_ATTEMPT = 4          # at least, at who holds the lock, in the time an attempt may queue
LONGEST_BETWEEN_SECONDS = 0.1  # two such looks: so much longer an attempt may queue before it is noticed

STAYS = (" (an autovacuum gives way to who queues for longer than deadlock_timeout: let the patching role's be shorter"
         " than live.lock_seconds)")

# Whether a session waits with a lock on a relation, got or asked for, that clients queue behind; a relation that others
# cannot see yet has no clients. The locks are looked at only where it waits: seeing them all holds up who takes one.
SELECT_KEEPS_WAITING = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_get_activity(%(worker)s) WHERE wait_event_type = 'Lock')
   AND EXISTS (SELECT FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation
                WHERE l.pid = %(worker)s AND l.locktype = 'relation' AND l.database <> 0
                  AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))
"""


class NotGranted(errors.DowntimeError):
    """The locks of one statement were not to be had in all the time there was."""

    happened = ("{path}, line {line}: {reason}; tried {attempts} times in {seconds:.0f} s (live.wait_minutes);"
                " it was waiting for {listing}")
    left = errors.Left.OPEN
    next_step = "let those transactions end, or end them; then run the deployment again"


class LockWaiting:
    """Of one live application: tries a statement again until it has got its locks."""

    def __init__(self, worker: Node, control: Node, *, rules: Live, progress: Callable[[str], None],
                 go_on: Callable[[], None]) -> None:
        """`go_on` may raise to end the wait."""
        self._worker = worker
        self._control = control
        self._rules = rules
        self._progress = progress
        self._go_on = go_on
        self._reactor: Any = worker.reactor
        self._seen: tuple[Holder, ...] = ()
        self._looked_at = 0.0  # by monotonic()
        self._kept_waiting_seconds = 0.0
        self._cancelled = False
        self._may_wait_long = False
        self.retries = 0

    async def patiently(self, attempt: Callable[[], Awaitable[T]], *, path: str, line: int, may_wait_long: bool = False
                        ) -> T:
        """What `attempt` gives once it has got its locks; each one has to be whole or to leave nothing.

        One that `may_wait_long` does so where it keeps nobody waiting; whom for is then somebody else's to tell.
        Raises NotGranted after wait_minutes, and what `attempt` or `go_on` raises.
        """
        self._may_wait_long = may_wait_long
        began, attempts, (pause, longest) = monotonic(), 0, BACK_OFF_SECONDS
        deadline = began + self._rules.wait_minutes * 60
        while True:
            self._go_on()
            try:
                async with self._seeing_who_holds_it():
                    return await attempt()
            except errors.DowntimeError as error:
                if not (gives_way(error) or (self._cancelled and was_cancelled(error))):
                    raise
                failure = error
            attempts += 1
            if monotonic() < deadline:
                self.retries += 1
                self._progress(f"    the lock was not to be had within {self._rules.lock_seconds:g} s; "
                               f"{self._whom()}; attempt {attempts + 1} follows")
                await self._outside_the_queue(pause * random.uniform(0.5, 1.0), deadline)
                pause = min(pause * 2, longest)
            if monotonic() >= deadline:
                raise NotGranted(path=path, line=line, reason=self._reason(failure), attempts=attempts,
                                 seconds=monotonic() - began, listing=self._listing()) from failure

    def _reason(self, failure: errors.DowntimeError) -> str:
        if not self._cancelled:
            return str(failure.facts["reason"])
        return f"its waits for locks, one after the other, kept clients waiting over {self._rules.lock_seconds:g} s"

    def _whom(self) -> str:
        return f"waiting for {self._listing()}" if self._seen else "nobody holds it any more"

    def _listing(self) -> str:
        stays = any(each.gives_way for each in self._seen)
        return f"{blockers.listing(self._seen)}{STAYS if stays else ''}"

    async def _outside_the_queue(self, seconds: float, deadline: float) -> None:
        until = monotonic() + seconds
        while monotonic() < deadline:
            self._go_on()
            if monotonic() >= until and not await blockers.still_there(self._control, self._seen):
                return
            await deferLater(self._reactor, LOOK_SECONDS, lambda: None)

    @asynccontextmanager
    async def _seeing_who_holds_it(self) -> AsyncIterator[None]:
        self._seen, self._kept_waiting_seconds, self._cancelled, self._looked_at = (), 0.0, False, monotonic()
        looking = LoopingCall(self._look)
        looking.clock = self._reactor
        ended = looking.start(min(self._rules.lock_seconds / LOOKS_PER_ATTEMPT, LONGEST_BETWEEN_SECONDS), now=False)
        try:
            yield
        finally:
            looking.stop()
            await ended
            if self._cancelled:
                await self._absorb()

    async def _look(self) -> None:
        try:
            keeps_waiting = await self._adds_to_the_sum()
            if ((keeps_waiting or not self._may_wait_long)
                    and (seen := await blockers.blocking(self._control, waiting=self._worker.pid))):
                self._seen = seen
            # a single wait is for lock_timeout to end: counted by looks it may be longer than it was
            if keeps_waiting and self._kept_waiting_seconds > self._rules.lock_seconds + LONGEST_BETWEEN_SECONDS:
                self._cancelled = True
                await self._control.execute("SELECT pg_catalog.pg_cancel_backend(%s)", (self._worker.pid,))
        except errors.NodeError as error:
            LOG.warn("who holds the lock could not be seen: {error}", error=error)

    async def _adds_to_the_sum(self) -> bool:
        """Whether it keeps clients waiting just now; then the time since the last look is counted."""
        keeps_waiting = bool(
            (await self._control.execute(SELECT_KEEPS_WAITING, {"worker": self._worker.pid})).scalar)
        since, self._looked_at = self._looked_at, monotonic()
        if keeps_waiting:
            self._kept_waiting_seconds += self._looked_at - since
        return keeps_waiting

    async def _absorb(self) -> None:
        """A cancel request that came too late for the attempt must not hit what comes next."""
        if not self._worker.closed:
            with suppress(errors.NodeError):
                await self._worker.execute("SELECT 1")


def gives_way(error: errors.DowntimeError) -> bool:
    """Whether a statement failed for its locks alone, so that another attempt may help."""
    cause = error.__cause__
    return isinstance(error, errors.LockNotAvailable) or (
        isinstance(cause, errors.StatementFailed) and cause.sqlstate == sqlstates.DEADLOCK_DETECTED)

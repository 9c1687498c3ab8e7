"""What Ctrl-C, SIGTERM and a closed terminal do to a command.

A command that only looks is ended at once. One that has closed a database, or may have, is told to abort and is then
awaited: ending the process would be safe too, but nobody would have seen the database open again.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from downtime import errors
from downtime.commands.output import Output

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(errors.DowntimeError):
    """Somebody ended a command where it changes nothing."""

    happened = "interrupted"
    next_step = "run the command again when you are ready"


@dataclass(slots=True)
class _Section:
    """What must not simply be ended."""

    abort: Callable[[str], None]
    awaiting: str
    interrupted: bool = False


class Interruption:
    """Listens to the signals of one process."""

    def __init__(self, output: Output, reactor: Any) -> None:
        self._output = output
        self._reactor = reactor
        self._section: _Section | None = None
        self._outcome: Deferred[Any] = Deferred()
        self.asked = False  # somebody wants the command to end

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work, listening. Raises Interrupted, and then the work is left as it is: the process is to end."""
        running: Deferred[None] = Deferred()
        self._reactor.callWhenRunning(running.callback, None)
        await running  # the reactor installs signal handlers of its own as it starts
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                signal.signal(number, self._received)
        Deferred.fromCoroutine(work).addBoth(self._done)
        result: T = await self._outcome
        return result

    @contextmanager
    def aborting(self, abort: Callable[[str], None], *, awaiting: str) -> Iterator[None]:
        """In the block the first signal calls `abort` with a reason; `awaiting` says what is awaited then."""
        self._section = _Section(abort=abort, awaiting=awaiting)
        try:
            yield
        finally:
            self._section = None

    @contextmanager
    def postponed(self, awaiting: str) -> Iterator[None]:
        """The block is short and ends by itself: signals are answered, and that is all."""
        with self.aborting(lambda reason: None, awaiting=awaiting):
            yield

    def _received(self, *_: object) -> None:
        self._reactor.callFromThread(self._interrupt)  # wakes the reactor, which may be waiting

    def _interrupt(self) -> None:
        self.asked = True
        section = self._section
        if section is None:
            self._done(Failure(Interrupted()))
        elif section.interrupted:
            self._output.progress(f"still waiting for {section.awaiting}; that has a deadline of its own")
        else:
            section.interrupted = True
            self._output.progress(f"interrupted; waiting for {section.awaiting}")
            section.abort("interrupted")

    def _done(self, result: Any) -> None:
        if not self._outcome.called:
            self._outcome.callback(result)

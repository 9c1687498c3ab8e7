"""The service that writes down what happens to every patch, in Buildbot's state database, and never changes a word.

It knows everything that was ever written: the pages, the notices and what an approval is worth after a restart are
read out of that. What cannot be written at once is kept and tried again: no deployment waits for its history. Where
there are several buildmasters each looks every second at what the others have written.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from buildbot.util.service import BuildbotService
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from downtime.history import journey
from downtime.history.events import Event, from_json, to_json
from downtime.history.journey import Journey
from master import leadership
from master.state import Drawer
from steps.shared.names import ServiceName

LOG = Logger()

AGAIN_SECONDS = 5.0  # after a write that failed
LOOK_SECONDS = 1.0   # at what other buildmasters have written: so much later their pages show it

Listener = Callable[[Event], object]


class Journal(BuildbotService):  # type: ignore[misc]
    """See `steps.shared.services.Journal`."""

    name = ServiceName.JOURNAL.value

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._events: list[Event] = []
        self._journeys: dict[str, Journey] = {}
        self._listeners: list[Listener] = []
        self._number = 0               # of the newest event in the database
        self._unwritten: list[Event] = []
        self._writing = DeferredLock()  # one event after the other: their order is what they mean
        self._again: Any = None
        self._is_ready = False
        self._waiting: list[Deferred[None]] = []
        self._looking: LoopingCall | None = None
        self._is_blind = False  # to others' events: said once, and not every second

    async def startService(self) -> None:
        """A database that cannot be read is read again: nothing is decided while it is not known what was."""
        await super().startService()
        self._events, self._journeys, self._number = [], {}, 0
        await self._read()
        if leadership.several(self.master):
            self._looking = LoopingCall(lambda: self._beside(self._look))
            self._looking.clock = self.master.reactor
            self._looking.start(LOOK_SECONDS, now=False)

    async def ready(self) -> None:
        if not self._is_ready:
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            await waiting

    async def _read(self) -> None:
        try:
            found = await self._drawer.behind()
        except Exception as error:  # whatever the database driver raises
            LOG.warn("what has happened so far cannot be read: {error!r}", error=error)
            self._again = self.master.reactor.callLater(AGAIN_SECONDS, self._try_again, self._read)
            return
        self._understand(found, self._take)
        self._is_ready = True
        while self._waiting:
            self._waiting.pop().callback(None)

    async def stopService(self) -> None:
        if self._looking is not None:
            self._looking.stop()
            self._looking = None
        if self._again is not None:
            self._again.cancel()
            self._again = None
        await self._write()
        await super().stopService()

    def note(self, event: Event) -> None:
        self._unwritten.append(event)
        self._tell(event)
        self._beside(self._write)

    async def record(self, event: Event) -> None:
        await self._writing.run(lambda: Deferred.fromCoroutine(self._put_behind(event)))
        self._tell(event)

    async def catch_up(self) -> None:
        """Know, and tell, what other buildmasters have written."""
        if self._is_ready:
            await self._writing.run(lambda: Deferred.fromCoroutine(self._catch_up()))

    def journey(self, patch_id: str) -> Journey | None:
        return self._journeys.get(patch_id)

    def journeys(self) -> Mapping[str, Journey]:
        """All of them as they are now, by patch, in the order in which the patches were first heard of."""
        return dict(self._journeys)

    def events(self) -> tuple[Event, ...]:
        """Everything that has happened, oldest first."""
        return tuple(self._events)

    def listen(self, listener: Listener) -> None:
        """From now on told of every event, in the reactor's thread; it must return at once."""
        self._listeners.append(listener)

    def _take(self, event: Event) -> None:
        self._events.append(event)
        self._journeys[event.patch_id] = journey.after(self._journeys.get(event.patch_id), event)

    def _tell(self, event: Event) -> None:
        self._take(event)
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                LOG.failure("telling of {kind}", kind=event.kind)

    def _beside(self, work: Callable[[], Coroutine[Any, Any, None]]) -> Deferred[None]:
        return Deferred.fromCoroutine(work()).addErrback(
            lambda why: LOG.failure("reading or writing events", failure=why))

    async def _look(self) -> None:
        try:
            await self.catch_up()
            self._is_blind = False
        except Exception as error:  # whatever the database driver raises
            if not self._is_blind:
                LOG.warn("what other buildmasters have written cannot be read: {error!r}", error=error)
            self._is_blind = True

    async def _write(self) -> None:
        await self._writing.run(lambda: Deferred.fromCoroutine(self._write_all()))

    async def _write_all(self) -> None:
        while self._unwritten:
            try:
                await self._put(self._unwritten[0])
            except Exception as error:  # whatever the database driver raises
                LOG.warn("{count} events are not written down yet: {error!r}", count=len(self._unwritten), error=error)
                if self._again is None and self.running:
                    self._again = self.master.reactor.callLater(AGAIN_SECONDS, self._try_again, self._write)
                return
            del self._unwritten[0]

    def _try_again(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._again = None
        self._beside(work)

    async def _put_behind(self, event: Event) -> None:
        """Never before what was noted before it: read in another order it would mean something else."""
        while self._unwritten:
            await self._put(self._unwritten[0])
            del self._unwritten[0]
        await self._put(event)

    async def _put(self, event: Event) -> None:
        while not await self._drawer.add(_key(self._number + 1), to_json(event)):
            await self._catch_up()
        self._number += 1

    async def _catch_up(self) -> None:
        self._understand(await self._drawer.behind(_key(self._number)), self._tell)

    def _understand(self, found: Mapping[str, Any], take: Callable[[Event], None]) -> None:
        for key, value in found.items():
            self._number = int(key)
            try:
                take(from_json(value))
            except ValueError as error:  # of a later version: it stays where it is
                LOG.warn("event {key} cannot be read: {reason}", key=key, reason=str(error).partition("\n")[0])

    @property
    def _drawer(self) -> Drawer:
        return Drawer(self.master, self.name)


def _key(number: int) -> str:
    return f"{number:09}"

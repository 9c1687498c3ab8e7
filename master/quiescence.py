"""The service that remembers what was quiesced, so that it is resumed whatever became of build and master.

A task is noted before it is stopped, and leaves the note when it has been resumed. What is still noted when the master
starts belongs to a build that died with the master before: it is resumed at once. What fails stays owed and is tried
again every minute, and at the next start: a task that nobody starts again is an outage of its own, and nobody looks at
the build any more.

A build can keep its tasks stopped when it ends, for one that follows in the same window. Nothing is promised: whoever
comes first claims them, and where nobody has within a minute they are resumed. The note stays all the while.

Nothing is resumed here while a build has its tasks stopped, and none stops one while another is being resumed: they
would run in its downtime.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from buildbot.util.service import BuildbotService
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from downtime.printable import printable
from downtime.quiescing.tasks import Owed
from master import leadership
from master.state import Drawer
from steps.shared.commands import Command
from steps.shared.names import ServiceName

LOG = Logger()

LAST_WORDS = 500  # characters of what a failed command has printed, for the log
OWED = "owed"  # build id (as text, JSON has no other keys) to what it owes

Note = dict[str, list[dict[str, Any]]]


class Quiescence(BuildbotService):  # type: ignore[misc]
    """See `steps.shared.services.Quiescence`."""

    name = ServiceName.QUIESCENCE.value
    kept_seconds = 60.0   # longer: tasks rest for nobody; shorter: they are resumed and stopped again for an hour
    retry_seconds = 60.0  # shorter: a broken command runs all day long; longer: a task stands still for longer

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._writing = DeferredLock()  # all builds share one note: one that begins must not undo one that ends
        self._resting: set[str] = set()  # builds under way that have stopped tasks
        self._overdue: set[str] = set()  # builds that have ended, whose tasks could not be resumed yet
        self._kept: dict[str, Any] = {}  # builds that have ended, to the timers that have their tasks resumed
        self._claimed: set[str] = set()  # builds whose tasks are another's to resume
        self._under_way: dict[str, Deferred[None]] = {}
        self._last_ended: dict[Owed, str] = {}  # of what failed: the log has it once, not every minute
        self._again: Any = None
        self._stopping = False

    async def startService(self) -> None:
        await super().startService()
        self._stopping = False
        self._resting.clear()  # no build outlives its master
        self._overdue.clear()
        if leadership.leads(self.master):
            self.lead()

    def lead(self) -> None:
        """Resume what a dead master owes; of several masters the one that leads does, when it begins to.

        Not waited for: a command may take its minute, and the master should not start a minute later for it.
        """
        _beside(self.settle())

    async def stopService(self) -> None:
        """A command under way is waited for; what is left is owed when the master starts again."""
        self._stopping = True
        if self._again is not None:
            self._again.cancel()
            self._again = None
        for timer in self._kept.values():
            timer.cancel()
        self._kept.clear()
        for ended in list(self._under_way.values()):
            await ended
        await super().stopService()

    async def remember(self, build_id: int, owed: Sequence[Owed]) -> None:
        self._resting.add(str(build_id))  # from here on no other command is begun, and the one under way is waited for
        await self._write_down(build_id, owed)
        for ended in list(self._under_way.values()):
            await ended

    async def owed(self, build_id: int) -> tuple[Owed, ...]:
        return tuple(Owed.from_json(each) for each in (await self._note()).get(str(build_id), ()))

    async def forget(self, build_id: int) -> None:
        self._resting.discard(str(build_id))
        self._overdue.discard(str(build_id))
        await self._change(lambda note: note.pop(str(build_id), None))

    async def try_again(self, build_id: int, failed: Sequence[Owed]) -> None:
        self._resting.discard(str(build_id))
        self._overdue.add(str(build_id))
        self._arm()
        await self._write_down(build_id, failed)

    @property
    def kept(self) -> bool:
        return bool(self._kept)

    def wanted_by_another(self, build_id: int) -> bool:
        return bool(self._resting - {str(build_id)})

    async def keep(self, build_id: int) -> None:
        self._resting.discard(str(build_id))
        self._kept[str(build_id)] = self.master.reactor.callLater(self.kept_seconds, self._keep_no_more, str(build_id))

    async def claim(self, build_id: int) -> None:
        kept = list(self._kept)
        for build in kept:
            self._kept.pop(build).cancel()
        self._claimed.update(kept)  # at once: a build that is just ending must not resume what is being written down

        def take(note: Note) -> None:
            taken = [each for build in kept for each in note.pop(build, ())]
            if taken:
                note[str(build_id)] = [*note.get(str(build_id), ()), *taken]
        if kept:
            self._resting.add(str(build_id))
        try:
            await self._change(take)
        except Exception:
            self._arm()  # nobody has them now: neither this build nor a timer
            raise
        finally:
            self._claimed.difference_update(kept)

    def _keep_no_more(self, build: str) -> None:
        del self._kept[build]
        LOG.info("no deployment has followed build {build}: what it has stopped is resumed", build=build)
        _beside(self.settle(int(build)))

    async def settle(self, build_id: int | None = None) -> None:
        """Run what is owed: by one build that has ended without its step `Resume`, or (None) by all that have ended."""
        self._resting.discard(str(build_id))
        try:
            for each in await self._note():
                if build_id in (None, int(each)) and not self._is_seen_to(each):
                    await self._resume(each)
        except Exception:  # whatever the database driver raises, or the machine that cannot run one more process
            LOG.failure("what is owed cannot be resumed now, and is tried again")
            self._arm()

    def _is_seen_to(self, build: str) -> bool:
        return any(build in seen_to for seen_to in (self._resting, self._overdue, self._kept, self._claimed))

    async def _resume(self, build: str) -> None:
        if build in self._under_way:
            return
        ended: Deferred[None] = Deferred()
        self._under_way[build] = ended
        try:
            failed = [each for each in await self.owed(int(build))
                      if self._resting or not await self._succeeds(build, each)]
            if failed:
                await self.try_again(int(build), failed)
            else:
                await self.forget(int(build))
        finally:
            del self._under_way[build]
            ended.callback(None)

    async def _succeeds(self, build: str, owed: Owed) -> bool:
        if self._stopping:
            return False
        finished = await Command(owed.command, reactor=self.master.reactor, deadline_seconds=owed.seconds).run()
        if finished.succeeded:
            self._last_ended.pop(owed, None)
            LOG.info("{task} resumed after build {build}: {command}", task=owed.task, build=build,
                     command=owed.command)
        elif self._last_ended.get(owed) != finished.ended:
            self._last_ended[owed] = finished.ended
            LOG.warn("{task} not resumed after build {build}: `{command}` {ended}; it is tried again every"
                     " {seconds:g} s: {output}", task=owed.task, build=build, command=owed.command,
                     ended=finished.ended, seconds=self.retry_seconds,
                     output=printable(finished.output.strip()[-LAST_WORDS:]))
        return finished.succeeded

    def _arm(self) -> None:
        if self._again is None and not self._stopping:
            self._again = self.master.reactor.callLater(self.retry_seconds, self._ring)

    def _ring(self) -> None:
        self._again = None
        _beside(self._settle_again())

    async def _settle_again(self) -> None:
        if self._resting or self._kept:
            self._arm()
        else:
            self._overdue.clear()
            await self.settle()

    async def _write_down(self, build_id: int, owed: Sequence[Owed]) -> None:
        await self._change(lambda note: note.update({str(build_id): [each.to_json() for each in owed]}))

    async def _note(self) -> Note:
        return dict(await self._drawer.get(OWED) or {})

    async def _change(self, change: Callable[[Note], object]) -> None:
        await self._writing.acquire()
        try:
            note = await self._note()
            before = dict(note)
            change(note)
            if note != before:
                await self._drawer.put(OWED, note)
        finally:
            self._writing.release()

    @property
    def _drawer(self) -> Drawer:
        return Drawer(self.master, self.name)


def _beside(work: Coroutine[Any, Any, None]) -> None:
    """Let it run by itself; what goes wrong with it is logged."""
    Deferred.fromCoroutine(work).addErrback(lambda why: LOG.failure("resuming", failure=why))

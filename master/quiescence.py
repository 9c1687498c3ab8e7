"""The service that remembers what was quiesced, so that it is resumed whatever became of build and master.

The note is written before the first background task is stopped, and a command leaves it when it has succeeded. What
is still noted when the master starts belongs to a build that died with the master before: it is resumed at once. What
fails stays owed and is tried again every minute, and at the next start: a task that nobody starts again is an outage
of its own, and nobody looks at the build any more.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from buildbot.util.service import BuildbotService
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from downtime.printable import printable
from master.state import Drawer
from steps.shared.commands import Command
from steps.shared.names import ServiceName

LOG = Logger()

LAST_WORDS = 500  # characters of what a failed command has printed, for the log
OWED = "owed"  # build id (as text, JSON has no other keys) to the commands that resume what it has stopped


class Quiescence(BuildbotService):  # type: ignore[misc]
    """See `steps.shared.services.Quiescence`."""

    name = ServiceName.QUIESCENCE.value
    retry_seconds = 60.0  # shorter: a broken command runs all day long; longer: a task stands still for longer

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._writing = DeferredLock()  # all builds share one note: one that begins must not undo one that ends
        self._overdue: set[str] = set()  # builds that have ended, with commands that failed
        self._under_way: dict[str, Deferred[None]] = {}
        self._last_ended: dict[str, str] = {}  # of a command that failed: the log has it once, not every minute
        self._again: Any = None
        self._stopping = False

    async def startService(self) -> None:
        await super().startService()
        self._stopping = False
        # not waited for: a command may take its minute, and the master should not start a minute later for it
        _beside(self.settle())

    async def stopService(self) -> None:
        """A command under way is waited for; what is left is owed when the master starts again."""
        self._stopping = True
        if self._again is not None:
            self._again.cancel()
            self._again = None
        for ended in list(self._under_way.values()):
            await ended
        await super().stopService()

    async def remember(self, build_id: int, resume: Sequence[str]) -> None:
        await self._change(lambda owed: owed.update({str(build_id): list(resume)}))

    async def owed(self, build_id: int) -> tuple[str, ...]:
        return tuple((await self._owed()).get(str(build_id), ()))

    async def forget(self, build_id: int) -> None:
        self._overdue.discard(str(build_id))
        await self._change(lambda owed: owed.pop(str(build_id), None))

    async def try_again(self, build_id: int, failed: Sequence[str]) -> None:
        self._overdue.add(str(build_id))
        await self.remember(build_id, failed)
        self._arm()

    async def settle(self, build_id: int | None = None) -> None:
        """Run what is owed: by one build that has ended without its step `Resume`, or (None) by a dead master's."""
        for each in await self._owed():
            if build_id is None or (each == str(build_id) and each not in self._overdue):
                await self._resume(each)

    async def _resume(self, build: str) -> None:
        if build in self._under_way:
            return
        ended: Deferred[None] = Deferred()
        self._under_way[build] = ended
        try:
            failed = [command for command in await self.owed(int(build)) if not await self._succeeds(build, command)]
            if failed:
                await self.try_again(int(build), failed)
            else:
                await self.forget(int(build))
        finally:
            del self._under_way[build]
            ended.callback(None)

    async def _succeeds(self, build: str, command: str) -> bool:
        if self._stopping:
            return False
        finished = await Command(command, reactor=self.master.reactor).run()
        if finished.succeeded:
            self._last_ended.pop(command, None)
            LOG.info("resumed after build {build}: {command}", build=build, command=command)
        elif self._last_ended.get(command) != finished.ended:
            self._last_ended[command] = finished.ended
            LOG.warn("not resumed after build {build}: `{command}` {ended}; it is tried again every {seconds:g} s: "
                     "{output}", build=build, command=command, ended=finished.ended, seconds=self.retry_seconds,
                     output=printable(finished.output.strip()[-LAST_WORDS:]))
        return finished.succeeded

    def _arm(self) -> None:
        if self._overdue and self._again is None and not self._stopping:
            self._again = self.master.reactor.callLater(self.retry_seconds, self._ring)

    def _ring(self) -> None:
        self._again = None
        _beside(self._resume_overdue())

    async def _resume_overdue(self) -> None:
        """Not while another build keeps the tasks quiesced: it would find them running in its downtime."""
        try:
            if set(await self._owed()) <= self._overdue:
                for build in sorted(self._overdue):
                    await self._resume(build)
        finally:
            self._arm()

    async def _owed(self) -> dict[str, list[str]]:
        return dict(await self._drawer.get(OWED) or {})

    async def _change(self, change: Callable[[dict[str, list[str]]], object]) -> None:
        await self._writing.acquire()
        try:
            owed = await self._owed()
            before = dict(owed)
            change(owed)
            if owed != before:
                await self._drawer.put(OWED, owed)
        finally:
            self._writing.release()

    @property
    def _drawer(self) -> Drawer:
        return Drawer(self.master, self.name)


def _beside(work: Coroutine[Any, Any, None]) -> None:
    """Let it run by itself; what goes wrong with it is logged."""
    Deferred.fromCoroutine(work).addErrback(lambda why: LOG.failure("resuming", failure=why))

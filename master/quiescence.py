"""The service that remembers what was quiesced, so that it is resumed whatever became of build and master.

The note is written before the first background task is stopped and removed after the last one was resumed. What is
still noted when the master starts belongs to a build that died with the master before: it is resumed at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from buildbot.util.service import BuildbotService
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from master.state import Drawer
from steps.shared.commands import Command
from steps.shared.names import ServiceName

LOG = Logger()

OWED = "owed"  # build id (as text, JSON has no other keys) to the commands that resume what it has stopped


class Quiescence(BuildbotService):  # type: ignore[misc]
    """See `steps.shared.services.Quiescence`."""

    name = ServiceName.QUIESCENCE.value

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._writing = DeferredLock()  # all builds share one note: one that begins must not undo one that ends

    async def startService(self) -> None:
        await super().startService()
        # not waited for: a command may take its minute, and the master should not start a minute later for it
        Deferred.fromCoroutine(self.settle()).addErrback(lambda why: LOG.failure("resuming", failure=why))

    async def remember(self, build_id: int, resume: Sequence[str]) -> None:
        await self._change(lambda owed: owed.update({str(build_id): list(resume)}))

    async def owed(self, build_id: int) -> tuple[str, ...]:
        return tuple((await self._owed()).get(str(build_id), ()))

    async def forget(self, build_id: int) -> None:
        await self._change(lambda owed: owed.pop(str(build_id), None))

    async def settle(self, build_id: int | None = None) -> None:
        """Run what is owed: by one build that has ended without its step `Resume`, or (None) by a dead master's."""
        for each, commands in (await self._owed()).items():
            if build_id is not None and each != str(build_id):
                continue
            for command in commands:
                finished = await Command(command, reactor=self.master.reactor).run()
                LOG.info("resumed after build {build}: {command} {ended}", build=each, command=command,
                         ended=finished.ended or "done")
            await self.forget(int(each))

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

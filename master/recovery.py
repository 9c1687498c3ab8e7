"""The service that undoes what a deployment that died has left closed: at every start of the master, and when told.

Gate "hold" leaves nothing and gate "refuse" has a guard in the server; what is left is a database whose server crashed
while it was closed, or one that could not be reached when its outage ended. A server that cannot be asked is asked
again, for as long as it takes: it may be starting. See `downtime.recovery`: what an administrator has closed stays
closed.
"""

from __future__ import annotations

from typing import Any

from buildbot.util.service import BuildbotService
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from downtime import errors, recovery
from downtime.settings import Settings

LOG = Logger()

LOOK_EVERY_SECONDS = 0.5  # how long a database may stay closed after its server accepts connections


class Recovery(BuildbotService):  # type: ignore[misc]
    """Looks at every environment when the master starts; the builder `reopen` looks again when somebody asks."""

    name = "fastdowntime-recovery"

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._looking: dict[str, LoopingCall] = {}  # by environment, as the next two
        self._over: dict[str, Deferred[Any]] = {}
        self._said: dict[str, str] = {}

    def reconfigService(self, settings: Settings) -> None:
        self._settings = settings

    async def startService(self) -> None:
        await super().startService()
        # not waited for: a server that does not answer must not keep the pages away from those who need them
        for name in self._settings.environment_names:
            self._look_until_open(name)

    async def stopService(self) -> None:
        """A look under way is let come to its end: it has deadlines, and a database may be open after it."""
        await super().stopService()
        for looking in list(self._looking.values()):
            looking.stop()
        await DeferredList(list(self._over.values()))

    def look_after(self, database: str) -> None:
        """An outage of this database (by its label) has ended, and nobody knows whether it is open. Returns at once."""
        for name in self._settings.environment_names:
            if self._settings.environment(name).target.label == database:
                self._look_until_open(name)

    def in_doubt(self, name: str) -> bool:
        """Whether it is not known yet that the environment is open: it is being looked at."""
        return name in self._looking

    def _look_until_open(self, name: str) -> None:
        if name in self._looking or not self.running:
            return
        self._said[name] = ""
        looking = self._looking[name] = LoopingCall(lambda: Deferred.fromCoroutine(self._look(name)))
        looking.clock = self.master.reactor
        over: Deferred[Any] = looking.start(LOOK_EVERY_SECONDS)
        over.addErrback(lambda why: LOG.failure("recovering", failure=why))
        self._over[name] = over.addCallback(lambda _: self._looking.pop(name))

    async def _look(self, name: str) -> None:
        try:
            recovered = await recovery.reopen(self._settings.environment(name).target, reactor=self.master.reactor)
        except errors.DowntimeError as error:
            if str(error) != self._said[name]:
                self._said[name] = str(error)
                LOG.warn("recovery of {environment}: {error}; looking again until it is open", environment=name,
                         error=error)
            return
        for line in recovered.lines:
            LOG.info("recovery of {environment}: {line}", environment=name, line=line)
        if self._looking[name].running:
            self._looking[name].stop()

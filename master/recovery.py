"""The service that undoes what a deployment that died has left closed or paused: at every start, and when told.

Gate "hold" leaves nothing, gate "refuse" has a guard in the server, poolers and standbys have a watchdog; what is left
is a database whose server crashed while it was closed, one that could not be reached when its outage ended, or what was
paused when this whole machine died. A server that cannot be asked is asked again, for as long as it takes: it may be
starting. See `downtime.recovery`: what an administrator has closed stays closed.
"""

from __future__ import annotations

from typing import Any

from buildbot.util.service import BuildbotService
from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from downtime import errors, recovery
from downtime.settings import Environment, Settings
from master import leadership

LOG = Logger()

LOOK_EVERY_SECONDS = 0.5  # how long a database may stay closed after its server accepts connections
LOOKS_AT_ONCE = 20        # of hundreds of databases; more delay each other, fewer wait behind servers that are away


class Recovery(BuildbotService):  # type: ignore[misc]
    """Looks at every database when the master starts; the builder `reopen` looks again when somebody asks."""

    name = "fastdowntime-recovery"

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._looking: dict[str, LoopingCall] = {}  # by the database's title, as the next three
        self._over: dict[str, Deferred[Any]] = {}
        self._said: dict[str, str] = {}
        self._environments: dict[str, str] = {}     # whose database it is
        self._places = DeferredSemaphore(LOOKS_AT_ONCE)

    def reconfigService(self, settings: Settings) -> None:
        self._settings = settings

    async def startService(self) -> None:
        await super().startService()
        if leadership.leads(self.master):
            self.lead()

    def lead(self) -> None:
        """Look at every database; of several masters the one that leads does, when it begins to.

        Not waited for: a server that does not answer must not keep the pages away from those who need them.
        """
        for member in self._members():
            self._look_until_open(member)

    async def stopService(self) -> None:
        """A look under way is let come to its end: it has deadlines, and a database may be open after it."""
        await super().stopService()
        for looking in list(self._looking.values()):
            looking.stop()
        await DeferredList(list(self._over.values()))

    def look_after(self, database: str) -> None:
        """An outage of this database (by its label) has ended, and nobody knows whether it is open. Returns at once."""
        for member in self._members():
            if member.target.label == database:
                self._look_until_open(member)

    def in_doubt(self, name: str) -> bool:
        """Whether it is not known yet that all databases of the environment are open: they are being looked at."""
        return any(self._environments[title] == name for title in self._looking)

    def _members(self) -> list[Environment]:
        return [member for name in self._settings.environment_names
                for member in self._settings.environment(name).members()]

    def _look_until_open(self, member: Environment) -> None:
        title = member.title
        if title in self._looking or not self.running:
            return
        self._said[title], self._environments[title] = "", member.name
        looking = self._looking[title] = LoopingCall(self._places.run, self._look, member)
        looking.clock = self.master.reactor
        over: Deferred[Any] = looking.start(LOOK_EVERY_SECONDS)
        over.addErrback(lambda why: LOG.failure("recovering", failure=why))
        self._over[title] = over.addCallback(lambda _: self._looking.pop(title))

    def _look(self, member: Environment) -> Deferred[None]:
        return Deferred.fromCoroutine(self._try(member, member.title))

    async def _try(self, member: Environment, title: str) -> None:
        if not self.running:
            return  # it has waited for its place, and the master is stopping
        try:
            recovered = await recovery.reopen(member.target, places=recovery.beside(member),
                                              reactor=self.master.reactor)
        except errors.DowntimeError as error:
            if str(error) != self._said[title]:
                self._said[title] = str(error)
                LOG.warn("recovery of {environment}: {error}; looking again until it is open", environment=title,
                         error=error)
            return
        for line in recovered.lines:
            LOG.info("recovery of {environment}: {line}", environment=title, line=line)
        if self._looking[title].running:
            self._looking[title].stop()

"""The service that undoes, at every start of the master, what a deployment that died before left closed.

Gate "hold" leaves nothing and gate "refuse" has a guard in the server; what is left is a database whose server crashed
while it was closed. See `downtime.recovery`: what an administrator has closed stays closed.
"""

from __future__ import annotations

from buildbot.util.service import BuildbotService
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from downtime import errors, recovery
from downtime.settings import Environment, Settings

LOG = Logger()


class Recovery(BuildbotService):  # type: ignore[misc]
    """Looks once, when the master starts; the builder `reopen` looks again when somebody asks."""

    name = "fastdowntime-recovery"

    def reconfigService(self, settings: Settings) -> None:
        self._settings = settings

    async def startService(self) -> None:
        await super().startService()
        # not waited for: a server that does not answer must not keep the pages away from those who need them
        for name in self._settings.environment_names:
            Deferred.fromCoroutine(self._look(self._settings.environment(name))).addErrback(
                lambda why: LOG.failure("recovering at the start", failure=why))

    async def _look(self, environment: Environment) -> None:
        try:
            recovered = await recovery.reopen(environment.target, reactor=self.master.reactor)
        except errors.DowntimeError as error:
            LOG.warn("at the start, {environment}: {error}", environment=environment.name, error=error)
            return
        for line in recovered.lines:
            LOG.info("at the start, {environment}: {line}", environment=environment.name, line=line)

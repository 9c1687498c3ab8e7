"""The builds: what they say of themselves, and that a deployment's last word is final and leaves nothing held.

Buildbot builds a request again when a worker is lost, when the master stops, and after a crash. That is right for
what waits for an approval, and never for what has begun: once `connections_prevented` is set, RETRY becomes FAILURE.
"""

from __future__ import annotations

from buildbot.process.build import Build
from twisted.internet.defer import Deferred
from twisted.python import log

from steps.shared.names import Property, ServiceName
from steps.shared.results import FAILURE, RETRY


class RunbookBuild(Build):  # type: ignore[misc]
    """A build whose headline is what its steps have said, without Buildbot's "build successful" before it."""

    results: int | None
    text: tuple[str, ...] | list[str] = ()  # Buildbot sets it when the build has got a worker

    def buildFinished(self, text: list[str], results: int) -> Deferred[None]:
        finished: Deferred[None] = super().buildFinished(list(self.text) or text, results)
        return finished


class DeploymentBuild(RunbookBuild):
    """Build class of `production` and `live`."""

    def buildFinished(self, text: list[str], results: int) -> Deferred[None]:
        return Deferred.fromCoroutine(self._finish(text, results))

    async def _finish(self, text: list[str], results: int) -> None:
        """Never raises, as Buildbot demands."""
        try:
            await self._release()
        except Exception:
            log.err(None, f"{self}: releasing what the build held")
        if self.getProperty(Property.BEGUN) and RETRY in (results, self.results):
            # EXCEPTION would be truer, but with a lost worker Buildbot then keeps the request claimed for ever
            self.results = results = FAILURE
        await super().buildFinished(text, results)

    async def _release(self) -> None:
        services = self.master.service_manager.namedServices
        services[ServiceName.APPROVALS].withdraw(self.buildid)
        await services[ServiceName.OUTAGES].release(self.buildid)
        await services[ServiceName.QUIESCENCE].settle(self.buildid)

"""The builds: what they say of themselves, and that a deployment's last word is final and leaves nothing held.

Buildbot builds a request again when a worker is lost, when the master stops, and after a crash. That is right for
what waits for an approval, and never for what has begun: once `connections_prevented` is set, RETRY becomes FAILURE.
"""

from __future__ import annotations

from typing import Any

from buildbot.process.build import Build
from twisted.internet.defer import Deferred
from twisted.python import log

from steps import s13_record
from steps.shared.names import Property, ServiceName
from steps.shared.results import CANCELLED, FAILURE, RETRY, WARNINGS, worst


class RunbookBuild(Build):  # type: ignore[misc]
    """A build whose headline is what its steps have said, without Buildbot's "build successful" before it."""

    results: int | None
    text: tuple[str, ...] | list[str] = ()  # Buildbot sets it when the build has got a worker

    def buildFinished(self, text: list[str], results: int) -> Deferred[None]:
        finished: Deferred[None] = super().buildFinished(["; ".join(self.text)] if self.text else text, results)
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
        if self.getProperty(Property.BEGUN):
            self.results = results = self._final(worst(results, self.results))
        await super().buildFinished(text, results)

    def _final(self, results: int) -> int:
        """What was stopped, or lost its worker, when its patch was in already has deployed it."""
        if results in (RETRY, CANCELLED) and self.getProperty(Property.APPLIED):
            return WARNINGS
        # EXCEPTION would be truer, but with a lost worker Buildbot then keeps the request claimed for ever
        return FAILURE if results == RETRY else results

    async def _release(self) -> None:
        services = self.master.service_manager.namedServices
        services[ServiceName.APPROVALS].withdraw(self.buildid)
        outages = services[ServiceName.OUTAGES]
        outcome = outages.outcome(self.buildid)  # None where `Record` has told it
        await outages.release(self.buildid)
        if outcome is not None:
            await self._tell(outcome)
        await services[ServiceName.QUIESCENCE].settle(self.buildid)

    async def _tell(self, outcome: Deferred[Any]) -> None:
        """With its worker Buildbot has lost the steps to come, and would say no more than "lost connection"."""
        sentence, applied = await s13_record.last_word(str(self.getProperty(Property.PATCH)), outcome)
        self.text = [sentence]
        self.setProperty(Property.APPLIED, applied, type(self).__name__)

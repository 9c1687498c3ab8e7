"""The service that measures, beside a deployment, how long a client could not connect.

Each build that wants it has a prober, a process of its own, which connects as the patching role and is kicked like
anybody else. One that does not start, dies or hangs is a line in the log: no deployment fails because of it, and none
waits for it longer than a few seconds, before the database is closed or when it is open again.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from buildbot.util.service import BuildbotService
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.defer import TimeoutError as Expired
from twisted.logger import Logger

from downtime.printable import printable
from downtime.prober import Prober, ProberFailed
from downtime.probing import Report
from downtime.settings import Environment
from steps.shared.names import ServiceName

LOG = Logger()

T = TypeVar("T")


class Probes(BuildbotService):  # type: ignore[misc]
    """See `steps.shared.services.Probes`."""

    name = ServiceName.PROBES.value
    patience_seconds = 3.0  # a prober starts in 0.3 s; longer: a deployment stands still for a figure

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._probers: dict[int, Prober] = {}  # by build
        self._seen: dict[int, Report] = {}     # of those that have ended

    async def stopService(self) -> None:
        await DeferredList([self.release(build_id) for build_id in {*self._probers, *self._seen}])
        await super().stopService()

    def start(self, build_id: int, environment: Environment) -> Deferred[None]:
        if not environment.probe:
            return succeed(None)
        try:
            prober = self._probers[build_id] = Prober.launch(environment.target)
        except OSError as error:  # no process or file descriptor to be had
            _tell(build_id, str(error))
            return succeed(None)
        return Deferred.fromCoroutine(self._ask(build_id, prober, prober.measuring())).addCallback(lambda _: None)

    def mark(self, build_id: int) -> Deferred[None]:
        prober = self._probers.get(build_id)
        if prober is None:
            return succeed(None)
        return Deferred.fromCoroutine(self._ask(build_id, prober, prober.report())).addCallback(lambda _: None)

    def finish(self, build_id: int) -> Deferred[Report | None]:
        return Deferred.fromCoroutine(self._finish(build_id))

    async def _finish(self, build_id: int) -> Report | None:
        prober = self._probers.get(build_id)
        if prober is not None:
            report = await self._ask(build_id, prober, prober.stop())
            if report is not None and self._probers.pop(build_id, None) is prober:
                self._seen[build_id] = report
        return self._seen.get(build_id)

    def release(self, build_id: int) -> Deferred[None]:
        return Deferred.fromCoroutine(self._release(build_id))

    async def _release(self, build_id: int) -> None:
        self._seen.pop(build_id, None)
        prober = self._probers.pop(build_id, None)
        if prober is not None:
            await prober.kill()

    async def _ask(self, build_id: int, prober: Prober, answer: Coroutine[Any, Any, T]) -> T | None:
        """The prober's answer; None where there is none in time, and then no prober is left either."""
        from twisted.internet import reactor

        try:
            return await Deferred.fromCoroutine(answer).addTimeout(self.patience_seconds, reactor)
        except Expired:
            reason = f"the prober has not answered within {self.patience_seconds:g} s"
        except ProberFailed as error:
            reason = str(error)
        if self._probers.get(build_id) is prober:  # else it was ended by us
            del self._probers[build_id]
            _tell(build_id, reason)
        await prober.kill()
        return None


def _tell(build_id: int, reason: str) -> None:
    LOG.warn("build {build}: {reason}; the outage is not measured as a client sees it", build=build_id,
             reason=printable(reason))

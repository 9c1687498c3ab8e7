"""The service that writes down the end of an attempt that no build can: its request was cancelled before it had one.

Without it the pages would show such an attempt as going on, for ever. It looks whenever Buildbot completes a request,
and at the master's start at those that were completed while nobody could write.
"""

from __future__ import annotations

from typing import Any

from buildbot.reporters.utils import getURLForBuildrequest
from buildbot.util.service import BuildbotService
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from downtime.history.events import Answer, Ended, Outcome
from downtime.history.journey import Attempt
from master import leadership
from steps.shared import happenings
from steps.shared.names import ServiceName

LOG = Logger()

CANCELLED_EARLY = "its request was cancelled before it had begun"
JOIN_SECONDS = 0.1
NOBODY_WROTE = "it has ended, and the buildmaster could not write down how"


class LooseEnds(BuildbotService):  # type: ignore[misc]
    """In the state database a request that is complete is never built again."""

    name = "fastdowntime-loose-ends"
    _consumer: Any = None
    _joining: Any = None

    async def startService(self) -> None:
        await super().startService()
        self._consumer = await self.master.mq.startConsuming(self._completed, ("buildrequests", None, "complete"))
        self._join()

    async def stopService(self) -> None:
        if self._joining is not None:
            self._joining.cancel()
            self._joining = None
        if self._consumer is not None:
            self._consumer.stopConsuming()
            self._consumer = None
        await super().stopService()

    def _join(self) -> None:
        """The journal may be started after this service."""
        self._joining = None
        if self._journal is None:
            self._joining = self.master.reactor.callLater(JOIN_SECONDS, self._join)
        elif leadership.leads(self.master):
            self.lead()

    def lead(self) -> None:
        """What ended while nobody could write; called again where this buildmaster takes over from another."""
        Deferred.fromCoroutine(self._look_back()).addErrback(lambda why: LOG.failure("looking back", failure=why))

    def _completed(self, key: tuple[str, ...], message: dict[str, Any]) -> None:
        if not leadership.leads(self.master):
            return
        # a build has written down its own end before Buildbot completes its request
        for patch_id, attempt in self._open():
            if attempt.request_id == int(key[1]):
                self._end(patch_id, attempt, CANCELLED_EARLY if attempt.asked is None else NOBODY_WROTE)

    async def _look_back(self) -> None:
        await self._journal.ready()
        for patch_id, attempt in self._open():
            request = await self.master.data.get(("buildrequests", attempt.request_id))
            if (request is None or request["complete"]) and (patch_id, attempt) in self._open():
                self._end(patch_id, attempt, NOBODY_WROTE)

    def _end(self, patch_id: str, attempt: Attempt, sentence: str) -> None:
        self._journal.note(Ended(
            at=happenings.now(), patch_id=patch_id, request_id=attempt.request_id,
            build_id=attempt.asked.build_id if attempt.asked is not None else 0,
            build_url=attempt.build_url or getURLForBuildrequest(self.master, attempt.request_id),
            outcome=_outcome(attempt), sentence=sentence))

    def _open(self) -> list[tuple[str, Attempt]]:
        journeys = self._journal.journeys() if self._journal is not None else {}
        return [(patch_id, attempt) for patch_id, journey in journeys.items()
                for attempt in journey.attempts if attempt.ended is None]

    @property
    def _journal(self) -> Any:
        return self.master.service_manager.namedServices.get(ServiceName.JOURNAL)


def _outcome(attempt: Attempt) -> Outcome:
    if attempt.closed is not None:
        return Outcome.UNKNOWN
    rejected = any(each.answer is Answer.REJECTED for each in attempt.decisions)
    return Outcome.REJECTED if rejected else Outcome.STOPPED

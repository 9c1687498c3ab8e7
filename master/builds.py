"""The builds: what they say of themselves, and that a deployment's last word is final and leaves nothing held.

Buildbot builds a request again when a worker is lost, when the master stops, and after a crash. That is right for
what waits for an approval, and never for what has begun: once `connections_prevented` is set, RETRY becomes FAILURE.

Buildbot 4.3.0 leaves a build as it is where the state database is away just when a step or the build ends: it goes on
for ever, and keeps its worker, its turn on the database, and its background tasks. Ours end when the state answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from buildbot.process.build import Build
from buildbot.process.buildstep import BuildStep
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.python import log

from downtime.history.events import Answer, Ended, Outcome
from downtime.history.journey import Attempt
from downtime.settings import Settings
from steps.shared import happenings, last_words
from steps.shared.names import Property, ServiceName
from steps.shared.results import CANCELLED, FAILURE, RETRY, WARNINGS, worst

SHUTDOWN = "Master Shutdown"  # Buildbot's reason for a Stop
AGAIN_SECONDS = 2.0           # between questions to a state database that is away
STATE_AWAY = "the state database was away when one of its steps ended"


class RunbookBuild(Build):  # type: ignore[misc]
    """A build whose headline is what its steps have said, without Buildbot's "build successful" before it."""

    results: int | None
    text: tuple[str, ...] | list[str] = ()  # Buildbot sets it when the build has got a worker

    def buildFinished(self, text: list[str], results: int) -> Deferred[None]:
        return Deferred.fromCoroutine(self._finished(text, results))

    async def _finished(self, text: list[str], results: int) -> None:
        await self._state_answers()
        await super().buildFinished(["; ".join(self.text)] if self.text else text, results)

    def _start_next_step_impl(self, step: BuildStep) -> Deferred[None]:
        return Deferred.fromCoroutine(self._step(step))

    async def _step(self, step: BuildStep) -> None:
        try:
            await super()._start_next_step_impl(step)
        except Exception as error:  # Buildbot has given up: it could not even write down that something went wrong
            log.msg(f"{self}: {STATE_AWAY}: {error!r}")
            if not self.finished:
                await self.buildFinished([STATE_AWAY], RETRY)

    async def _state_answers(self) -> None:
        """Returns when it does, or when the master stops: its next start ends the build then."""
        while not self.master.botmaster.shuttingDown and self.master.running:
            try:
                await self.master.db.builds.getBuild(self.buildid)
                return
            except Exception as error:  # whatever the database driver raises
                log.msg(f"{self}: its end cannot be written down yet: {error!r}")
                await task.deferLater(self.master.reactor, AGAIN_SECONDS, lambda: None)


class DeploymentBuild(RunbookBuild):
    """Build class of `production` and `live`."""

    fragile: tuple[str, ...] = ()  # the users whose transactions were a reason not to begin; its steps know
    settings: Settings | None = None  # where it deploys to several databases; its steps know

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
        if results == CANCELLED and not self.getProperty(Property.BEGUN) and self.stopped_reason == SHUTDOWN:
            self.results = results = RETRY  # a step that had hardly begun could not say so itself
        if results != RETRY:
            try:
                await self._note_ended(results, text)
            except Exception:
                log.err(None, f"{self}: writing down its end")
        self._service(ServiceName.TURNS).wake()  # last of all: whoever waited for this one looks at the ledger
        await super().buildFinished(text, results)

    def _final(self, results: int) -> int:
        """What was stopped, or lost its worker, when its patch was in already has deployed it."""
        if results in (RETRY, CANCELLED) and self.getProperty(Property.APPLIED):
            return WARNINGS
        # EXCEPTION would be truer, but with a lost worker Buildbot then keeps the request claimed for ever
        return FAILURE if results == RETRY else results

    async def _release(self) -> None:
        self._service(ServiceName.PROBES).release(self.buildid).addErrback(log.err, "while ending a prober")
        self._service(ServiceName.APPROVALS).ended(self.buildid)
        self._service(ServiceName.TURNS).end(self.buildid)
        outages = self._service(ServiceName.OUTAGES)
        outcome = outages.outcome(self.buildid)  # None where `Record` has told it
        await outages.release(self.buildid)
        await self._state_answers()
        try:
            if outcome is not None:
                await self._tell(outcome)
        finally:  # a state database that is away lets nobody tell anything, and tasks are resumed all the same
            await self._service(ServiceName.QUIESCENCE).settle(self.buildid)

    async def _tell(self, outcome: Deferred[Any]) -> None:
        """With its worker Buildbot has lost the steps to come, and would say no more than "lost connection"."""
        end = await last_words.end_of(outcome)
        if self.settings is not None:
            end = last_words.of_all(end, self._patch, self.settings)
        self.text = [last_words.headline(self._patch, end)]
        self.setProperty(Property.APPLIED, last_words.is_applied(end), type(self).__name__)
        journey = self._journal.journey(self._patch)
        if not happenings.has_ended(journey, self._request_id):
            await self._note(lambda url: happenings.ended(
                self._patch, end, request_id=self._request_id, build_id=self.buildid, build_url=url,
                journey=journey))

    async def _note_ended(self, results: int, text: list[str]) -> None:
        """How it ended where no step has said so: refused, rejected, stopped, or by a master that died before it."""
        journey = self._journal.journey(self._patch)
        attempts = journey.attempts if journey is not None else ()
        attempt = next((each for each in attempts if each.request_id == self._request_id), None)
        if attempt is None or attempt.ended is not None:
            return
        outcome = _outcome(attempt, results, applied=self.getProperty(Property.APPLIED))
        await self._note(lambda url: Ended(
            at=happenings.now(), patch_id=self._patch, request_id=self._request_id, build_id=self.buildid,
            build_url=url, outcome=outcome, sentence="; ".join(self.text or text), fragile=self.fragile))

    async def _note(self, event: Callable[[str], Ended]) -> None:
        self._journal.note(event(await self.getUrl()))

    @property
    def _journal(self) -> Any:
        return self._service(ServiceName.JOURNAL)

    @property
    def _patch(self) -> str:
        return str(self.getProperty(Property.PATCH) or "")

    @property
    def _request_id(self) -> int:
        return int(self.requests[0].id)

    def _service(self, name: ServiceName) -> Any:
        return self.master.service_manager.namedServices[name]


def _outcome(attempt: Attempt, results: int, *, applied: bool | None) -> Outcome:
    """`applied` is None where no step could say it."""
    if applied:
        return Outcome.DEPLOYED
    if attempt.decisions and attempt.decisions[-1].answer is Answer.REJECTED:
        return Outcome.REJECTED
    if attempt.closed is not None or applied is not None:
        return Outcome.UNKNOWN if applied is None else Outcome.ABORTED
    return Outcome.STOPPED if results == CANCELLED else Outcome.REFUSED

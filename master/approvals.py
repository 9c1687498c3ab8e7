"""The service that keeps the deployments waiting for somebody's word, and delivers it.

Who waits is in memory: a request belongs to a running build, and a build does not outlive its master. What was decided
is in the journal before it counts: after a restart Buildbot builds what waited again, under a new number, and it waits
for no word that it has got already. An approval is of one attempt (a build request) and one digest, and only until the
attempt has begun to touch anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from buildbot.util.service import BuildbotService
from twisted.internet.defer import Deferred, DeferredLock

from downtime import approval
from downtime.approval import Approval, Decision, Granted, NotAccepted, Outcome, Rejected, Request
from downtime.evidence import Evidence
from downtime.history.events import Answer, Asked, Decided, Voided
from downtime.history.journey import Attempt
from downtime.lanes import Lane
from downtime.settings import Settings
from steps.shared.names import ServiceName
from steps.shared.services import Cleared, Journal, Renewed, Word

INTERRUPTED = "the buildmaster ended when its turn had come, and nobody knows what has been done since"


@dataclass(slots=True)
class _Waiting:
    request: Request
    answer: Deferred[Word | None]


class Approvals(BuildbotService):  # type: ignore[misc]
    """See `steps.shared.services.Approvals`."""

    name = ServiceName.APPROVALS.value

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._waiting: dict[int, _Waiting] = {}
        self._cleared: dict[str, Request] = {}  # by patch: on its way with every word it needs
        self._deciding = DeferredLock()     # one word after the other: the second may not be needed any more

    def reconfigService(self, settings: Settings) -> None:
        self._rules = settings.approval
        for waiting in list(self._waiting.values()):
            if waiting.request.approvals_needed != self.needed:
                self._waiting.pop(waiting.request.build_id).answer.callback(Renewed())

    @property
    def needed(self) -> int:
        return self._rules.count

    def ask(self, request: Request, *, lane: Lane) -> Deferred[Word | None]:
        answer: Deferred[Word | None] = Deferred()
        attempt = self._attempt(request)
        if (rejected := _rejection(attempt)) is not None:
            answer.callback(rejected)  # the buildmaster ended before the build could
            return answer
        if attempt is not None and attempt.turn_came is not None and attempt.granted:
            self._note_void(request, INTERRUPTED)
        self._waiting[request.build_id] = _Waiting(request, answer)
        self._note_asked(request, lane)
        granted = self._granted(request)
        if approval.suffice(request, granted):
            self._clear(request, granted)
        return answer

    def withdraw(self, build_id: int) -> None:
        """Without effect on a request that was decided about."""
        if build_id in self._waiting:
            self._waiting.pop(build_id).answer.callback(None)

    def ended(self, build_id: int) -> None:
        self.withdraw(build_id)
        self._cleared = {patch: each for patch, each in self._cleared.items() if each.build_id != build_id}

    def waiting(self, build_id: int) -> Request | None:
        found = self._waiting.get(build_id)
        return found.request if found else None

    def waiting_for(self, patch_id: str) -> Request | None:
        return next((each.request for each in self._waiting.values() if each.request.patch_id == patch_id), None)

    def on_its_way(self, patch_id: str) -> Request | None:
        return self._cleared.get(patch_id)

    async def decide(self, decision: Decision, *, earlier: tuple[str, ...], build_url: str = "") -> Outcome:
        outcome: Outcome = await self._deciding.run(
            lambda: Deferred.fromCoroutine(self._decide(decision, earlier, build_url)))
        return outcome

    def renew(self, evidence: Evidence) -> None:
        """The patch was rehearsed again: whoever decides has to look at that, and what was approved counts no more."""
        request = self.waiting_for(evidence.patch_id)
        if request is not None and request.digest != evidence.digest:
            if self._granted(request):
                self._note_void(request, f"the patch was rehearsed again: evidence {request.digest[:12]} became "
                                         f"{evidence.digest[:12]}")
            self._waiting.pop(request.build_id).answer.callback(Renewed())

    async def _decide(self, decision: Decision, earlier: tuple[str, ...], build_url: str) -> Outcome:
        request = self.waiting(decision.build_id)
        if request is None:
            return NotAccepted(by="", reason=f"no deployment waits under build {decision.build_id}")
        granted = self._granted(request)
        before = tuple(patch for patch in earlier if self.on_its_way(patch) is None)
        outcome = approval.judge(request, decision, granted=granted, earlier=before)
        # from here on it is somebody's word, whatever becomes of this master
        await self._journal.record(_decided(request, outcome, decision, build_url))
        if self.waiting(request.build_id) is request:
            self._deliver(request, outcome)
        return outcome

    def _deliver(self, request: Request, outcome: Outcome) -> None:
        if isinstance(outcome, Rejected):
            self._waiting.pop(request.build_id).answer.callback(outcome)
        elif isinstance(outcome, Granted) and approval.suffice(request, granted := self._granted(request)):
            self._clear(request, granted)

    def _clear(self, request: Request, granted: tuple[Approval, ...]) -> None:
        self._cleared[request.patch_id] = request
        self._waiting.pop(request.build_id).answer.callback(Cleared(
            approvals=granted, override=any(each.override for each in granted)))

    def _granted(self, request: Request) -> tuple[Approval, ...]:
        """What has been granted to this attempt for this digest, and still counts."""
        attempt = self._attempt(request)
        if attempt is None:
            return ()
        granted = [Approval(by=each.by, at=each.at, signoff=each.signoff, override=each.answer is Answer.OVERRIDDEN)
                   for each in attempt.granted if each.digest == request.digest]
        return approval.fresh(granted, now=datetime.now(UTC), expires_hours=self._rules.expires_hours)

    def _attempt(self, request: Request) -> Attempt | None:
        journey = self._journal.journey(request.patch_id)
        attempts = journey.attempts if journey is not None else ()
        return next((each for each in attempts if each.request_id == request.request_id), None)

    def _note_asked(self, request: Request, lane: Lane) -> None:
        self._journal.note(Asked(
            at=datetime.now(UTC), patch_id=request.patch_id, request_id=request.request_id, build_id=request.build_id,
            build_url=request.build_url, digest=request.digest, lane=lane,
            requested_by=tuple(sorted(request.requested_by)), needs_signoff=request.needs_signoff,
            approvals_needed=request.approvals_needed))

    def _note_void(self, request: Request, reason: str) -> None:
        self._journal.note(Voided(at=datetime.now(UTC), patch_id=request.patch_id, request_id=request.request_id,
                                  reason=reason))

    @property
    def _journal(self) -> Journal:
        return cast(Journal, self.master.service_manager.namedServices[ServiceName.JOURNAL])


def _rejection(attempt: Attempt | None) -> Rejected | None:
    decisions = attempt.decisions if attempt is not None else ()
    rejected = next((each for each in decisions if each.answer is Answer.REJECTED), None)
    return Rejected(by=rejected.by, reason=rejected.reason) if rejected is not None else None


def _decided(request: Request, outcome: Outcome, decision: Decision, build_url: str) -> Decided:
    if isinstance(outcome, Granted):
        answer = Answer.OVERRIDDEN if outcome.override else Answer.GRANTED
        sentence = f"{outcome.missing} more needed" if outcome.missing else "approved"
    elif isinstance(outcome, Rejected):
        answer, sentence = Answer.REJECTED, "rejected"
    else:
        answer, sentence = Answer.NOT_ACCEPTED, outcome.reason
    return Decided(
        at=datetime.now(UTC), patch_id=request.patch_id, request_id=request.request_id, build_id=request.build_id,
        digest=decision.digest, by=outcome.by, answer=answer, reason=decision.reason.strip(), sentence=sentence,
        signoff=isinstance(outcome, Granted) and outcome.signoff, build_url=build_url)

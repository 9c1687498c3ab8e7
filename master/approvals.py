"""The service that keeps the deployments waiting for somebody's word, and delivers it.

In memory only: a request belongs to a running build, and a build does not outlive its master. After a restart
Buildbot builds what waited again, and it waits again, under a new number.
"""

from __future__ import annotations

from typing import Any

from buildbot.util.service import BuildbotService
from twisted.internet.defer import Deferred

from downtime import approval
from downtime.approval import Decision, Granted, NotAccepted, Outcome, Rejected, Request
from steps.shared.names import ServiceName


class Approvals(BuildbotService):  # type: ignore[misc]
    """See `steps.shared.services.Approvals`."""

    name = ServiceName.APPROVALS.value

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._waiting: dict[int, tuple[Request, Deferred[Outcome | None]]] = {}

    def ask(self, request: Request) -> Deferred[Outcome | None]:
        answer: Deferred[Outcome | None] = Deferred()
        self._waiting[request.build_id] = (request, answer)
        return answer

    def withdraw(self, build_id: int) -> None:
        """Without effect on a request that was decided about."""
        if build_id in self._waiting:
            self._answer(build_id, None)

    def waiting(self, build_id: int) -> Request | None:
        found = self._waiting.get(build_id)
        return found[0] if found else None

    def waiting_for(self, patch_id: str) -> Request | None:
        return next((request for request, _ in self._waiting.values() if request.patch_id == patch_id), None)

    def decide(self, decision: Decision, *, earlier: tuple[str, ...]) -> Outcome:
        """Judge the decision and, where it counts, deliver it: once."""
        request = self.waiting(decision.build_id)
        if request is None:
            return NotAccepted(reason=f"no deployment waits under build {decision.build_id}")
        outcome = approval.judge(request, decision, earlier=earlier)
        if isinstance(outcome, (Granted, Rejected)):
            self._answer(decision.build_id, outcome)
        return outcome

    def _answer(self, build_id: int, outcome: Outcome | None) -> None:
        _, answer = self._waiting.pop(build_id)
        answer.callback(outcome)

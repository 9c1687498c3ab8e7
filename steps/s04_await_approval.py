"""Await approval: shows what would run and how its rehearsal went, and waits until somebody else has decided."""

from __future__ import annotations

from downtime import errors, evidence_text
from downtime.approval import Granted, Rejected, Request
from steps.shared import errands
from steps.shared.base import RunbookStep
from steps.shared.errands import Errand
from steps.shared.names import FORCED_BY, BuilderName, Property
from steps.shared.results import RETRY, SUCCESS

HOW_TO_DECIDE = """\
{evidence}

To decide, open {url} and give:
  build     {build}
  digest    {digest}
  decision  approve, or reject with a reason
Who asked for the deployment or wrote the patch may not approve it: {requested_by}.
"""


class RejectedByApprover(errors.Refused):
    """Somebody said no."""

    happened = "rejected by {by}: {reason}"
    next_step = "talk to {by}; ask for the deployment again when the matter is settled"


class AwaitApproval(RunbookStep):
    """Ends with the decision, with Stop, or with the master."""

    name = "await approval"

    async def act(self) -> int:
        errand = await errands.read(self)
        request = Request(
            build_id=self.build_id, build_url=await self.build.getUrl(), patch_id=errand.patch.id,
            digest=errand.evidence.digest, requested_by=errand.requested_by,
            needs_signoff=errand.evidence.needs_signoff)
        decided = self.approvals.ask(request)
        try:
            await self._show(errand, request)
            outcome = None if self.stopped else await decided
        finally:
            self.approvals.withdraw(self.build_id)
        if outcome is None:
            return self._undecided(errand)
        if isinstance(outcome, Rejected):
            raise RejectedByApprover(by=outcome.by, reason=outcome.reason)
        assert isinstance(outcome, Granted), "what is not accepted never gets here"
        self.setProperty(Property.APPROVED_BY, outcome.by, self.name)
        self.setProperty(Property.APPROVED_DIGEST, request.digest, self.name)
        self.say(f"approved by {outcome.by}" + (f": {outcome.reason}" if outcome.reason else ""))
        return SUCCESS

    def stopping(self, reason: str) -> None:
        self.approvals.withdraw(self.build_id)

    def _undecided(self, errand: Errand) -> int:
        result = self.result_when_stopped()
        again = "; it will wait again when the buildmaster is back" if result == RETRY else ""
        self.say(f"{errand.patch.id} was not decided about: {self.stop_reason}{again}")
        return result

    async def _show(self, errand: Errand, request: Request) -> None:
        signoff = "; needs sign-off" if request.needs_signoff else ""
        self.say(f"waiting for approval of {errand.patch.id} ({errand.evidence.seconds:.3f} s on staging, "
                 f"{errand.evidence.verdict}{signoff})")
        url = await self._decision_url()
        await self.addURL("approve or reject", url)
        await self.write("evidence", HOW_TO_DECIDE.format(
            evidence=evidence_text.text(errand.evidence), url=url, build=request.build_id, digest=request.digest,
            requested_by=", ".join(sorted(request.requested_by))))
        await self.write("patch.sql", errand.patch.sql)

    async def _decision_url(self) -> str:
        builder_id = await self.master.data.updates.findBuilderId(BuilderName.APPROVE.value)
        return (f"{self.master.config.buildbotURL}#/builders/{builder_id}/force/{FORCED_BY[BuilderName.APPROVE]}")

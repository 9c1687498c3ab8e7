"""Await approval: shows what would run and how its rehearsal went, and waits until others have decided.

Where the patch is rehearsed again meanwhile the new evidence is shown, and what was approved counts no longer. What was
approved before a restart of the buildmaster counts.
"""

from __future__ import annotations

from downtime import errors, evidence_text
from downtime.approval import Rejected, Request
from downtime.history.events import Approved
from steps.shared import errands, happenings
from steps.shared.base import RunbookStep
from steps.shared.errands import Errand
from steps.shared.names import FORCED_BY, BuilderName, Property
from steps.shared.results import RETRY, SUCCESS
from steps.shared.services import Cleared, Renewed, Word

SHOWN = 12  # characters of a digest, enough to tell two apart

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
    """Ends with the last decision that is needed, with Stop, or with the master."""

    name = "await approval"
    _shown = False

    async def act(self) -> int:
        word: Word | None = Renewed()
        while isinstance(word, Renewed):
            errand = await errands.read(self)
            word = await self._ask(errand)
        if word is None:
            return self._undecided(errand)
        if isinstance(word, Rejected):
            raise RejectedByApprover(by=word.by, reason=word.reason)
        self._let_in(errand, word)
        return SUCCESS

    def stopping(self, reason: str) -> None:
        self.approvals.withdraw(self.build_id)

    async def _ask(self, errand: Errand) -> Word | None:
        request = Request(
            request_id=self.request_id, build_id=self.build_id, build_url=await self.build.getUrl(),
            patch_id=errand.patch.id, digest=errand.evidence.digest, requested_by=errand.requested_by,
            needs_signoff=errand.evidence.needs_signoff, approvals_needed=self.approvals.needed)
        await self.set_durably(Property.DIGEST, request.digest)  # whoever decides reads it there
        answer = self.approvals.ask(request, lane=errand.patch.lane)
        try:
            if not answer.called:  # else enough had been approved before a restart
                await self._show(errand, request)
            return None if self.stopped else await answer
        finally:
            self.approvals.withdraw(self.build_id)

    def _let_in(self, errand: Errand, cleared: Cleared) -> None:
        self.setProperty(Property.APPROVED_BY, cleared.by, self.name)
        self.setProperty(Property.APPROVED_DIGEST, errand.evidence.digest, self.name)
        self.setProperty(Property.APPROVED_AT, [each.at.isoformat() for each in cleared.approvals], self.name)
        self.journal.note(Approved(
            at=happenings.now(), patch_id=errand.patch.id, request_id=self.request_id, override=cleared.override,
            by=tuple(each.by for each in cleared.approvals), signoff=any(each.signoff for each in cleared.approvals)))
        self.say(f"{'let in by an emergency override of' if cleared.override else 'approved by'} {cleared.by}")

    def _undecided(self, errand: Errand) -> int:
        result = self.result_when_stopped()
        again = "; it will wait again when the buildmaster is back" if result == RETRY else ""
        self.say(f"{errand.patch.id} was not decided about: {self.stop_reason}{again}")
        return result

    async def _show(self, errand: Errand, request: Request) -> None:
        signoff = "; needs sign-off" if request.needs_signoff else ""
        several = f"; {request.approvals_needed} approvals needed" if request.approvals_needed > 1 else ""
        self.say(f"waiting for approval of {errand.patch.id} ({errand.evidence.seconds:.3f} s on staging, "
                 f"{errand.evidence.verdict}{signoff}{several})")
        url = await self._decision_url()
        name = f"evidence {request.digest[:SHOWN]}" if self._shown else "evidence"
        await self.write(name, HOW_TO_DECIDE.format(
            evidence=evidence_text.text(errand.evidence), url=url, build=request.build_id, digest=request.digest,
            requested_by=", ".join(sorted(request.requested_by))))
        if not self._shown:
            await self.addURL("approve or reject", url)
            await self.write("patch.sql", errand.patch.sql)
        self._shown = True

    async def _decision_url(self) -> str:
        builder_id = await self.master.data.updates.findBuilderId(BuilderName.APPROVE.value)
        return (f"{self.master.config.buildbotURL}#/builders/{builder_id}/force/{FORCED_BY[BuilderName.APPROVE]}")

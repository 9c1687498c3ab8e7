"""Decide: one person's word about one waiting deployment. What does not count changes nothing and says why."""

from __future__ import annotations

from downtime import errors
from downtime.approval import Decision, Granted, NotAccepted, Rejected, Request, Verb
from downtime.settings import Role
from steps.shared import asking
from steps.shared.base import RunbookStep
from steps.shared.names import BuilderName, Property
from steps.shared.results import SUCCESS

SHORTEST_DIGEST = 12  # characters: what the pages show; 48 bits are no accident


class DecisionNotAccepted(errors.Refused):
    """The decision does not count; the deployment goes on waiting."""

    happened = "not accepted: {reason}"
    next_step = "look at the waiting build again; its log `evidence` has the number and the digest to give"


class Decide(RunbookStep):
    """The only step of `approve`: every decision is a build, with its name and its reason."""

    name = "decide"

    async def act(self) -> int:
        names = await asking.who_asked(self, BuilderName.APPROVE, {Role.APPROVER, Role.SIGNOFF})
        request = self._request()
        decision = Decision(
            build_id=request.build_id, digest=self._digest(request), by=names,
            roles=self.settings.people.roles_of(*names), reason=str(self.getProperty(Property.REASON) or ""),
            verb=Verb(str(self.getProperty(Property.DECISION))))
        await self.addURL(f"{request.patch_id}", request.build_url)
        outcome = await self.approvals.decide(decision, earlier=await self._earlier(request),
                                              build_url=await self.build.getUrl())
        if isinstance(outcome, NotAccepted):
            raise DecisionNotAccepted(reason=outcome.reason)
        because = f": {outcome.reason}" if outcome.reason else ""
        sentence = f"{request.patch_id} {_done(outcome)} by {outcome.by}{because}"
        self.say(sentence, headline=sentence)
        return SUCCESS

    def _request(self) -> Request:
        given = str(self.getProperty(Property.BUILD) or "").strip()
        request = self.approvals.waiting(int(given)) if given.isascii() and given.isdigit() else None
        if request is None:
            raise DecisionNotAccepted(reason=f"no deployment waits under build {given or '(none)'}; it may have ended, "
                                             "or the buildmaster was restarted and it waits under a new number")
        return request

    def _digest(self, request: Request) -> str:
        """The whole digest where its beginning was given."""
        given = str(self.getProperty(Property.DIGEST) or "").strip()
        return request.digest if len(given) >= SHORTEST_DIGEST and request.digest.startswith(given) else given

    async def _earlier(self, request: Request) -> tuple[str, ...]:
        """What must be in production before; asked anew, because a deployment may have ended just now."""
        inventory = (await self.patches.tip()).inventory
        found = await self.read_plan(self.environment, inventory)
        patch = inventory.find(request.patch_id)
        return tuple(each.id for each in found.before(patch)) if patch else ()


def _done(outcome: Granted | Rejected) -> str:
    if isinstance(outcome, Rejected):
        return "rejected"
    if outcome.override:
        return "let in by an emergency override"
    return "approved" + (f" ({outcome.missing} more needed)" if outcome.missing else "")

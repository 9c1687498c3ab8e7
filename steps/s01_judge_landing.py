"""Judge the landing: may what has landed together be rehearsed? A rejected landing turns the build red."""

from __future__ import annotations

from downtime import errors
from downtime.landing import Rejected
from downtime.settings import Role
from steps.shared import asking, landings
from steps.shared.base import RunbookStep
from steps.shared.names import BuilderName, Property
from steps.shared.results import SUCCESS


class LandingRejected(errors.Refused):
    """The landing breaks the policy. What it brings is held back."""

    happened = "rejected: {text}"
    next_step = ("revert the commit and land its parts one after the other; or let a sign-off person force this builder"
                 " with `signoff_patch` and a reason")


class SignoffRefused(errors.Refused):
    happened = "{reason}"
    next_step = "let somebody of people.signoff force the builder, with the patch and a reason"


class JudgeLanding(RunbookStep):
    """First step of `staging`. After a rejected landing, too, the next step looks at everything that is pending."""

    name = "judge the landing"
    environment_name = "staging"

    async def act(self) -> int:
        names = await asking.who_asked(self, BuilderName.STAGING, {Role.OPERATOR, Role.SIGNOFF})
        self._judge_signoff(names)
        if names:
            self.say("nothing has landed: the rehearsal was asked for")
            return SUCCESS
        return await self._judge()

    def _judge_signoff(self, names: frozenset[str]) -> None:
        patch = str(self.getProperty(Property.SIGNOFF_PATCH) or "")
        if not patch:
            return
        if Role.SIGNOFF not in self.settings.people.roles_of(*names):
            raise SignoffRefused(reason="a sign-off counts only from somebody of people.signoff")
        if not str(self.getProperty(Property.REASON) or "").strip():
            raise SignoffRefused(reason=f"the sign-off of {patch} has no reason")
        self.setProperty(Property.SIGNED_OFF, patch, self.name)

    async def _judge(self) -> int:
        tip = await self.patches.tip()
        commit = str(self.getProperty("revision") or tip.commit)
        applied = await self.read_ledger(self.environment)
        changes, verdict = await landings.judge(self.patches, commit, self.settings, applied)
        await self.write("files", "\n".join(f"{each.change:<9} {' -> '.join(each.paths)}" for each in changes))
        if isinstance(verdict, Rejected):
            self.haltOnFailure = False  # what was pending before it is not held back by it
            raise LandingRejected(text=" ".join(reason.text for reason in verdict.reasons))
        self.say(verdict.sentence)
        return SUCCESS

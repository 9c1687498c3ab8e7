"""Judge the landing: may what has landed together be rehearsed? A rejected landing turns the build red."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from downtime import errors, landing, lint
from downtime.findings import Finding
from downtime.history.events import HeldBack, Landed, Withdrawn
from downtime.landing import NotDatabase, Rejected, RejectionKind
from downtime.patches import Patch
from downtime.settings import Role
from steps.shared import asking, happenings, landings
from steps.shared.base import RunbookStep
from steps.shared.names import BuilderName, Property
from steps.shared.results import SUCCESS
from steps.shared.services import Snapshot

SIGNOFF = "let a sign-off person force this builder with `signoff_patch` and a reason"


class LandingRejected(errors.Refused):
    """The landing breaks the policy. What it brings is held back."""

    happened = "rejected: {text}"
    next_step = "{advice}"

    @classmethod
    def over(cls, verdict: Rejected) -> LandingRejected:
        return cls(text=" ".join(reason.text for reason in verdict.reasons),
                   advice=what_next({reason.kind for reason in verdict.reasons}))


def what_next(kinds: Collection[RejectionKind]) -> str:
    """What whoever landed it does about all reasons together; a sign-off where it is enough for each of them."""
    if landings.HOLDING & set(kinds):
        steps = ["revert the commit and land its parts one after the other"]
    elif RejectionKind.LINT in kinds:
        steps = ["correct the patch, or give the reasons in it where the approver will read them, and land that"]
    else:
        steps = ["land a correction, and the patch is rehearsed"]
    if landings.HOLDING | {RejectionKind.LINT} >= set(kinds):
        steps.append(f"or {SIGNOFF}")
    return "; ".join(steps)


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
        landed = () if isinstance(verdict, NotDatabase) else verdict.patches
        found = await landings.findings(landed, self.settings, reactor=self.master.reactor)
        await self._show(landed, found)
        verdict = landing.with_lint(verdict, found)
        await self._note_landed(landed, commit)
        self._note_withdrawn(tip)
        if isinstance(verdict, Rejected):
            self.haltOnFailure = False  # what was pending before it is not held back by it
            rejected = LandingRejected.over(verdict)
            for patch in landed:
                self.journal.note(HeldBack(at=happenings.now(), patch_id=patch.id, reason=str(rejected),
                                           build_url=await self.build.getUrl()))
            raise rejected
        self.say(verdict.sentence)
        return SUCCESS

    async def _note_landed(self, landed: Sequence[Patch], commit: str) -> None:
        for patch in landed:
            authors = await self.patches.repository.authors(commit, patch.path)
            self.journal.note(Landed(at=happenings.now(), patch_id=patch.id, commit=commit,
                                     authors=tuple(sorted(authors)), build_url=await self.build.getUrl()))

    def _note_withdrawn(self, tip: Snapshot) -> None:
        here = {patch.id for patch in tip.inventory.patches}
        for patch_id, journey in self.journal.journeys().items():
            if patch_id not in here and journey.in_production_at is None and journey.withdrawn is None:
                self.journal.note(Withdrawn(at=happenings.now(), patch_id=patch_id, commit=tip.commit))

    async def _show(self, landed: Sequence[Patch], found: Mapping[str, Sequence[Finding]]) -> None:
        lines = [line for patch in landed for line in lint.lines(patch.path, found.get(patch.id, ()))]
        if lines:
            await self.write("lint", "\n".join(lines))

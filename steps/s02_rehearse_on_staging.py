"""Rehearse on staging: every pending patch, one at a time, with all phases of production, each of them timed.

Stops at the first patch that is held back or fails: those behind it wait, because order matters. Each one that was
rehearsed is offered to production at once, so that a later failure takes nothing back.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

from downtime import deployments, errors, evidence_text, phases, sessions
from downtime.evidence import Evidence
from downtime.history import events
from downtime.ledger import Origin
from downtime.patches import Inventory, Patch
from downtime.plan import plan
from downtime.rehearsal import Rehearsal, Rehearsing
from steps.shared import happenings, landings, offers, wording
from steps.shared.base import RunbookStep
from steps.shared.names import Property
from steps.shared.results import SUCCESS, WARNINGS

NO_IDENTIFIER = re.compile(r"[^.\w-]", re.ASCII)
LONGEST_NAME = 100  # characters of a patch's id; Buildbot's column takes 256


class HeldBack(errors.Refused):
    """A pending patch may not be rehearsed; those behind it wait."""

    happened = "{patch} is held back: {reason}{behind}"
    next_step = ("revert that landing, or let somebody of people.signoff force this builder with signoff_patch={patch}"
                 " and a reason")


class RehearseOnStaging(RunbookStep):
    """Looks at all that is pending on staging, whatever has landed: one landing may have freed another."""

    name = "rehearse on staging"
    environment_name = "staging"
    warnOnWarnings = True
    updateBuildSummaryPolicy = True  # what was rehearsed is the headline of a green build too

    def __init__(self, settings: Any, **keywords: Any) -> None:
        super().__init__(settings, **keywords)
        self._rehearsing: Rehearsing | None = None
        self._done: list[Evidence] = []

    async def act(self) -> int:
        inventory = (await self.patches.tip()).inventory
        found = plan(inventory, await self.read_ledger(self.environment))
        try:
            if not await self.my_turn():
                return self.result_when_stopped()
            for place, patch in enumerate(found.pending):
                if self.stopped:
                    return self.result_when_stopped()
                await self._one(inventory, patch, behind=len(found.pending) - place - 1)
        finally:
            await self.outages.release(self.build_id)
        await self._offer_again(inventory)
        self.say(self._summary())
        return WARNINGS if any(each.needs_signoff for each in self._done) else SUCCESS

    def stopping(self, reason: str) -> None:
        if self._rehearsing is not None:
            self._rehearsing.abort(reason)

    async def _one(self, inventory: Inventory, patch: Patch, *, behind: int) -> None:
        self.say(f"rehearsing {patch.id}")
        applied = await self.read_ledger(self.environment)
        held = await landings.why_held_back(self.patches, patch, self.settings, applied)
        signed_off = self._signed_off(patch)
        if held and not signed_off:
            raise HeldBack(patch=patch.id, reason=held, behind=f"; {behind} more behind it" if behind else "")
        authors = await self.patches.repository.authors(patch.commit, patch.path)
        origin = Origin(requested_by=", ".join(sorted(authors)), build_url=await self.build.getUrl())
        try:
            rehearsal = await self._rehearse(inventory, patch, origin, held=held, signed_off=signed_off)
        except errors.DowntimeError as error:
            await self._note_trouble(patch, error)
            raise
        evidence = rehearsal.evidence
        self.journal.note(happenings.rehearsed(evidence, authors=authors, build_url=await self.build.getUrl()))
        await self.evidence_store.keep(evidence)
        self.approvals.renew(evidence)
        self.turns.wake()  # what was approved may be something else now
        self._done.append(evidence)
        await self._show(rehearsal)
        await offers.offer(self, evidence, lane=patch.lane, authors=authors)

    async def _note_trouble(self, patch: Patch, error: errors.DowntimeError) -> None:
        if self.stopped or isinstance(error, errors.Aborted):
            return  # it says nothing about the patch
        kind = events.HeldBack if isinstance(error, errors.Refused) else events.FailedOnStaging
        self.journal.note(kind(at=happenings.now(), patch_id=patch.id, reason=wording.headline(error),
                               build_url=await self.build.getUrl()))

    async def _rehearse(self, inventory: Inventory, patch: Patch, origin: Origin, *, held: str,
                        signed_off: str) -> Rehearsal:
        progress: list[str] = []

        def note(line: str) -> None:
            progress.append(line)
            self.say(f"rehearsing {patch.id}: {line.splitlines()[0].strip()}" if line else f"rehearsing {patch.id}")

        reasons = (f"{held} ({signed_off})",) if held else ()
        try:
            self._rehearsing = Rehearsing(self.settings, await deployments.deployment(patch, origin),
                                          progress=note, reactor=self.master.reactor)
            self.outages.hold(self.build_id, self._rehearsing)
            return await self.outages.supervise(self.build_id, self._rehearsing.run(
                deployments.objections(inventory, patch), reasons=reasons, signed_off=signed_off))
        finally:
            self._rehearsing = None
            if progress:  # what is refused before it begins has none
                await self.write(f"{patch.id} progress", "\n".join(progress))

    def _signed_off(self, patch: Patch) -> str:
        """Who has let this patch onto staging whatever speaks against it; empty where nobody has."""
        if self.getProperty(Property.SIGNED_OFF) not in (patch.id, patch.path):
            return ""
        return f"signed off for staging by {self.getProperty('owner')}: {self.getProperty(Property.REASON)}"

    async def _show(self, rehearsal: Rehearsal) -> None:
        evidence, parts = rehearsal.evidence, [evidence_text.text(rehearsal.evidence)]
        if rehearsal.outage is not None:
            parts += [phases.timeline(rehearsal.outage.phases), "kicked sessions:",
                      sessions.report(rehearsal.outage.kicked)]
        applied = rehearsal.outage or rehearsal.live
        assert applied is not None, "a rehearsal took one of the two lanes"
        parts += ["statements:", wording.statements(applied.statements)]
        await self.write(evidence.patch_id, "\n\n".join(parts))
        await self.setBuildData(data_name(evidence.patch_id), evidence.to_json().encode(), "fastdowntime")

    async def _offer_again(self, inventory: Inventory) -> None:
        """When somebody asks: what staging has and production lacks, unless it waits for approval or has it."""
        owner = self.getProperty("owner")
        if owner is None:
            return
        production = await self.read_plan(self.settings.environment("production"), inventory)
        offered = {evidence.patch_id for evidence in self._done}
        for patch in production.pending:
            evidence = await self.evidence_store.find(patch.id, patch.sha256)
            asked = self.approvals.waiting_for(patch.id) or self.approvals.on_its_way(patch.id)
            if evidence and patch.id not in offered and asked is None:
                authors = await self.patches.repository.authors(patch.commit, patch.path)
                # who asks for a rehearsal of what was rehearsed asks for its deployment, and may not approve it
                await offers.offer(self, evidence, lane=patch.lane, authors=authors | {str(owner)})

    def _summary(self) -> str:
        if not self._done:
            return "nothing is pending on staging"
        slowest = max(self._done, key=lambda evidence: evidence.expected_seconds)
        signoff = [evidence.patch_id for evidence in self._done if evidence.needs_signoff]
        which = "" if len(self._done) == 1 else f"slowest {slowest.patch_id}, "
        sentence = (f"{wording.count(len(self._done), 'patch')} rehearsed: {which}{slowest.seconds:.3f} s, "
                    f"{slowest.verdict}, {slowest.lane}")
        return f"{sentence}; needs sign-off: {', '.join(signoff)}" if signoff else sentence


def data_name(patch_id: str) -> str:
    """Under which name a build has the evidence of a patch: one that Buildbot's REST interface takes in a path."""
    name = NO_IDENTIFIER.sub("-", patch_id)[:LONGEST_NAME]
    return f"evidence-{name}" if name == patch_id else f"evidence-{name}-{sha256(patch_id.encode()).hexdigest()[:8]}"

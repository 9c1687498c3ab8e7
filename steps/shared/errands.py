"""What one production build is about: the patch, as the branch has it now, and what its rehearsal has shown.

Read anew by every step that leans on it, never carried in memory: the builds of a restarted master find the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from downtime import deployments, errors
from downtime.evidence import Evidence
from downtime.ledger import Origin
from downtime.patches import Inventory, Patch
from steps.shared.base import RunbookStep
from steps.shared.names import Property
from steps.shared.staging_evidence import find_evidence


class NoPatchNamed(errors.Refused):
    happened = "the build names no patch"
    next_step = "ask again and name a pending patch: its id, its file name or its path"


class ChangedSinceRehearsal(errors.Refused):
    """The file on the branch is not what was rehearsed."""

    happened = "{path} is not what was rehearsed any more: {then} then, {now} on the branch now"
    next_step = "land the change as a new patch, or restore the file"


class NotRehearsed(errors.Refused):
    """Nothing is known of this patch on staging."""

    happened = "{patch} ({now}) was not rehearsed on staging"
    next_step = "let the builder 'staging' rehearse it, then ask again"


class RehearsedInAnotherLane(errors.Refused):
    """The patch does not say how it is applied, and the settings say something else than they did then."""

    happened = "{patch} was rehearsed as a {then} patch, and the settings now make it a {now} one"
    next_step = "set patches.undeclared_lane back to {then}, or land it as a new patch that declares its lane"


class ChangedSinceApproval(errors.Refused):
    """What is about to run is not what somebody has approved."""

    happened = "{patch}: the approval was for evidence {approved}, and now there is {found}"
    next_step = "ask for the deployment again and have it approved again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """One patch on its way into production."""

    patch: Patch
    inventory: Inventory
    evidence: Evidence
    requested_by: frozenset[str]  # who asked, and who wrote the patch
    approved_by: str              # empty before the approval

    def origin(self, build_url: str) -> Origin:
        return Origin(requested_by=", ".join(sorted(self.requested_by)), approved_by=self.approved_by,
                      build_url=build_url, rehearsed_seconds=self.evidence.seconds,
                      forecast_seconds=self.evidence.expected_seconds)


async def read(step: RunbookStep) -> Errand:
    """The errand of the step's build. Raises Refused, or RepositoryError and NodeError."""
    name = str(step.getProperty(Property.PATCH) or "").strip()
    if not name:
        raise NoPatchNamed
    tip = await step.patches.tip()
    patch = deployments.find(tip.inventory, name, step.settings, tip.commit)
    rehearsed = step.getProperty(Property.SHA256)
    if rehearsed and rehearsed != patch.sha256:
        raise ChangedSinceRehearsal(path=patch.path, then=rehearsed[:12], now=patch.sha256[:12])
    evidence = await find_evidence(step, patch)
    if evidence is None:
        raise NotRehearsed(patch=patch.id, now=patch.sha256[:12])
    if evidence.lane != patch.lane:
        raise RehearsedInAnotherLane(patch=patch.id, then=evidence.lane, now=patch.lane)
    return Errand(patch=patch, inventory=tip.inventory, evidence=evidence,
                  requested_by=frozenset(step.getProperty(Property.REQUESTED_BY) or ()),
                  approved_by=step.getProperty(Property.APPROVED_BY) or "")


async def read_approved(step: RunbookStep) -> Errand:
    """The same, once it was approved: what was approved is what runs. Raises ChangedSinceApproval too."""
    errand = await read(step)
    approved = step.getProperty(Property.APPROVED_DIGEST) or "nothing"
    if approved != errand.evidence.digest:
        raise ChangedSinceApproval(patch=errand.patch.id, approved=approved[:12], found=errand.evidence.digest[:12])
    return errand

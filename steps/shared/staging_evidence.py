"""The evidence of a patch: from the store, or from staging's own ledger where the store does not know it.

The store misses what was rehearsed from a terminal, and what was rehearsed when the master died between the commit
on staging and its own note of it. The ledger knows how long the patch took; it cannot say which statement did.
"""

from __future__ import annotations

from downtime import ledger
from downtime.evidence import Evidence, signoff_reasons
from downtime.patches import Patch
from downtime.settings import Settings
from steps.shared.base import RunbookStep


async def find_evidence(step: RunbookStep, patch: Patch) -> Evidence | None:
    """What is known of exactly these bytes under this id; None where they were never rehearsed."""
    if (found := await step.evidence_store.find(patch.id, patch.sha256)) is not None:
        return found
    staging = step.settings.environment("staging")
    for entry in await step.read_ledger(staging):
        if (entry.id, entry.sha256) == (patch.id, patch.sha256) and entry.lane != ledger.BASELINE:
            evidence = from_ledger(entry, patch, step.settings, server=staging.target.label)
            await step.evidence_store.keep(evidence)
            return evidence
    return None


def from_ledger(entry: ledger.Entry, patch: Patch, settings: Settings, *, server: str) -> Evidence:
    """The evidence a ledger row makes; it always needs a sign-off, because nobody's policy has looked at it."""
    return Evidence(
        patch_id=patch.id, path=patch.path, sha256=patch.sha256, lane=patch.lane, declared=patch.declared,
        commit=entry.commit, environment="staging", server=server, server_version=0, rehearsed_at=entry.finished_at,
        seconds=entry.seconds, factor=1.0, factor_patches=0, outage_seconds=0.0, runs=(), statements=(), left_out=0,
        left_out_seconds=0.0, target_seconds=settings.budget.target_seconds,
        limit_seconds=settings.budget.limit_seconds, lane_obstacles=(),
        lane_advice=f"Taken for {patch.lane}; which locks it takes is not known here.", findings=(), likeness=None,
        remarks=(), signoff_reasons=(*signoff_reasons(entry.seconds, settings.budget),
                                     "its rehearsal is known from staging's ledger alone, not from a build"))

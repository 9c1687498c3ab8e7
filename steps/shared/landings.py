"""Landings as this master sees them: one is judged when it lands, and again while its patches are pending."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from downtime import deployment_lock, landing, ledger, lint
from downtime.findings import Finding
from downtime.landing import ChangedFile, Landing, Rejected, RejectionKind
from downtime.patches import Patch
from downtime.settings import Settings
from steps.shared.services import Patches

# what stays wrong with a patch until it is reverted or signed off; everything else shows in the patch as it is now
HOLDING = frozenset({RejectionKind.MIXED, RejectionKind.LANES})


async def judge(patches: Patches, commit: str, settings: Settings, applied: Sequence[ledger.Entry]
                ) -> tuple[tuple[ChangedFile, ...], Landing]:
    """The files of the landing `commit` (against its first parent), and the policy's verdict."""
    inventory = (await patches.at(commit)).inventory
    changes = await patches.repository.changed_files(await patches.repository.parent(commit), commit)
    landed = {(each.id, each.sha256) for each in inventory.patches
              if any(each.path == changed.path for changed in changes)}
    return changes, landing.judge(changes, settings.landing, inventory, before(applied, landed))


def before(applied: Sequence[ledger.Entry], landed: Collection[tuple[str, str]]) -> tuple[ledger.Entry, ...]:
    """What was applied before the first of the patches (id and digest) that a landing has brought.

    A landing may be judged when its patches are in already: the build of the landing before it looks at the tip.
    """
    first = min((entry.finished_at for entry in applied if (entry.id, entry.sha256) in landed), default=None)
    return tuple(entry for entry in applied if first is None or entry.finished_at < first)


async def findings(of: Sequence[Patch], settings: Settings, *, reactor: Any) -> Mapping[str, Sequence[Finding]]:
    """What the linter finds in patches, by their id, as for staging's server.

    Raises NodeError, DeploymentUnderWay or SquawkMissing.
    """
    if not of:
        return {}
    node = await deployment_lock.session(settings.environment("staging").target,
                                         application_name="fastdowntime lint", reactor=reactor)
    version = node.server_version
    node.close()
    return await lint.lint(of, server_version=version, rules=settings.lint, reactor=reactor)


async def why_held_back(patches: Patches, patch: Patch, settings: Settings, applied: Sequence[ledger.Entry]) -> str:
    """Why the patch may not be rehearsed without a sign-off: a landing that brought or changed it was rejected.

    An empty string where nothing holds it.
    """
    for commit in await patches.repository.landings_of(patch.commit, patch.path):
        _, verdict = await judge(patches, commit, settings, applied)
        if isinstance(verdict, Rejected) and patch.id in {each.id for each in verdict.patches}:
            reasons = [reason.text for reason in verdict.reasons if reason.kind in HOLDING]
            if reasons:
                return f"its landing {commit[:12]} was rejected: {' '.join(reasons).rstrip('.')}"
    return ""

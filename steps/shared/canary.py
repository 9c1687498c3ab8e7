"""The first of several databases, which gets a patch alone: whether an earlier deployment was there already."""

from __future__ import annotations

from steps.shared.base import RunbookStep
from steps.shared.errands import Errand
from steps.shared.names import Property


async def has_it(step: RunbookStep, errand: Errand) -> bool:
    """Whether only the others lack the patch; says so. With other bytes it is refused by the preflight as ever.

    Raises NodeError, DeploymentUnderWay or NotInstalled.
    """
    if not step.environment.fleet.databases:
        return False
    entries = await step.read_ledger(step.environment)
    found = any((entry.id, entry.sha256) == (errand.patch.id, errand.patch.sha256) for entry in entries)
    if found:
        step.setProperty(Property.CANARY_HAS_IT, True, step.name)
        step.say(f"{step.environment.member} has it already: it goes on with the others")
    return found

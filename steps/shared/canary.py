"""The first of several databases, which gets a patch alone: whether it may, and whether it has it already."""

from __future__ import annotations

from downtime.fleet import ledgers
from downtime.preflight import PreflightRefused
from steps.shared.base import RunbookStep
from steps.shared.errands import Errand
from steps.shared.names import Property


async def has_it(step: RunbookStep, errand: Errand) -> bool:
    """Whether only the others lack the patch; says so. Asks all of them: it may be an hour since it was its turn.

    Raises MembersUnreadable, and PreflightRefused with what any of them says against the patch.
    """
    environment = step.environment
    if not environment.fleet.databases:
        return False
    assert step.build is not None, "the step runs in a build"
    step.build.settings = step.settings  # for its last word, should it end before the others have their turn
    had = await ledgers.read(environment, reactor=step.master.reactor)
    if reasons := ledgers.objections(had, errand.inventory, errand.patch):
        raise PreflightRefused(reasons)
    found = any(entry.id == errand.patch.id for entry in had[environment.member])
    if found:
        step.setProperty(Property.CANARY_HAS_IT, True, step.name)
        step.say(f"{environment.member} has it already: it goes on with the others")
    return found

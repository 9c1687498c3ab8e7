"""Who asked for a build, and whether they may: said again in its first step, because the web rules can be got round.

A ForceScheduler accepts another builder's id, "rebuild" copies the name of whoever asked first, the rules of a
foreign configuration are not ours, and a change that its hooks let in may carry any property. So the first step asks
Buildbot's database where the build comes from.
"""

from __future__ import annotations

from collections.abc import Collection

from downtime import errors
from downtime.settings import Role
from steps.shared.base import RunbookStep
from steps.shared.names import FORCED_BY, LANDINGS, OFFERED_BY, BuilderName, Property

# what a build earns from its own steps, and never comes with
EARNED = (Property.SIGNED_OFF, Property.APPROVED_BY, Property.APPROVED_DIGEST, Property.APPROVED_AT, Property.HURRIED,
          Property.BEGUN, Property.OUTAGE_SECONDS, Property.APPLIED)


class NotAsked(errors.Refused):
    """Nobody who may has asked for this build."""

    happened = "{reason}"
    next_step = "ask for it with the button of the builder {builder!r}"


async def who_asked(step: RunbookStep, builder: BuilderName, roles: Collection[Role]) -> frozenset[str]:
    """The names of whoever forced the build; none where our own schedulers made it. Raises NotAsked."""
    assert step.build is not None
    if brought := [name for name in EARNED if step.build.hasProperty(name)]:
        raise NotAsked(builder=str(builder), reason=f"the build came with what only its own steps may say of it:"
                                                    f" {', '.join(brought)}")
    request = await step.master.data.get(("buildrequests", step.build.requests[0].id))
    buildset = await step.master.data.get(("buildsets", request["buildsetid"]))
    if buildset["rebuilt_buildid"] is not None:
        raise NotAsked(builder=str(builder), reason="a rebuild repeats what somebody else once asked for, so it is "
                                                    "refused")
    scheduler = step.getProperty("scheduler")
    ours = {OFFERED_BY.get(builder), LANDINGS if builder is BuilderName.STAGING else None} - {None}
    if scheduler in ours:
        return frozenset()
    owner = str(step.getProperty("owner") or "")
    if scheduler != FORCED_BY[builder] or not owner:
        raise NotAsked(builder=str(builder), reason=f"the scheduler {scheduler!r} may not build {builder}")
    names = await step.visitors.names_of(owner)
    if not step.settings.people.roles_of(*names) & set(roles):
        needed = " or ".join(f"people.{role}" for role in sorted(roles))
        raise NotAsked(builder=str(builder), reason=f"{owner} may not ask for this (settings: {needed})")
    return names

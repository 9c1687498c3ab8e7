"""The end of a deployment in one line, and whether its patch is in: said by whichever step or build comes to say it."""

from __future__ import annotations

from collections.abc import Awaitable

from downtime import errors, live, phases
from downtime.fleet.report import FleetReport, canary_alone
from downtime.settings import Settings
from steps.shared import wording

# the error is of a live application that was not applied
End = phases.Report | live.Report | FleetReport | errors.DowntimeError


async def end_of(outcome: Awaitable[phases.Report | live.Report | FleetReport]) -> End:
    try:
        return await outcome
    except errors.DowntimeError as error:
        return error


def of_all(end: End, patch: str, settings: Settings) -> End:
    """With the other databases as not reached, where a build has deployed to the canary and ended before them."""
    if settings.environment("production").fleet.databases and isinstance(end, phases.Report | live.Report) \
            and is_applied(end):
        return canary_alone(patch, end, settings)
    return end


def is_applied(end: End) -> bool:
    """Whether the patch is in: of several databases in all."""
    return isinstance(end, live.Report) or (isinstance(end, phases.Report | FleetReport) and end.applied)


def headline(patch: str, end: End) -> str:
    """The deployment in one line."""
    if isinstance(end, errors.DowntimeError):
        return f"{patch} not deployed: {wording.headline(end)}"
    if isinstance(end, FleetReport):
        return _of_several(patch, end)
    if isinstance(end, live.Report):
        return f"{patch} deployed live in {end.seconds:.3f} s, without an outage"
    outage = f"outage {end.outage_seconds:.3f} s, {wording.count(len(end.kicked_clients), 'session')} kicked"
    done = f"{patch} {'deployed' if end.applied else 'not deployed'}"
    if end.caught is not None and end.caught.behind:
        outage += f"; not yet on the standby {', '.join(end.caught.behind)}"
    if end.error is None:
        return f"{done}: {outage}"
    return f"{done}: {wording.headline(end.error)}; {outage}; the database was left {end.error.left}"


def _of_several(patch: str, end: FleetReport) -> str:
    count = len(end.matrix.rows)
    if not end.applied and end.canary is not None and not is_applied(end.canary):
        return f"{headline(patch, end.canary)}; {wording.count(count - 1, 'other database')} not reached"
    longest = end.matrix.longest_outage_seconds
    outages = f"longest outage {longest:.3f} s, {wording.count(end.kicked, 'session')} kicked"
    if not longest:
        outages = "without an outage"
    done = "deployed" if end.applied else "not deployed everywhere"
    return f"{patch} {done}: {end.matrix.sentence}; {outages}"

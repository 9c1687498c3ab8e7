"""The end of a deployment in one line, and whether its patch is in: said by whichever step or build comes to say it."""

from __future__ import annotations

from collections.abc import Awaitable

from downtime import errors, live, phases
from steps.shared import wording

End = phases.Report | live.Report | errors.DowntimeError  # the error is of a live application that was not applied


async def end_of(outcome: Awaitable[phases.Report | live.Report]) -> End:
    try:
        return await outcome
    except errors.DowntimeError as error:
        return error


def is_applied(end: End) -> bool:
    """Whether the patch is in."""
    return isinstance(end, live.Report) or (isinstance(end, phases.Report) and end.applied)


def headline(patch: str, end: End) -> str:
    """The deployment in one line."""
    if isinstance(end, errors.DowntimeError):
        return f"{patch} not deployed: {wording.headline(end)}"
    if isinstance(end, live.Report):
        return f"{patch} deployed live in {end.seconds:.3f} s, without an outage"
    outage = f"outage {end.outage_seconds:.3f} s, {wording.count(len(end.kicked_clients), 'session')} kicked"
    done = f"{patch} {'deployed' if end.applied else 'not deployed'}"
    if end.error is None:
        return f"{done}: {outage}"
    return f"{done}: {wording.headline(end.error)}; {outage}; the database was left {end.error.left}"

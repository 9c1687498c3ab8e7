"""After the COMMIT: every standby gets the patch, and one that was promoted meanwhile is asked whether it has it.

Where replay had been paused it is resumed on one standby after another, so that some serve at every moment; each has
its share of the time, and none is left paused because another is slow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic

from downtime import errors, ledger
from downtime.failover import Lineage, PatchLeftBehind
from downtime.parallel import in_parallel
from downtime.patches import Patch
from downtime.replica import Replica

RESUME_SECONDS = 10.0  # for replay to be resumed where it was paused; a standby that restarts is back by then


class ReplayStaysPaused(errors.NeedsOperator):
    """Standbys on which replay is still paused: they serve what was true before the outage, and fall behind."""

    happened = "replay could not be resumed: {listing}"
    next_step = ("mend the way to the standby, then python -m downtime reopen --environment NAME; or type"
                 " SELECT pg_wal_replay_resume() there, or restart it: a restart ends the pause")
    left = errors.Left.REOPENED


@dataclass(frozen=True, slots=True, kw_only=True)
class Caught:
    """How the standbys stand after the outage."""

    lines: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()  # labels of those that have not been seen to have the patch
    seconds: float = 0.0          # from the COMMIT until the last one had it, or was given up
    error: errors.NeedsOperator | None = None  # a standby took over without the patch, or its replay stays paused


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """What the standbys are to get. `lsn` is None where the primary could not be asked any more."""

    patch: Patch
    primary: str     # label
    lsn: str | None  # behind its COMMIT in the WAL


@dataclass(slots=True, kw_only=True)
class _Course:
    """One standby on its way."""

    replica: Replica
    began: float = field(default_factory=monotonic)
    line: str = ""
    has_it: bool = False
    error: errors.NeedsOperator | None = None

    @property
    def label(self) -> str:
        return self.replica.label


async def catch_up(replicas: Sequence[Replica], committed: Committed, *, seconds: float, paused: bool) -> Caught:
    """Returns when every standby has the patch, or after `seconds`. Never raises an error of ours."""
    began = monotonic()
    deadline = began + seconds
    if paused:
        courses = await _one_after_another(replicas, committed, deadline)
        again = [each for each in courses if not each.has_it and each.error is None]
        await in_parallel(_bring(each, committed, deadline) for each in again)  # all are resumed by now
    else:
        courses = [_Course(replica=each) for each in replicas]
        await in_parallel(_bring(each, committed, deadline) for each in courses)
    return Caught(lines=tuple(each.line for each in courses), seconds=monotonic() - began,
                  behind=tuple(each.label for each in courses if not each.has_it),
                  error=_worst([each.error for each in courses if each.error is not None]))


async def _one_after_another(replicas: Sequence[Replica], committed: Committed, deadline: float) -> list[_Course]:
    courses = []
    for number, replica in enumerate(replicas):
        course = _Course(replica=replica)
        courses.append(course)
        share = max(0.0, deadline - monotonic()) / (len(replicas) - number)
        try:
            await replica.lets_fragile_users_end(deadline=monotonic() + share / 2)
            await replica.resume_replay(deadline=monotonic() + RESUME_SECONDS)
        except errors.NodeError as error:
            course.line = f"replay is still paused on the standby {course.label}: {error}"
            course.error = ReplayStaysPaused(listing=str(error), left=errors.Left.APPLIED)
            continue
        await _bring(course, committed, course.began + share)
    return courses


async def _bring(course: _Course, committed: Committed, deadline: float) -> None:
    """Wait for one standby and say how it stands."""
    try:
        if committed.lsn is None:
            course.line = f"nobody can tell how far the standby {course.label} is: {committed.primary} does not answer"
            return
        course.has_it = await course.replica.replays(committed.lsn, deadline=deadline, clearing=True)
        lineage = await course.replica.lineage()
        if not lineage.in_recovery:
            await _ask_the_promoted(course, committed, lineage)
        elif course.has_it:
            course.line = (f"the standby {course.label} has the patch"
                           f" ({(monotonic() - course.began) * 1000:.0f} ms)")
        else:
            course.line = (f"warning: the standby {course.label} has not replayed the patch within"
                           f" {monotonic() - course.began:.1f} s, {await course.replica.in_the_way()}; it goes on")
    except errors.NodeError as error:
        course.line = f"warning: the standby {course.label} cannot be asked whether it has the patch: {error}"


async def _ask_the_promoted(course: _Course, committed: Committed, lineage: Lineage) -> None:
    patch = committed.patch
    course.has_it = await ledger.has(await course.replica.session(), patch.id, patch.sha256)
    if course.has_it:
        course.line = (f"warning: {course.label} was promoted meanwhile (timeline {lineage.timeline}): it has"
                       f" {patch.id} and its ledger row; make sure that clients reach one primary only")
        return
    course.error = PatchLeftBehind(patch=patch.id, old=committed.primary, new=course.label, timeline=lineage.timeline,
                                   lsn=lineage.lsn)
    course.line = str(course.error)


def _worst(found: Sequence[errors.NeedsOperator]) -> errors.NeedsOperator | None:
    """A patch that is on the wrong server goes before a replay that waits."""
    return next((each for each in found if isinstance(each, PatchLeftBehind)), found[0] if found else None)

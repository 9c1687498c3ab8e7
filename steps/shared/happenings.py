"""What the steps tell the journal: their events, made of what a step knows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from downtime import errors, live, phases
from downtime.apply import PatchFailed
from downtime.evidence import Evidence
from downtime.fleet.report import FleetReport
from downtime.history.events import Ended, Event, Outcome, Rehearsed
from downtime.history.journey import Journey
from downtime.lanes import Lane
from downtime.live import LivePatchFailed
from downtime.preflight import PreflightRefused
from downtime.sessions import FragileUsersActive
from steps.shared.last_words import End, headline


def now() -> datetime:
    return datetime.now(UTC)


def rehearsed(evidence: Evidence, *, authors: Collection[str], build_url: str) -> Event:
    """The rehearsal that has made this evidence."""
    return Rehearsed(
        at=now(), patch_id=evidence.patch_id, sha256=evidence.sha256, digest=evidence.digest, path=evidence.path,
        commit=evidence.commit, authors=tuple(sorted(authors)), lane=evidence.lane, declared=evidence.declared,
        seconds=evidence.seconds, expected_seconds=evidence.expected_seconds, outage_seconds=evidence.outage_seconds,
        target_seconds=evidence.target_seconds, limit_seconds=evidence.limit_seconds, verdict=str(evidence.verdict),
        signoff_reasons=evidence.signoff_reasons, build_url=build_url)


async def note_ended(step: Any, patch: str, end: End) -> None:
    """Note the end of the step's build, unless that was done already."""
    journey = step.journal.journey(patch)
    if journey is None or has_ended(journey, step.request_id):
        return
    step.journal.note(ended(patch, end, request_id=step.request_id, build_id=step.build_id,
                            build_url=await step.build.getUrl(), journey=journey))


def has_ended(journey: Journey | None, request_id: int) -> bool:
    attempts = journey.attempts if journey is not None else ()
    return any(each.ended is not None for each in attempts if each.request_id == request_id)


def ended(patch: str, report: End, *, request_id: int, build_id: int, build_url: str, journey: Journey | None) -> Ended:
    """How an attempt has ended that had begun."""
    rehearsed = journey.rehearsed if journey is not None else None
    event = Ended(at=now(), patch_id=patch, request_id=request_id, build_id=build_id, build_url=build_url,
                  outcome=Outcome.DEPLOYED, sentence=headline(patch, report),
                  expected_seconds=rehearsed.expected_seconds if rehearsed is not None else None)
    if isinstance(report, FleetReport):
        return _of_several(event, report, rehearsed.lane if rehearsed is not None else Lane.COLD)
    return _of_one(event, report)


def _of_several(event: Ended, report: FleetReport, lane: Lane) -> Ended:
    """With the figures of the canary, which forecasts are about; where that had it already, of the longest outage."""
    results = [row.result for row in report.matrix.rows]
    if report.canary is not None:
        known = _of_one(event, report.canary)
    else:
        known = replace(
            event, began_at=min((each.started_at for each in results if each.started_at), default=None),
            lane=lane,
            patch_seconds=max((each.patch_seconds or 0.0 for each in results), default=0.0),
            outage_seconds=report.matrix.longest_outage_seconds)
    return replace(known, kicked=report.kicked, left=_left(report.stopped), outcome=_outcome(report, known.outcome))


def _outcome(report: FleetReport, of_canary: Outcome) -> Outcome:
    if report.applied:
        return Outcome.DEPLOYED
    if report.in_doubt:
        return Outcome.UNKNOWN
    return Outcome.ABORTED if of_canary is Outcome.DEPLOYED else of_canary


def _of_one(event: Ended, report: phases.Report | live.Report | errors.DowntimeError) -> Ended:
    if isinstance(report, live.Report):
        return replace(event, lane=Lane.LIVE, began_at=report.started_at, patch_seconds=report.seconds)
    if isinstance(report, errors.DowntimeError):
        return replace(event, lane=Lane.LIVE, outcome=_of_error(report), left=_left(report))
    return replace(
        event, lane=Lane.COLD, began_at=report.started_at, patch_seconds=report.patch_seconds,
        outage_seconds=report.outage_seconds, kicked=len(report.kicked_clients),
        outcome=Outcome.DEPLOYED if report.applied else _of_error(report.error),
        fragile=fragile_users(report.error), left=_left(report.error))


def _of_error(error: errors.DowntimeError | None) -> Outcome:
    if isinstance(error, (PatchFailed, LivePatchFailed)):
        return Outcome.FAILED
    if error is None or isinstance(error, errors.NeedsOperator) or error.left is errors.Left.UNKNOWN:
        return Outcome.UNKNOWN
    return Outcome.REFUSED if error.left is errors.Left.UNTOUCHED else Outcome.ABORTED


def fragile_users(error: errors.DowntimeError | None) -> tuple[str, ...]:
    """Whose transactions were the reason, or one of them."""
    found = error.facts.get("users", ()) if isinstance(error, (FragileUsersActive, PreflightRefused)) else ()
    return tuple(map(str, found)) if isinstance(found, tuple) else ()


def _left(error: errors.DowntimeError | None) -> str:
    """How the database was left, where somebody has to know."""
    careful = (errors.Left.CLOSED, errors.Left.UNKNOWN)
    return str(error.left) if error is not None and error.left in careful else ""

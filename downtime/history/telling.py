"""What an event says, in one sentence for people. Pure; texts of others are in it as they came."""

from __future__ import annotations

from datetime import UTC, datetime

from downtime.history.durations import in_words
from downtime.history.events import (
    Answer,
    Approved,
    Asked,
    Closed,
    Decided,
    Ended,
    Event,
    FailedOnStaging,
    FoundApplied,
    HeldBack,
    Hurried,
    Landed,
    Offered,
    Planned,
    Quiescing,
    Rehearsed,
    Spreading,
    TurnCame,
    Voided,
    WindowMissed,
    Withdrawn,
)
from downtime.lanes import Lane

DID = {Answer.GRANTED: "approved", Answer.OVERRIDDEN: "overrode the rules for", Answer.REJECTED: "rejected",
       Answer.NOT_ACCEPTED: "tried to decide about"}


def told(event: Event) -> str:
    """The sentence; it names the patch nowhere, because it stands beside it."""
    match event:
        case Landed():
            return f"landed with commit {event.commit[:12]}" + _by(event.authors)
        case HeldBack():
            return f"held back: {event.reason}"
        case Withdrawn():
            return f"is not on the branch any more since commit {event.commit[:12]}"
        case FailedOnStaging():
            return f"failed on staging: {event.reason}"
        case Rehearsed():
            return (f"rehearsed: {in_words(event.seconds)} on staging, {in_words(event.expected_seconds)} expected in "
                    f"production, {event.verdict}")
        case Offered():
            return "a deployment was asked for" + _by(event.requested_by)
        case FoundApplied():
            return "production's ledger has it: it was applied from a terminal" + _by((event.requested_by,))
        case Asked() | Decided() | Approved() | Voided():
            return _of_approval(event)
        case _:
            return _of_deployment(event)


def _of_approval(event: Asked | Decided | Approved | Voided) -> str:
    match event:
        case Asked():
            signoff = ", a sign-off among them" if event.needs_signoff else ""
            return f"waits for {event.approvals_needed} approval{'s' * (event.approvals_needed != 1)}{signoff}"
        case Decided():
            because = f": {event.reason}" if event.reason else ""
            answer = f" (not accepted: {event.sentence})" if event.answer is Answer.NOT_ACCEPTED else ""
            return f"{event.by or 'somebody'} {DID[event.answer]} it{because}{answer}"
        case Approved():
            return ("let in by an emergency override" if event.override else "approved") + _by(event.by)
        case Voided():
            return f"what was approved counts no longer: {event.reason}"


def _of_deployment(event: Planned | WindowMissed | Hurried | TurnCame | Quiescing | Closed | Spreading | Ended
                   ) -> str:
    match event:
        case Planned():
            behind = f"follows {', '.join(event.behind)}" if event.behind else ""
            begins = f"begins at {in_utc(event.begins_at)}" if event.begins_at is not None else ""
            return "planned: " + ("; ".join(part for part in (behind, begins) if part) or "it is next")
        case WindowMissed():
            return f"missed its window of {in_utc(event.begins_at)}: {event.reason}"
        case Hurried():
            return f"{event.by} lets it begin now, outside its window: {event.reason}"
        case TurnCame():
            return "its turn has come"
        case Quiescing():
            return f"background tasks are being stopped; the downtime begins at {in_utc(event.begins_at)}"
        case Closed():
            return f"being applied; {in_words(event.expected_seconds)} are expected"
        case Spreading():
            return f"the first database has it; {event.databases} more get it now"
        case Ended():
            outage = f", outage {in_words(event.outage_seconds)}" if event.lane is not Lane.LIVE else ""
            done = f" (patch {in_words(event.patch_seconds)}{outage})" if event.began_at is not None else ""
            return f"{event.outcome}: {event.sentence}{done}"


def in_utc(at: datetime) -> str:
    """`2026-03-04 08:30 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _by(names: tuple[str, ...]) -> str:
    known = [name for name in names if name]
    return f" by {', '.join(known)}" if known else ""

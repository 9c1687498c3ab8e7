"""Which notice the end of an attempt gives, if any. Pure."""

from __future__ import annotations

from dataclasses import replace

from downtime.announcements.about import about, lane_of
from downtime.announcements.kinds import Kind
from downtime.announcements.notice import Database, Notice
from downtime.announcements.tidy import LONGEST_ID, tidy
from downtime.errors import Left
from downtime.history.durations import in_words
from downtime.history.events import Answer, Ended, Outcome
from downtime.history.journey import Attempt, Journey
from downtime.lanes import Lane

# what a subject says of an attempt that has not put the patch into production
HAPPENED = {
    Outcome.FAILED: "failed and was rolled back",
    Outcome.ABORTED: "was aborted",
    Outcome.REFUSED: "was refused",
    Outcome.REJECTED: "was rejected",
    Outcome.STOPPED: "was stopped",
    Outcome.UNKNOWN: "needs an operator: nobody knows what came of it",
}


def notice(event: Ended, journey: Journey, attempt: Attempt, *, url: str) -> Notice | None:
    """What to tell of the end; None for a live patch that is in, and for a rejection that was told already."""
    kind = _kind(event, lane_of(journey, attempt))
    if kind is None or (kind is Kind.REJECTED and any(d.answer is Answer.REJECTED for d in attempt.decisions)):
        return None
    deployed = event.outcome is Outcome.DEPLOYED
    found = about(journey, kind, event.at, url=url, attempt=attempt, happened=_happened(event, kind),
                  explained=_explained(event, kind))
    expected = event.expected_seconds if event.expected_seconds is not None else found.expected_seconds
    return replace(
        found, database=_database(event), outcome=event.outcome.value, reason="" if deployed else tidy(_reason(event)),
        begins_at=None, expected_seconds=expected,
        patch_seconds=event.patch_seconds if event.began_at is not None else None,
        outage_seconds=event.outage_seconds if _was_closed(event) else None)


def _kind(event: Ended, lane: Lane | None) -> Kind | None:
    match event.outcome:
        case Outcome.REFUSED:
            return Kind.REFUSED
        case Outcome.REJECTED:
            return Kind.REJECTED
        case Outcome.DEPLOYED | Outcome.FAILED if lane is not Lane.LIVE and _was_closed(event):
            return Kind.REOPENED if _database(event) is Database.OPEN else Kind.ABORTED
        case Outcome.DEPLOYED:
            return None
        case _:
            return Kind.ABORTED


def _was_closed(event: Ended) -> bool:
    return event.began_at is not None and event.lane is not Lane.LIVE


def _database(event: Ended) -> Database:
    return {Left.CLOSED.value: Database.CLOSED, Left.UNKNOWN.value: Database.UNKNOWN}.get(event.left, Database.OPEN)


def _happened(event: Ended, kind: Kind) -> str:
    if kind is Kind.REOPENED:
        came = "is in production" if event.outcome is Outcome.DEPLOYED else "failed and was rolled back"
        return f"{came}: open again after {in_words(event.outage_seconds)}"
    return HAPPENED.get(event.outcome, "is in production, and an operator has to look")


def _explained(event: Ended, kind: Kind) -> str:
    if kind is Kind.REOPENED:
        came = ("The patch is in production." if event.outcome is Outcome.DEPLOYED else
                "The patch was rolled back; nothing of it is left.")
        kicked = f" {event.kicked} sessions were ended." if event.kicked else ""
        return f"The database is open again after {in_words(event.outage_seconds)}. {came}{kicked}"
    if _database(event) is Database.CLOSED:
        return "Connections may still be refused. An operator has to act now: python -m downtime status."
    if _database(event) is Database.UNKNOWN or event.outcome is Outcome.UNKNOWN:
        return "Nobody knows how the database was left. An operator has to look now: python -m downtime status."
    if _was_closed(event):
        return f"The downtime was given up. The database is open again after {in_words(event.outage_seconds)}."
    if event.began_at is not None or event.lane is Lane.LIVE:
        return "Clients went on working. Finished statements of a live patch stay."
    return "Production was not touched."


def _reason(event: Ended) -> str:
    fragile = ", ".join(tidy(user, LONGEST_ID) for user in event.fragile)
    return f"{event.sentence} (fragile: {fragile})" if fragile else event.sentence

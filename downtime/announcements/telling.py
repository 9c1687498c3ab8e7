"""Which notice an event gives, if any. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from downtime.announcements import endings
from downtime.announcements.about import about, lane_of
from downtime.announcements.kinds import Kind
from downtime.announcements.notice import Database, Notice, in_utc
from downtime.announcements.tidy import LONGEST_ID, tidy
from downtime.history.durations import in_words
from downtime.history.events import (
    Answer,
    Asked,
    Closed,
    Decided,
    Ended,
    Event,
    FailedOnStaging,
    HeldBack,
    OfAttempt,
    Planned,
    Quiescing,
    Voided,
    WindowMissed,
)
from downtime.history.journey import Attempt, Journey
from downtime.lanes import Lane


def notice(event: Event, journey: Journey, *, url: str, announced: datetime | None = None) -> Notice | None:
    """What to tell of the event; None where nobody is told. `journey` already has the event.

    `url` is the buildmaster's, with its last slash; `announced` the time that was told before, see `announced_before`.
    """
    if isinstance(event, HeldBack | FailedOnStaging):
        return _of_landing(event, journey, url)
    attempt = _attempt_of(event, journey)
    if attempt is None:
        return None
    if isinstance(event, Ended):
        return endings.notice(event, journey, attempt, url=url)
    if isinstance(event, Asked | Decided | Voided):
        return _of_approval(event, journey, attempt, url)
    if lane_of(journey, attempt) is Lane.LIVE:
        return None  # it closes nothing, so there is no time to plan for
    if isinstance(event, Planned):
        return _announced(event, journey, attempt, url, announced)
    return _of_downtime(event, journey, attempt, url)


def announced_before(events: Sequence[Event], planned: Planned) -> datetime | None:
    """When the downtime of this attempt was to begin by what was told last; None where nothing holds any more.

    `events` are all of the journal, oldest first; the plan itself may be among them.
    """
    for event in reversed(events):
        if event is planned or not isinstance(event, OfAttempt) or event.request_id != planned.request_id:
            continue
        if isinstance(event, Voided):
            return None
        if isinstance(event, Planned) and event.begins_at is not None:
            return event.begins_at
    return None


def _attempt_of(event: Event, journey: Journey) -> Attempt | None:
    if not isinstance(event, OfAttempt):
        return None
    return next((each for each in journey.attempts if each.request_id == event.request_id), None)


def _of_landing(event: HeldBack | FailedOnStaging, journey: Journey, url: str) -> Notice:
    failed = isinstance(event, FailedOnStaging)
    explained = ("It was tried on staging and rolled back there; production was not touched." if failed else
                 "It was not offered to production; its author has to do something about it.")
    found = about(journey, Kind.REFUSED, event.at, url=url,
                  happened="failed on staging" if failed else "is held back", explained=explained)
    return replace(found, reason=tidy(event.reason), build_url=tidy(event.build_url))


def _of_approval(event: Asked | Decided | Voided, journey: Journey, attempt: Attempt, url: str) -> Notice | None:
    match event:
        case Asked():
            if attempt.asked_first_at != event.at:
                return None  # the same wait, after a restart of the buildmaster
            return about(journey, Kind.WAITING, event.at, url=url, attempt=attempt,
                         happened="is waiting for an approval", explained=_needed(event))
        case Decided(answer=Answer.REJECTED):
            found = about(journey, Kind.REJECTED, event.at, url=url, attempt=attempt, happened="was rejected",
                          explained="An approver has said no. Production was not touched.")
        case Decided(answer=Answer.OVERRIDDEN):
            found = about(journey, Kind.OVERRIDE, event.at, url=url, attempt=attempt,
                          happened="was let in by an emergency override",
                          explained="The rules for approvals were set aside. This stays on its record.")
        case Voided():
            found = about(journey, Kind.VOID, event.at, url=url, attempt=attempt, happened="has lost its approval",
                          explained="What was approved counts no longer. It has to be approved again.")
        case _:
            return None
    by = event.by if isinstance(event, Decided) else ""
    return replace(found, reason=tidy(event.reason), by=tidy(by, LONGEST_ID))


def _needed(event: Asked) -> str:
    count = f"{event.approvals_needed} people have to approve it" if event.approvals_needed > 1 else (
        "Somebody has to approve it")
    signoff = ", and a sign-off is needed" if event.needs_signoff else ""
    return f"{count}{signoff}. Whoever asked for it or wrote it may not."


def _announced(event: Planned, journey: Journey, attempt: Attempt, url: str, announced: datetime | None,
               ) -> Notice | None:
    if event.begins_at is None or event.begins_at == announced:
        return None
    moved = f" It was to begin at {in_utc(announced)}." if announced is not None else ""
    return about(
        journey, Kind.ANNOUNCED, event.at, url=url, attempt=attempt,
        happened=f"{'moves' if moved else 'is planned'}: downtime at {in_utc(event.begins_at)}",
        explained=f"It is approved. The database closes at {in_utc(event.begins_at)}{_for(journey)}.{moved}")


def _of_downtime(event: Event, journey: Journey, attempt: Attempt, url: str) -> Notice | None:
    match event:
        case WindowMissed():
            found = about(journey, Kind.MISSED, event.at, url=url, attempt=attempt, happened="has missed its window",
                          explained=f"It was to begin at {in_utc(event.begins_at)} and did not. "
                                    "It waits for the next window.")
            return replace(found, reason=tidy(event.reason), begins_at=None)
        case Quiescing():
            return about(journey, Kind.QUIESCING, event.at, url=url, attempt=attempt,
                         happened=f"is next: downtime at {in_utc(event.begins_at)}",
                         explained=f"Background tasks are being stopped. The database closes at "
                                   f"{in_utc(event.begins_at)}{_for(journey)}.")
        case Closed():
            found = about(journey, Kind.CLOSED, event.at, url=url, attempt=attempt, happened="has closed the database",
                          explained="No new connections get in until the patch is applied or rolled back.")
            return replace(found, database=Database.CLOSED, expected_seconds=event.expected_seconds)
        case _:
            return None


def _for(journey: Journey) -> str:
    rehearsed = journey.rehearsed
    return f", for about {in_words(rehearsed.expected_seconds)}" if rehearsed is not None else ""

"""The way of one patch, read out of its events: what is known of it, and each attempt to deploy it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

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
    Outcome,
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

COUNTING = (Answer.GRANTED, Answer.OVERRIDDEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt to deploy a patch: a build request of Buildbot, and the builds that were made of it."""

    request_id: int
    offered_at: datetime
    requested_by: tuple[str, ...]
    asked: Asked | None = None              # the newest build that waited
    asked_first_at: datetime | None = None  # since then somebody's word is waited for
    decisions: tuple[Decided, ...] = ()     # all of them, oldest first
    granted: tuple[Decided, ...] = ()       # those that count for what waits now
    approved: Approved | None = None
    voided: Voided | None = None            # the last time that its approvals were taken back
    planned: Planned | None = None
    missed: tuple[WindowMissed, ...] = ()
    hurried: Hurried | None = None
    turn_came: TurnCame | None = None
    quiescing: Quiescing | None = None
    closed: Closed | None = None
    spreading: Spreading | None = None  # of several databases the first is open again
    ended: Ended | None = None

    @property
    def build_url(self) -> str:
        if self.ended is not None:
            return self.ended.build_url
        return self.asked.build_url if self.asked is not None else ""

    @property
    def overridden(self) -> bool:
        return any(decision.answer is Answer.OVERRIDDEN for decision in self.decisions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """Everything that is known of one patch."""

    patch_id: str
    first_at: datetime                 # of its first event
    last_at: datetime                  # of its last one
    landed: Landed | None = None       # the last landing that touched it
    rehearsed: Rehearsed | None = None
    problem: HeldBack | FailedOnStaging | None = None  # what keeps it from being rehearsed; None where it was since
    withdrawn: Withdrawn | None = None  # None where it is on the branch
    attempts: tuple[Attempt, ...] = ()  # oldest first
    found: FoundApplied | None = None

    @property
    def landed_at(self) -> datetime:
        """When its way began, as far as that is known."""
        return self.landed.at if self.landed is not None else self.first_at

    @property
    def authors(self) -> tuple[str, ...]:
        if self.rehearsed is not None:
            return self.rehearsed.authors
        return self.landed.authors if self.landed is not None else ()

    @property
    def attempt(self) -> Attempt | None:
        """The newest that goes on, else the newest: one that was refused beside it says nothing of it."""
        return next((each for each in reversed(self.attempts) if each.ended is None),
                    self.attempts[-1] if self.attempts else None)

    @property
    def deployed(self) -> Ended | None:
        """The end of the attempt that brought it into production; None where none did, or not one of ours."""
        return next((attempt.ended for attempt in self.attempts
                     if attempt.ended is not None and attempt.ended.outcome is Outcome.DEPLOYED), None)

    @property
    def in_production_at(self) -> datetime | None:
        if self.deployed is not None:
            return self.deployed.at
        return self.found.began_at if self.found is not None else None

    @property
    def lane(self) -> Lane | None:
        return self.rehearsed.lane if self.rehearsed is not None else None

    @property
    def overridden(self) -> bool:
        """Whether any attempt was let in by an emergency override."""
        return any(attempt.overridden for attempt in self.attempts)


def of(events: Iterable[Event]) -> Journey | None:
    """The journey that these events of one patch tell, oldest first; None where there are none."""
    journey: Journey | None = None
    for event in events:
        journey = after(journey, event)
    return journey


def after(journey: Journey | None, event: Event) -> Journey:
    """The journey with one more event of its patch; None is one that has not begun."""
    known = journey or Journey(patch_id=event.patch_id, first_at=event.at, last_at=event.at)
    return _after(replace(known, last_at=event.at), event)


def _after(journey: Journey, event: Event) -> Journey:
    match event:
        case Landed():
            return replace(journey, landed=event, withdrawn=None)
        case HeldBack() | FailedOnStaging():
            return replace(journey, problem=event)
        case Rehearsed():
            return replace(journey, rehearsed=event, problem=None, withdrawn=None)
        case Withdrawn():
            return replace(journey, withdrawn=event)
        case FoundApplied():
            return replace(journey, found=event)
        case Offered():
            attempt = Attempt(request_id=event.request_id, offered_at=event.at, requested_by=event.requested_by)
            return replace(journey, attempts=_with(journey.attempts, attempt))
        case _:
            known = next((each for each in journey.attempts if each.request_id == event.request_id), None)
            attempt = known or Attempt(request_id=event.request_id, offered_at=event.at, requested_by=())
            return replace(journey, attempts=_with(journey.attempts, _further(attempt, event)))


def _with(attempts: Sequence[Attempt], attempt: Attempt) -> tuple[Attempt, ...]:
    """The attempts with this one in its place, or behind them."""
    if attempt.request_id not in {each.request_id for each in attempts}:
        return (*attempts, attempt)
    return tuple(attempt if each.request_id == attempt.request_id else each for each in attempts)


def _further(attempt: Attempt, event: Event) -> Attempt:
    match event:
        case Asked():
            same = attempt.asked is not None and attempt.asked.digest == event.digest
            return replace(
                attempt, asked=event, asked_first_at=attempt.asked_first_at if same else event.at,
                requested_by=event.requested_by, granted=attempt.granted if same else (),
                approved=None, planned=None, turn_came=None, quiescing=None, closed=None, spreading=None,
                ended=None)
        case Decided():
            granted = (*attempt.granted, event) if event.answer in COUNTING else attempt.granted
            return replace(attempt, decisions=(*attempt.decisions, event), granted=granted)
        case Approved():
            return replace(attempt, approved=event)
        case Voided():
            return replace(attempt, voided=event, granted=(), approved=None, planned=None)
        case Planned():
            return replace(attempt, planned=event)
        case WindowMissed():
            return replace(attempt, missed=(*attempt.missed, event))
        case Hurried():
            return replace(attempt, hurried=event)
        case TurnCame():
            return replace(attempt, turn_came=event)
        case Quiescing():
            return replace(attempt, quiescing=event)
        case Closed():
            return replace(attempt, closed=event)
        case Spreading():
            return replace(attempt, spreading=event)
        case Ended():
            return replace(attempt, ended=event)
        case _:
            raise AssertionError(f"{event} is about no attempt")

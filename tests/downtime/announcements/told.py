"""What is told of events that happen one after the other, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from downtime.announcements import telling
from downtime.announcements.kinds import Kind
from downtime.announcements.notice import Notice
from downtime.history import journey
from downtime.history.events import (
    Answer,
    Approved,
    Closed,
    Decided,
    Ended,
    Event,
    FailedOnStaging,
    HeldBack,
    Offered,
    Outcome,
    Planned,
    Quiescing,
    Voided,
    WindowMissed,
)
from downtime.history.journey import Journey
from downtime.lanes import Lane
from tests.downtime.history import histories
from tests.downtime.history.histories import APPROVER, AUTHOR, at, ended

URL = "https://buildbot.example.org/"


def told(events: Sequence[Event]) -> list[Notice]:
    """All notices that the events give, in their order."""
    found, known = [], {}
    for number, event in enumerate(events):
        known[event.patch_id] = journey.after(known.get(event.patch_id), event)
        before = telling.announced_before(events[:number + 1], event) if isinstance(event, Planned) else None
        notice = telling.notice(event, known[event.patch_id], url=URL, announced=before)
        if notice is not None:
            found.append(notice)
    return found


def kinds(events: Sequence[Event]) -> list[Kind]:
    return [notice.kind for notice in told(events)]


def journey_of(events: Sequence[Event]) -> Journey:
    found = journey.of(events)
    assert found is not None, "there are events"
    return found


def waiting(patch_id: str = "patch-1", *, lane: Lane = Lane.COLD) -> list[Event]:
    """A patch that has begun to wait for an approval 3 minutes after the start."""
    return [histories.landed(patch_id), histories.rehearsed(patch_id, when=at(2), lane=lane),
            Offered(at=at(2), patch_id=patch_id, request_id=1, requested_by=(AUTHOR,)),
            histories.asked(patch_id, when=at(3), lane=lane)]


def decided(answer: Answer, *, minutes: float = 10, reason: str = "no backup yet") -> Decided:
    return Decided(at=at(minutes), patch_id="patch-1", request_id=1, build_id=1, digest="d" * 64, by=APPROVER,
                   answer=answer, reason=reason, sentence="it counts", signoff=True)


def approved(minutes: float = 60) -> Approved:
    return Approved(at=at(minutes), patch_id="patch-1", request_id=1, by=(APPROVER,))


def planned(begins: float | None, *, minutes: float = 61, behind: tuple[str, ...] = ()) -> Planned:
    return Planned(at=at(minutes), patch_id="patch-1", request_id=1, behind=behind,
                   begins_at=None if begins is None else at(begins))


def voided(minutes: float = 70, reason: str = "the patch has changed") -> Voided:
    return Voided(at=at(minutes), patch_id="patch-1", request_id=1, reason=reason)


def closed(minutes: float = 180) -> Closed:
    return Closed(at=at(minutes), patch_id="patch-1", request_id=1, expected_seconds=2.5)


def over(outcome: Outcome = Outcome.DEPLOYED, *, lane: Lane = Lane.COLD, left: str = "", touched: bool = True,
         sentence: str = "it is over", fragile: tuple[str, ...] = ()) -> Ended:
    found = ended(when=at(180) + timedelta(seconds=3), lane=lane, outcome=outcome, left=left, sentence=sentence,
                  began_at=at(180) if touched else None, outage_seconds=2.25, patch_seconds=2.0, kicked=12,
                  fragile=fragile)
    return found if touched else replace(found, outage_seconds=0.0, patch_seconds=0.0)


def one_of_each(text: str = "") -> list[Notice]:
    """A notice of every kind that an event gives, with this text wherever an event carries one."""
    way = [*waiting(), approved(), planned(180)]
    events: list[list[Event]] = [
        waiting(), [*waiting(), decided(Answer.OVERRIDDEN, reason=text)],
        [*waiting(), decided(Answer.REJECTED, reason=text)], [*waiting(), voided(reason=text)], way,
        [*way, WindowMissed(at=at(190), patch_id="patch-1", request_id=1, begins_at=at(180), reason=text)],
        [*way, Quiescing(at=at(120), patch_id="patch-1", request_id=1, begins_at=at(180))],
        [*way, closed()], [*way, closed(), over()],
        [*way, closed(), over(Outcome.ABORTED, sentence=text, fragile=(text,))],
        [*way, over(Outcome.REFUSED, touched=False, sentence=text)],
        [HeldBack(at=at(), patch_id="patch-1", reason=text, build_url=text)],
        [FailedOnStaging(at=at(), patch_id="patch-1", reason=text)]]
    return [told(each)[-1] for each in events]

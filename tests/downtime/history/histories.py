"""Journeys made of events, for tests: single ones with harmless defaults, patches in every stage, and a long
plausible history by chance.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from downtime.history import journey
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
    Landed,
    Offered,
    Outcome,
    Planned,
    Quiescing,
    Rehearsed,
    Withdrawn,
)
from downtime.history.journey import Journey
from downtime.lanes import Lane

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
NOW = datetime(2026, 3, 4, 8, 30, tzinfo=UTC)  # of `a_patch`
MINUTE = timedelta(minutes=1)
DIGEST = "d" * 64
BUILD = "http://localhost:8010/#/builders/2/builds/{}"  # as Buildbot gives its addresses
AUTHOR, OPERATOR, APPROVER = "developer@example.org", "operator@example.org", "approver@example.org"

STAGES = ("landed", "held back", "failed", "queued", "waiting", "signoff", "turn", "window", "quiescing", "deploying",
          "deployed", "live", "overridden", "rejected", "aborted", "found", "withdrawn")


def at(minutes: float = 0) -> datetime:
    """So many minutes after the beginning."""
    return START + timedelta(minutes=minutes)


def landed(patch_id: str = "patch-1", *, when: datetime = START) -> Landed:
    return Landed(at=when, patch_id=patch_id, commit="c" * 40, authors=(AUTHOR,))


def rehearsed(patch_id: str = "patch-1", *, when: datetime = START, lane: Lane = Lane.COLD, seconds: float = 1.0,
              expected_seconds: float = 1.0) -> Rehearsed:
    return Rehearsed(
        at=when, patch_id=patch_id, sha256="a" * 64, digest=DIGEST, path=f"db/{patch_id}.sql", commit="c" * 40,
        authors=(AUTHOR,), lane=lane, declared=True, seconds=seconds, expected_seconds=expected_seconds,
        outage_seconds=seconds, target_seconds=10, limit_seconds=15, verdict="within target", signoff_reasons=())


def asked(patch_id: str = "patch-1", *, when: datetime = START, request_id: int = 1, lane: Lane = Lane.COLD) -> Asked:
    return Asked(at=when, patch_id=patch_id, request_id=request_id, build_id=request_id, build_url=_build(request_id),
                 digest=DIGEST, lane=lane, requested_by=(AUTHOR,), needs_signoff=False, approvals_needed=1)


def ended(patch_id: str = "patch-1", *, when: datetime = START, request_id: int = 1, lane: Lane | None = Lane.COLD,
          outcome: Outcome = Outcome.DEPLOYED, began_at: datetime | None = None, patch_seconds: float = 1.0,
          outage_seconds: float = 1.004, expected_seconds: float | None = 1.0, kicked: int = 0,
          fragile: tuple[str, ...] = (), left: str = "", sentence: str = "it is over") -> Ended:
    return Ended(at=when, patch_id=patch_id, request_id=request_id, build_id=request_id, build_url=_build(request_id),
                 outcome=outcome, sentence=sentence, lane=lane, began_at=began_at, patch_seconds=patch_seconds,
                 outage_seconds=outage_seconds, expected_seconds=expected_seconds, kicked=kicked, fragile=fragile,
                 left=left)


def a_deployed(patch_id: str = "patch-1", *, when: datetime = START, request_id: int = 1, lane: Lane = Lane.COLD,
               patch_seconds: float = 1.0, overhead_seconds: float = 0.004, expected_seconds: float | None = 1.0
               ) -> list[Event]:
    """Its way: rehearsed after 2 min, approved after 60, quiescing at 90, over at 150 min after it landed."""
    end, outage = when + 150 * MINUTE, patch_seconds + overhead_seconds if lane is Lane.COLD else 0.0
    return [
        landed(patch_id, when=when), rehearsed(patch_id, when=when + 2 * MINUTE, lane=lane),
        Offered(at=when + 2 * MINUTE, patch_id=patch_id, request_id=request_id, requested_by=(AUTHOR,)),
        asked(patch_id, when=when + 3 * MINUTE, request_id=request_id, lane=lane),
        Approved(at=when + 60 * MINUTE, patch_id=patch_id, request_id=request_id, by=(APPROVER,)),
        Quiescing(at=when + 90 * MINUTE, patch_id=patch_id, request_id=request_id, begins_at=end),
        Closed(at=end - timedelta(seconds=outage), patch_id=patch_id, request_id=request_id, expected_seconds=1.0),
        ended(patch_id, when=end, request_id=request_id, lane=lane, began_at=end - timedelta(seconds=outage),
              patch_seconds=patch_seconds, outage_seconds=outage, expected_seconds=expected_seconds, kicked=12)]


def journeys(events: Iterable[Event]) -> dict[str, Journey]:
    """All of them by patch, as the journal has them."""
    found: dict[str, Journey] = {}
    for event in events:
        found[event.patch_id] = journey.after(found.get(event.patch_id), event)
    return found


def a_history(patches: int, *, seed: int = 7, until: datetime | None = None) -> dict[str, Journey]:
    """Many patches over months: most deployed, some given up first, some live, some found, the last ones waiting."""
    chance = random.Random(seed)
    when, found = until or START, []
    steps = [timedelta(hours=chance.expovariate(1 / 30)) for _ in range(patches)]
    when -= sum(steps, timedelta())
    for number, step in enumerate(steps):
        when += step
        found.append(list(_way(f"patch-{number + 1:04}", when, number, chance, is_new=number >= patches - 3)))
    return journeys(event for way in found for event in way)


def _way(patch_id: str, when: datetime, number: int, chance: random.Random, *, is_new: bool) -> Iterator[Event]:
    lane = Lane.LIVE if chance.random() < 0.25 else Lane.COLD
    expected = min(10 ** chance.gauss(-0.6, 0.75), 14.0)
    yield landed(patch_id, when=when)
    if chance.random() < 0.03:
        yield FoundApplied(at=when + timedelta(hours=3), patch_id=patch_id, lane=lane, patch_seconds=expected,
                           began_at=when + timedelta(hours=2), requested_by=OPERATOR)
        return
    when += timedelta(seconds=30 + expected)
    yield rehearsed(patch_id, when=when, lane=lane, seconds=expected, expected_seconds=expected)
    for attempt in range(3):
        request = 4 * number + attempt + 1
        yield Offered(at=when, patch_id=patch_id, request_id=request, requested_by=(AUTHOR,))
        yield asked(patch_id, when=when + timedelta(seconds=3), request_id=request, lane=lane)
        when += timedelta(hours=chance.lognormvariate(0.8, 1.1))
        if is_new:
            return
        outcome = chance.choices(list(Outcome), [40, 1, 4, 1, 1, 1, 0.2])[0]
        touched = outcome in (Outcome.DEPLOYED, Outcome.FAILED, Outcome.ABORTED)
        if touched:
            yield Approved(at=when, patch_id=patch_id, request_id=request, by=(APPROVER,))
            begins = when + timedelta(hours=chance.choice([0.2, 1.5, 4, 18]) if lane is Lane.COLD else 0.01)
            yield Planned(at=when, patch_id=patch_id, request_id=request, begins_at=begins)
            if lane is Lane.COLD:
                yield Quiescing(at=begins - timedelta(minutes=8), patch_id=patch_id, request_id=request,
                                begins_at=begins)
            yield Closed(at=begins, patch_id=patch_id, request_id=request, expected_seconds=expected)
            when = begins
        patch = expected * chance.lognormvariate(0.05, 0.25) if outcome is Outcome.DEPLOYED else 0.0
        outage = patch + max(0.003, chance.lognormvariate(-3.6, 0.5)) if touched and lane is Lane.COLD else 0.0
        fragile = (chance.choice(["process_upload", "process_upload", "billing"]),) \
            if outcome is Outcome.ABORTED and chance.random() < 0.8 else ()
        yield ended(patch_id, when=when + timedelta(seconds=outage + 2), request_id=request, lane=lane, outcome=outcome,
                    began_at=when if touched else None, patch_seconds=patch, outage_seconds=outage,
                    expected_seconds=expected, kicked=chance.randrange(60) if touched else 0, fragile=fragile)
        if outcome is Outcome.DEPLOYED:
            return
        when += timedelta(hours=chance.uniform(0.3, 20))


def _build(request_id: int) -> str:
    return f"#/builders/2/builds/{request_id}"


def a_patch(stage: str, patch_id: str, *, number: int = 1, author: str = AUTHOR,
            reason: str = "reviewed with the team", by: str = "approver") -> list[Event]:
    """The events of a patch that stands in one of STAGES; `number` moves it back in time and tells it apart."""
    when = NOW - timedelta(hours=3 + number * 7)
    slow, seconds, url = stage == "signoff", 0.031 * (1 + number % 7), BUILD.format(number)
    came = replace(landed(patch_id, when=when), authors=(author,), build_url=url)
    measured = replace(
        rehearsed(patch_id, when=when + MINUTE, lane=Lane.LIVE if stage == "live" else Lane.COLD,
                  seconds=17.2 if slow else seconds, expected_seconds=18.4 if slow else seconds * 1.2),
        authors=(author,), build_url=url, path=f"database/schema/{patch_id}.sql",
        verdict="over the limit" if slow else "within target", signoff_reasons=(reason,) if slow else ())
    early: dict[str, list[Event]] = {
        "landed": [],
        "held back": [HeldBack(at=measured.at, patch_id=patch_id, reason=f"lands together with code: {reason}")],
        "failed": [FailedOnStaging(at=measured.at, patch_id=patch_id, reason=f"line 4: {reason}")],
        "found": [measured, FoundApplied(at=when + 60 * MINUTE, patch_id=patch_id, lane=Lane.COLD,
                                         began_at=when + 50 * MINUTE, patch_seconds=seconds, requested_by=author)],
        "withdrawn": [measured, Withdrawn(at=when + 2 * MINUTE, patch_id=patch_id, commit="e" * 40)]}
    if stage in early:
        return [came, *early[stage]]
    offered = Offered(at=when + 2 * MINUTE, patch_id=patch_id, request_id=number, requested_by=(author,))
    waits = replace(asked(patch_id, when=when + 3 * MINUTE, request_id=number, lane=measured.lane), build_url=url,
                    requested_by=(author,), needs_signoff=slow, approvals_needed=2 if slow else 1)
    if stage == "queued":
        return [came, measured, offered]
    decided = [] if stage in ("waiting", "signoff") else _decided(stage, measured, when, number, by, reason)
    return [came, measured, offered, waits, *decided]


def _decided(stage: str, measured: Rehearsed, when: datetime, number: int, by: str, reason: str) -> list[Event]:
    answer = {"overridden": Answer.OVERRIDDEN, "rejected": Answer.REJECTED}.get(stage, Answer.GRANTED)
    patch_id, url, seconds = measured.patch_id, measured.build_url, measured.seconds
    about: dict[str, Any] = {"patch_id": patch_id, "request_id": number}
    decided = Decided(at=when + 40 * MINUTE, **about, build_id=number, digest=DIGEST, by=by, answer=answer,
                      reason=reason, sentence=f"{patch_id} {answer} by {by}", signoff=stage == "overridden",
                      build_url=url)

    def over(outcome: Outcome, sentence: str, *, outage_seconds: float = 0.0, patch_seconds: float = 0.0,
             **more: Any) -> Ended:
        return replace(ended(**about, when=when + 45 * MINUTE, lane=measured.lane, outcome=outcome, sentence=sentence,
                             outage_seconds=outage_seconds, patch_seconds=patch_seconds,
                             expected_seconds=measured.expected_seconds if patch_seconds else None, **more),
                       build_url=url)

    if stage == "rejected":
        return [decided, over(Outcome.REJECTED, f"rejected by {by}: {reason}")]
    planned = when + 41 * MINUTE
    later: dict[str, list[Event]] = {
        "turn": [Planned(at=planned, **about, behind=("patch-earlier",))],
        "window": [Planned(at=planned, **about, begins_at=NOW + timedelta(hours=2, minutes=10))],
        "quiescing": [Quiescing(at=planned, **about, begins_at=NOW + 12 * MINUTE)],
        "deploying": [Closed(at=when + 42 * MINUTE, **about, expected_seconds=2.0)],
        "aborted": [over(Outcome.ABORTED, f"a fragile user is in the middle of a transaction: {reason}",
                         began_at=when + 42 * MINUTE, fragile=("process_upload",), outage_seconds=0.02)]}
    outage_seconds = 0.0 if measured.lane is Lane.LIVE else seconds + 0.041
    done: list[Event] = [over(Outcome.DEPLOYED, f"{patch_id} deployed", began_at=when + 43 * MINUTE,
                              patch_seconds=seconds, outage_seconds=outage_seconds, kicked=20)]
    approved = Approved(at=when + 40 * MINUTE, **about, by=(by,), override=stage == "overridden")
    return [decided, approved, *later.get(stage, done)]


def some_of_each() -> list[Event]:
    """A patch in each stage."""
    return [event for number, stage in enumerate(STAGES, start=1)
            for event in a_patch(stage, f"patch-2211-{number:02}-0", number=number)]


def many(count: int) -> list[Event]:
    """So many patches, of which one in forty waits for somebody."""
    ways = ["deployed"] * 30 + ["live"] * 6 + ["rejected", "window", "waiting", "overridden"]
    return [event for number in range(1, count + 1)
            for event in a_patch(ways[number % len(ways)], f"patch-2211-{number:04}-0", number=number,
                                 author=f"developer{number % 9}@example.org")]

"""Journeys made of events, for tests: single ones with harmless defaults, and a long plausible history by chance."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from downtime.history import journey
from downtime.history.events import (
    Approved,
    Asked,
    Closed,
    Ended,
    Event,
    FoundApplied,
    Landed,
    Offered,
    Outcome,
    Planned,
    Quiescing,
    Rehearsed,
)
from downtime.history.journey import Journey
from downtime.lanes import Lane

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
AUTHOR, OPERATOR, APPROVER = "developer@example.org", "operator@example.org", "approver@example.org"


def at(minutes: float = 0) -> datetime:
    """So many minutes after the beginning."""
    return START + timedelta(minutes=minutes)


def landed(patch_id: str = "patch-1", *, when: datetime = START) -> Landed:
    return Landed(at=when, patch_id=patch_id, commit="c" * 40, authors=(AUTHOR,))


def rehearsed(patch_id: str = "patch-1", *, when: datetime = START, lane: Lane = Lane.COLD, seconds: float = 1.0,
              expected_seconds: float = 1.0) -> Rehearsed:
    return Rehearsed(
        at=when, patch_id=patch_id, sha256="a" * 64, digest="d" * 64, path=f"db/{patch_id}.sql", commit="c" * 40,
        authors=(AUTHOR,), lane=lane, declared=True, seconds=seconds, expected_seconds=expected_seconds,
        outage_seconds=seconds, target_seconds=10, limit_seconds=15, verdict="within target", signoff_reasons=())


def asked(patch_id: str = "patch-1", *, when: datetime = START, request_id: int = 1, lane: Lane = Lane.COLD) -> Asked:
    return Asked(at=when, patch_id=patch_id, request_id=request_id, build_id=request_id, build_url=_build(request_id),
                 digest="d" * 64, lane=lane, requested_by=(AUTHOR,), needs_signoff=False, approvals_needed=1)


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
    minute = timedelta(minutes=1)
    end, outage = when + 150 * minute, patch_seconds + overhead_seconds if lane is Lane.COLD else 0.0
    return [
        landed(patch_id, when=when), rehearsed(patch_id, when=when + 2 * minute, lane=lane),
        Offered(at=when + 2 * minute, patch_id=patch_id, request_id=request_id, requested_by=(AUTHOR,)),
        asked(patch_id, when=when + 3 * minute, request_id=request_id, lane=lane),
        Approved(at=when + 60 * minute, patch_id=patch_id, request_id=request_id, by=(APPROVER,)),
        Quiescing(at=when + 90 * minute, patch_id=patch_id, request_id=request_id, begins_at=end),
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

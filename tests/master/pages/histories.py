"""What the pages are shown with: a source made of plain values, and patches in every stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from downtime.evidence import Evidence
from downtime.history import events, journey
from downtime.history.events import Answer, Event, Outcome
from downtime.history.journey import Journey
from downtime.lanes import Lane
from downtime.settings import Settings
from master.pages.source import ROOT
from tests.downtime.evidences import EVIDENCE
from tests.master.settings_for_tests import a_settings

NOW = datetime(2026, 3, 4, 8, 30, tzinfo=UTC)
DIGEST = "d" * 64
BUILD = "http://localhost:8010/#/builders/2/builds/{}"

STAGES = ("landed", "held back", "failed", "queued", "waiting", "signoff", "turn", "window", "quiescing", "deploying",
          "deployed", "live", "overridden", "rejected", "aborted", "found", "withdrawn")


class Told:
    """See `master.pages.source.Source`: what the test gives it."""

    base_url = ROOT

    def __init__(self, happened: Iterable[Event], settings: Settings, *, evidence: Evidence | None = EVIDENCE,
                 outage: Mapping[str, Any] | None = None, diff: str = "") -> None:
        self.settings = settings
        self._events = tuple(sorted(happened, key=lambda event: event.at))
        self._journeys: dict[str, Journey] = {}
        for event in self._events:
            self._journeys[event.patch_id] = journey.after(self._journeys.get(event.patch_id), event)
        self._evidence, self._outage, self._diff = evidence, dict(outage or {}), diff

    def now(self) -> datetime:
        return NOW

    def journeys(self) -> Mapping[str, Journey]:
        return self._journeys

    def events(self) -> tuple[Event, ...]:
        return self._events

    def evidence(self, journey: Journey) -> Evidence | None:
        return self._evidence if journey.rehearsed is not None else None

    def outage(self, build_id: int) -> dict[str, Any]:
        return self._outage

    def patch_diff(self, journey: Journey) -> str:
        return self._diff


def with_windows(folder: Path, **sections: Any) -> Settings:
    environments = {"staging": {"database": "postgresql://patcher@localhost:1/app"},
                    "production": {"database": "postgresql://patcher@localhost:2/app",
                                   "windows": {"cron": ["40 10 * * *"], "minutes": 30, "timezone": "UTC"}}}
    return a_settings(folder, environments=environments, **sections)


def a_patch(stage: str, patch_id: str, *, number: int = 1, author: str = "developer@example.org",
            reason: str = "reviewed with the team", by: str = "approver") -> list[Event]:
    """The events of a patch that stands in one of STAGES; `number` moves it back in time and tells it apart."""
    began = NOW - timedelta(hours=3 + number * 7)

    def at(minutes: float) -> datetime:
        return began + timedelta(minutes=minutes)

    url, seconds = BUILD.format(number), 0.031 * (1 + number % 7)
    landed = events.Landed(at=at(0), patch_id=patch_id, commit="c" * 40, authors=(author,), build_url=url)
    slow = stage == "signoff"
    rehearsed = events.Rehearsed(
        at=at(1), patch_id=patch_id, sha256="a" * 64, digest=DIGEST, path=f"database/schema/{patch_id}.sql",
        commit="c" * 40, authors=(author,), lane=Lane.LIVE if stage == "live" else Lane.COLD, declared=True,
        seconds=17.2 if slow else seconds, expected_seconds=18.4 if slow else seconds * 1.2, outage_seconds=seconds,
        target_seconds=10, limit_seconds=15, verdict="over the limit" if slow else "within target",
        signoff_reasons=(reason,) if slow else (), build_url=url)
    if stage == "landed":
        return [landed]
    if stage == "held back":
        return [landed, events.HeldBack(at=at(1), patch_id=patch_id, reason=f"lands together with code: {reason}")]
    if stage == "failed":
        return [landed, events.FailedOnStaging(at=at(1), patch_id=patch_id, reason=f"line 4: {reason}")]
    if stage == "found":
        return [landed, rehearsed, events.FoundApplied(at=at(60), patch_id=patch_id, lane="cold", began_at=at(50),
                                                       patch_seconds=seconds, requested_by=author)]
    if stage == "withdrawn":
        return [landed, rehearsed, events.Withdrawn(at=at(2), patch_id=patch_id, commit="e" * 40)]
    offered = events.Offered(at=at(2), patch_id=patch_id, request_id=number, requested_by=(author,))
    if stage == "queued":
        return [landed, rehearsed, offered]
    lane = rehearsed.lane
    asked = events.Asked(at=at(3), patch_id=patch_id, request_id=number, build_id=number, build_url=url, digest=DIGEST,
                         lane=lane, requested_by=(author,), needs_signoff=slow, approvals_needed=2 if slow else 1)
    waiting: list[Event] = [landed, rehearsed, offered, asked]
    if stage in ("waiting", "signoff"):
        return waiting
    return [*waiting, *_decided(stage, patch_id, number, at, by, reason, url, lane, seconds)]


def _decided(stage: str, patch_id: str, number: int, at: Any, by: str, reason: str, url: str, lane: Lane,
             seconds: float) -> list[Event]:
    answer = {"overridden": Answer.OVERRIDDEN, "rejected": Answer.REJECTED}.get(stage, Answer.GRANTED)
    about: dict[str, Any] = {"patch_id": patch_id, "request_id": number}
    decided = events.Decided(at=at(40), **about, build_id=number, digest=DIGEST, by=by, answer=answer, reason=reason,
                             sentence=f"{patch_id} {answer} by {by}", signoff=stage == "overridden", build_url=url)

    def ended(outcome: Outcome, sentence: str, **more: Any) -> events.Ended:
        return events.Ended(at=at(45), **about, build_id=number, build_url=url, outcome=outcome, sentence=sentence,
                            lane=lane, **more)

    if stage == "rejected":
        return [decided, ended(Outcome.REJECTED, f"rejected by {by}: {reason}")]
    approved = events.Approved(at=at(40), **about, by=(by,), override=stage == "overridden")
    known: list[Event] = [decided, approved]
    begins_at = NOW + timedelta(hours=2, minutes=10)
    later = {
        "turn": [events.Planned(at=at(41), **about, behind=("patch-earlier",))],
        "window": [events.Planned(at=at(41), **about, begins_at=begins_at)],
        "quiescing": [events.Quiescing(at=at(41), **about, begins_at=NOW + timedelta(minutes=12))],
        "deploying": [events.Closed(at=at(42), **about, expected_seconds=2.0)],
        "aborted": [ended(Outcome.ABORTED, f"a fragile user is in the middle of a transaction: {reason}",
                          began_at=at(42), fragile=("process_upload",), outage_seconds=0.02)],
    }
    done = [ended(Outcome.DEPLOYED, f"{patch_id} deployed", began_at=at(43), patch_seconds=seconds, kicked=20,
                  outage_seconds=0.0 if lane is Lane.LIVE else seconds + 0.041, expected_seconds=seconds * 1.2)]
    return known + list(later.get(stage, done))


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


def an_outage(*, kicked: int = 3, user: str = "app", query: str = "SELECT 1") -> dict[str, Any]:
    """The outage document of a deployment that went well."""
    started, phases, after = NOW, [], 0.0
    for name, seconds in (("prevent connections", 0.004), ("check fragile users", 0.002), ("kick connections", 0.021),
                          ("apply patch", 0.142), ("allow connections", 0.003)):
        phases.append({"phase": name, "state": "done", "seconds": seconds, "summary": f"{name} done",
                       "started_at": (started + timedelta(seconds=after)).isoformat()})
        after += seconds
    sessions = [{"pid": 4000 + number, "user": user if number % 2 else "process_upload", "application": "web",
                 "client": f"10.0.0.{number}:5000", "state": "idle in transaction" if number == 1 else "idle",
                 "in_transaction": number == 1, "transaction_seconds": 3.2 if number == 1 else None,
                 "last_query": query} for number in range(kicked)]
    return {"patch": "patch-1", "lane": "cold", "applied": True, "error": None, "started_at": started.isoformat(),
            "outage_seconds": after, "patch_seconds": 0.138, "overhead_seconds": after - 0.138, "retries": 0,
            "timeline": phases, "kicked": kicked, "kick_report": sessions, "kick_report_left_out": 0,
            "drained": 0, "drained_report": [], "drained_report_left_out": 0,
            "client": {"outage_seconds": 0.179, "resolution_seconds": 0.007, "persistent_gap_seconds": 0.181,
                       "longest_call_seconds": 0.176, "attempts": 312, "successes": 311, "errors": {"57P01": 1},
                       "since_at": started.isoformat(), "until_at": started.isoformat()}}

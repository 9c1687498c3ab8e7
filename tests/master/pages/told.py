"""What the pages are shown with: a source made of plain values, and the document of an outage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from downtime.evidence import Evidence
from downtime.history.events import Event
from downtime.history.journey import Journey
from downtime.settings import Settings
from master.pages.source import ROOT
from tests.downtime.evidences import EVIDENCE
from tests.downtime.history.histories import NOW, journeys
from tests.master.settings_for_tests import a_settings


class Told:
    """See `master.pages.source.Source`: what the test gives it."""

    base_url = ROOT

    def __init__(self, happened: Iterable[Event], settings: Settings, *, evidence: Evidence | None = EVIDENCE,
                 outage: Mapping[str, Any] | None = None, fleet: Mapping[str, Any] | None = None,
                 diff: str = "", doubt: bool = False) -> None:
        self.settings = settings
        self._events = tuple(sorted(happened, key=lambda event: event.at))
        self._journeys = journeys(self._events)
        self._fleet = dict(fleet or {})
        self._evidence, self._outage, self._diff, self._doubt = evidence, dict(outage or {}), diff, doubt

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

    def fleet(self, build_id: int) -> dict[str, Any]:
        return self._fleet

    def in_doubt(self) -> bool:
        return self._doubt

    def patch_diff(self, journey: Journey) -> str:
        return self._diff


def with_windows(folder: Path, **sections: Any) -> Settings:
    environments = {"staging": {"database": "postgresql://patcher@localhost:1/app"},
                    "production": {"database": "postgresql://patcher@localhost:2/app",
                                   "windows": {"cron": ["40 10 * * *"], "minutes": 30, "timezone": "UTC"}}}
    return a_settings(folder, environments=environments, **sections)


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

"""What the pages cost: their first byte and weight with 2,000 deployments in the history, how long a decision takes to
count, and whether outages are longer while visitors look. `python -m demo.page_cost [DEPLOYMENTS]`, of each kind.
"""

from __future__ import annotations

import json
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from demo.buildmaster import Buildmaster
from demo.sandbox import Sandbox
from demo.stage import DEPLOYED_SECONDS, Stage
from downtime.evidence import Verdict
from downtime.history.events import (
    Answer,
    Approved,
    Asked,
    Closed,
    Decided,
    Ended,
    Event,
    Landed,
    Offered,
    Outcome,
    Rehearsed,
    to_json,
)
from downtime.lanes import Lane
from steps.shared.names import ServiceName

HISTORY = 2000           # deployments
FIRST_BYTE_GOAL_MS = 300.0
WEIGHT_GOAL_KB = 300.0
DECISION_GOAL_SECONDS = 1.0
LOOKS = 15
VISITORS = 3
PAGES = ("board", "charts", "decisions", "deployment?patch=patch-0100-1000-0", "status.json")
ADDRESS = "plugins/wsgi_dashboards/deployments/"
HARMLESS = "-- apply: cold\nCOMMENT ON TABLE account IS 'looked at again';\n"


def a_deployment(number: int) -> Iterator[Event]:
    """All that happens to one patch on its way."""
    patch, at = f"patch-0100-{number:04}-0", datetime.now(UTC) - timedelta(hours=6 * (HISTORY - number) + 6)
    author, digest, url = "developer@example.org", "d" * 64, "http://127.0.0.1/#/builders/2/builds/1"
    yield Landed(at=at, patch_id=patch, commit="c" * 40, authors=(author,))
    yield Rehearsed(
        at=at + timedelta(seconds=3), patch_id=patch, sha256="a" * 64, digest=digest, path=f"db/{patch}.sql",
        commit="c" * 40, authors=(author,), lane=Lane.COLD, declared=True, seconds=0.2 + number % 7,
        expected_seconds=0.2 + number % 7, outage_seconds=0.3 + number % 7, target_seconds=10, limit_seconds=15,
        verdict=Verdict.WITHIN_TARGET, signoff_reasons=())
    yield Offered(at=at + timedelta(seconds=4), patch_id=patch, request_id=-number, requested_by=(author,))
    yield Asked(at=at + timedelta(seconds=5), patch_id=patch, request_id=-number, build_id=-number, build_url=url,
                digest=digest, lane=Lane.COLD, requested_by=(author,), needs_signoff=False, approvals_needed=1)
    approved_at = at + timedelta(minutes=40 + number % 50)
    yield Decided(at=approved_at, patch_id=patch, request_id=-number, build_id=-number, digest=digest, by="approver",
                  answer=Answer.GRANTED, reason="read it", sentence="approved", signoff=False)
    yield Approved(at=approved_at, patch_id=patch, request_id=-number, by=("approver",))
    yield Closed(at=approved_at + timedelta(seconds=1), patch_id=patch, request_id=-number, expected_seconds=0.2)
    yield Ended(at=approved_at + timedelta(seconds=9), patch_id=patch, request_id=-number, build_id=-number,
                build_url=url, outcome=Outcome.DEPLOYED, sentence=f"{patch} deployed", lane=Lane.COLD, kicked=37,
                began_at=approved_at + timedelta(seconds=1), patch_seconds=0.2 + number % 7,
                outage_seconds=0.25 + number % 7, expected_seconds=0.2 + number % 7)


def fill(state: Path) -> None:
    """Write the history where the journal will read it."""
    with sqlite3.connect(state) as database:
        row = database.execute("INSERT INTO objects (name, class_name) VALUES (?, 'fastdowntime')",
                               (ServiceName.JOURNAL.value,))
        events = (event for number in range(1, HISTORY + 1) for event in a_deployment(number))
        database.executemany("INSERT INTO object_state (objectid, name, value_json) VALUES (?, ?, ?)", (
            (row.lastrowid, f"{number:09}", json.dumps(to_json(event))) for number, event in enumerate(events, 1)))


def first_byte(address: str) -> tuple[float, int]:
    """Seconds until the first byte of an answer, and its weight in bytes."""
    began = time.monotonic()
    with urllib.request.urlopen(address) as answer:
        first = answer.read(1)
        seconds = time.monotonic() - began
        return seconds, len(first + answer.read())


@contextmanager
def visitors(address: str) -> Iterator[None]:
    """Some people who look at one page after the other."""
    gone = threading.Event()

    def look() -> None:
        while not gone.is_set():
            for page in PAGES:
                try:
                    first_byte(address + page)
                except OSError:
                    gone.wait(0.2)  # sent away while the database is closed
    looking = [threading.Thread(target=look) for _ in range(VISITORS)]
    for each in looking:
        each.start()
    try:
        yield
    finally:
        gone.set()
        for each in looking:
            each.join()


def deploy(stage: Stage, number: int) -> tuple[float, float]:
    """One harmless patch: seconds from the click to "approved", and of outage as the buildmaster measured it."""
    patch = f"patch-2301-{number:02}-0"
    stage.rehearse(patch, text=HARMLESS)
    build, approver = stage.waiting(patch), stage.as_("approver")
    clicked = time.monotonic()
    stage.decide(build, "approver")
    counted = time.monotonic() - clicked
    build = approver.ended(build, DEPLOYED_SECONDS)
    return counted, float(approver.data(build, "outage")["outage_seconds"])


def run(stage: Stage, deployments: int) -> Iterator[str]:
    address = stage.sandbox.address + ADDRESS
    yield f"{HISTORY:,} deployments in the history; median of {LOOKS} looks\n"
    yield "| page | first byte, ms | weight, kB |"
    yield "|---|---:|---:|"
    for page in PAGES:
        looks = [first_byte(address + page) for _ in range(LOOKS)]
        yield f"| {page} | {statistics.median(s for s, _ in looks) * 1000:.0f} | {looks[0][1] / 1000:.0f} |"
    yield f"\ngoals: {FIRST_BYTE_GOAL_MS:.0f} ms, {WEIGHT_GOAL_KB:.0f} kB\n"
    alone, watched, counted = [], [], []
    for number in range(1, deployments + 1):
        seconds, outage = deploy(stage, 2 * number)
        counted.append(seconds)
        alone.append(outage)
        with visitors(address):
            watched.append(deploy(stage, 2 * number + 1)[1])
    first, second = (statistics.median(each) * 1000 for each in (alone, watched))
    yield (f"from the click to a decision that counts: {statistics.median(counted):.2f} s"
           f" (goal: {DECISION_GOAL_SECONDS:g} s)")
    yield (f"outage, median of {deployments} in turns: {first:.1f} ms alone, {second:.1f} ms with {VISITORS} visitors:"
           f" {second / first:.2f} times")


def main() -> None:
    deployments = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    sandbox = Sandbox.create(Path(tempfile.mkdtemp(prefix="page-cost-")) / "demo")
    master = Buildmaster(sandbox)
    try:
        sandbox.record_baseline()
        master.create()
        fill(sandbox.master / "state.sqlite")
        master.start()
        stage = Stage(master, lambda line: print(line, file=sys.stderr))
        try:
            for line in run(stage, deployments):
                print(line, flush=True)
        finally:
            stage.close()
    finally:
        master.stop()
        sandbox.take_down()


if __name__ == "__main__":
    main()

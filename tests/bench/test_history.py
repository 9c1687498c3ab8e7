"""Costs as the work grows, with a buildmaster: a past made of one deployment, and what the reports say of figures."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy
from buildbot.db.model import Model

from bench.figures import Section
from bench.growth import history, landing, logs, memory, past
from bench.growth.history import ANSWERS, PAGES, STARTS, Found
from bench.growth.landing import TO_OUTAGE, TO_VERDICT, Round
from bench.growth.logs import Told
from bench.growth.memory import Point
from steps.shared.names import ServiceName

MODEL, NEWER = "patch-9000-00000-0", "patch-9100-00000-0"
DEPLOYMENT = f"""
INSERT INTO masters (id, name, name_hash, active, last_active) VALUES (1, 'm', 'm', 1, 0);
INSERT INTO builders (id, name, name_hash) VALUES (1, 'production', 'p');
INSERT INTO workers (id, name, info, paused, graceful) VALUES (1, 'w', '{{}}', 0, 0);
INSERT INTO buildsets (id, reason, submitted_at, complete) VALUES (1, 'landed', 900000, 1);
INSERT INTO buildrequests (id, buildsetid, builderid, priority, complete, submitted_at, waited_for)
    VALUES (1, 1, 1, 0, 1, 900000, 0);
INSERT INTO builds (id, number, builderid, buildrequestid, workerid, masterid, started_at, locks_duration_s,
    state_string, results) VALUES (1, 1, 1, 1, 1, 1, 900001, 0, '{MODEL} deployed', 0);
INSERT INTO steps (id, number, name, buildid, started_at, state_string, urls_json, hidden)
    VALUES (1, 1, 'admit', 1, 900001, 'admitted', '[]', 0);
INSERT INTO logs (id, name, slug, stepid, complete, num_lines, type) VALUES (1, 'l', 'l', 1, 1, 1, 's');
INSERT INTO logchunks (logid, first_line, last_line, content, compressed) VALUES (1, 0, 0, x'6f', 0);
INSERT INTO build_properties (buildid, name, value, source) VALUES (1, 'patch', '"{MODEL}"', 'x');
INSERT INTO objects (id, name, class_name) VALUES
    (1, '{ServiceName.JOURNAL}', 'fastdowntime'), (2, '{ServiceName.EVIDENCE}', 'fastdowntime');
INSERT INTO object_state (objectid, name, value_json) VALUES (2, 'abc {MODEL}', '"evidence of {MODEL}"');
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Buildbot's own tables with one deployment, and two events of it and one of a newer patch."""
    path = tmp_path / "state.sqlite"
    Model.metadata.create_all(engine := sqlalchemy.create_engine(f"sqlite:///{path}"))
    engine.dispose()
    events = [{"kind": "landed", "at": "2026-01-01T00:00:00+00:00", "patch_id": MODEL},
              {"kind": "ended", "at": "2026-01-01T00:01:00+00:00", "patch_id": MODEL, "request_id": 1, "build_id": 1},
              {"kind": "landed", "at": "2026-01-02T00:00:00+00:00", "patch_id": NEWER}]
    with sqlite3.connect(path) as database:
        database.executescript(DEPLOYMENT)
        database.executemany("INSERT INTO object_state (objectid, name, value_json) VALUES (1, ?, ?)", [
            (f"{number:09}", json.dumps(event)) for number, event in enumerate(events, start=1)])
    return path


def rows(state: Path, statement: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(state) as database:
        return database.execute(statement).fetchall()


def test_copies_are_whole_and_point_to_each_other(state: Path) -> None:
    """As many of everything, and not one row that belongs to nothing."""
    past.multiply(state, MODEL, past.largest(state), 5)

    assert [rows(state, f"SELECT count(*) FROM {table}") for table in ("builds", "logs", "build_properties")] \
        == [[(5,)]] * 3
    assert rows(state, "PRAGMA foreign_key_check") == []


def test_a_copy_has_a_patch_and_instants_of_its_own(state: Path) -> None:
    """Each a quarter of a day behind the one before, in Buildbot's tables as in the journal."""
    past.multiply(state, MODEL, past.largest(state), 3)
    events = [json.loads(str(value)) for (value,) in rows(
        state, "SELECT value_json FROM object_state WHERE objectid = 1 ORDER BY name")]

    assert rows(state, "SELECT value, started_at FROM builds JOIN build_properties ON buildid = id ORDER BY id") == [
        (f'"patch-9000-0000{k}-0"', 900001 + (k - 3) * past.BETWEEN_SECONDS) for k in range(3)]
    assert [(event["patch_id"], event["at"][:16], event.get("build_id")) for event in events[2:4]] == [
        ("patch-9000-00001-0", "2025-12-31T12:00", None), ("patch-9000-00001-0", "2025-12-31T12:01", 2)]
    assert rows(state, "SELECT value_json FROM object_state WHERE objectid = 2 AND name = 'abc patch-9000-00002-0'") \
        == [('"evidence of patch-9000-00002-0"',)]


def test_what_is_newer_than_the_model_is_not_copied_and_stays_the_newest(state: Path) -> None:
    """The deployment that waits is there once, behind them all."""
    past.multiply(state, MODEL, past.largest(state), 4)
    events = [json.loads(str(value))["patch_id"] for (value,) in rows(
        state, "SELECT value_json FROM object_state WHERE objectid = 1 ORDER BY name")]

    assert (len(events), events.count(NEWER), events[-1]) == (9, 1, NEWER)


def a_found(*, milliseconds: float, kilobytes: float = 50.0, starts: int = len(STARTS)) -> Found:
    names = [*PAGES, *ANSWERS]
    return Found(first_byte_ms=dict.fromkeys(names, milliseconds), weight_kb=dict.fromkeys(names, kilobytes),
                 start_seconds=(3.0,) * starts)


def missed(section: Section) -> list[str]:
    return [verdict.goal for verdict in section.verdicts if not verdict.met]


def test_pages_are_judged_at_two_thousand_deployments() -> None:
    """Whoever reads the goals reads the size they are for; what more deployments cost is told by the exponent."""
    section = history.section({1000: a_found(milliseconds=100), 2000: a_found(milliseconds=290),
                               5000: a_found(milliseconds=700, kilobytes=301)})

    assert missed(section) == []
    assert "| board | 100 | 290 | 700 |" in section.text


def test_growth_that_is_worse_than_linear_is_a_miss() -> None:
    """Of pages, answers and starts apart."""
    section = history.section({1000: a_found(milliseconds=10), 2000: a_found(milliseconds=30)})

    assert [goal.partition(" ")[0] for goal in missed(section)] == ["pages", "answers"]


def test_a_start_that_was_timed_once_is_shown_without_an_exponent() -> None:
    """A master is killed with the largest history at least."""
    section = history.section({10: a_found(milliseconds=10, starts=2), 1000: a_found(milliseconds=10)})

    assert "| kill -9, until its successor answers |  | 3.00 |  |  |" in section.text
    assert {curve.title for curve in section.curves} == {*PAGES, *ANSWERS, *STARTS[:2]}


def a_round(*, verdict: float, outage: float) -> Round:
    return {TO_VERDICT: [verdict / 3] * 3, TO_OUTAGE: [outage / 3] * 3}


def test_a_slow_decision_is_a_miss_at_any_size() -> None:
    """A second is the most that somebody waits behind the click."""
    section = landing.section({10: [a_round(verdict=2.0, outage=1.0)] * 3, 100: [a_round(verdict=2.0, outage=3.9)] * 3})

    assert missed(section) == ["from the click to a decision that counts"]
    assert "| 100 | 1.30 | 1.30 | 1.30 | 3.90 (3.90–3.90) |" in section.text


def test_memory_is_counted_from_the_warm_master_and_in_proportion() -> None:
    """What is imported once is no growth; where fewer deployments were done, less growth is forgiven."""
    section = memory.section([Point(deployments=10 * number, resident_mib=100 + 20 * (number > 0) + number,
                                    seconds=5.0 * number) for number in range(26)], planned=500)
    (verdict,) = section.verdicts

    assert (verdict.measured, verdict.limit) == (23.0, 57.5)
    assert "| 250 | 145 | 23.0 | 125 |" in section.text
    assert "250 were done" in section.text


def test_log_lines_are_judged_by_the_outage_beyond_the_patch() -> None:
    """Raising lines takes the patch its time; the outage around it may not grow faster than they do."""
    told = [Told(lines=10 ** power, bare_seconds=0.001, patch_seconds=0.01, outage_seconds=0.01 + 0.01 * 10 ** power,
                 shown_seconds=0.1, grown_bytes=0, log_lines=1001) for power in (2, 3)]

    assert logs.section(told).curves[1].exponent == pytest.approx(1.0)
    assert "| 1,000 | 1.00 | 10.0 |" in logs.section(told).text

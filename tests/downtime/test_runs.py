"""The evidence that several runs of a patch make together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from downtime import runs
from downtime.apply import AppliedStatement
from downtime.evidence import Evidence
from downtime.excerpt import EACH
from downtime.footprints import Change, LockMode
from downtime.forecast import Factor
from downtime.lanes import Lane
from downtime.runs import MOST_OBSTACLES, Circumstances, Measured
from tests.builders import a_patch
from tests.downtime.measurements import AT, a_lock, measured

SQL = "SELECT 1"
NOTHING_LEARNT = Factor(value=1.0, patches=0)


class Budget:
    target_seconds = 10.0
    limit_seconds = 15.0


def a_run(*statements: AppliedStatement, seconds: float = 1.0, outage_seconds: float = 1.5, together: bool = True,
          cold: bool = False, kept: bool = True) -> Measured:
    return Measured(started_at=AT, seconds=seconds, outage_seconds=outage_seconds, phases=(), statements=statements,
                    together=together, cold=cold, kept=kept)


def evidence(*measured_runs: Measured, lane: Lane = Lane.COLD, declared: bool = True, **known: Any) -> Evidence:
    circumstances = Circumstances(**{"environment": "staging", "server": "db1:5432/app", "server_version": 150020,
                                     "factor": NOTHING_LEARNT, **known})
    return runs.evidence_of(replace(a_patch(sql=SQL, lane=lane), declared=declared), measured_runs, circumstances,
                            budget=Budget(), moment_seconds=0.5)


def test_the_slowest_run_counts() -> None:
    """Its seconds and its statements; the longest outage; every run with its mark."""
    slow = a_run(measured(SQL, seconds=3.0), seconds=3.0, outage_seconds=3.1, cold=True, kept=False)
    fast = a_run(measured(SQL, seconds=2.0), seconds=2.0, outage_seconds=4.0)
    made = evidence(slow, fast)

    assert (made.seconds, made.outage_seconds, made.statements[0].seconds) == (3.0, 4.0, 3.0)
    assert [(run.seconds, run.cold, run.kept) for run in made.runs] == [(3.0, True, False), (2.0, False, True)]


def test_lane_and_verdict_are_made_of_all_statements() -> None:
    """Also of those that are not shown."""
    many = [measured(SQL) for _ in range(4 * EACH)]
    many[150] = measured("CREATE INDEX i ON account (id)", a_lock(LockMode.SHARE), line=151, seconds=0.6)
    slower = [measured(SQL, seconds=0.7) for _ in range(2 * EACH)]
    made = evidence(a_run(*many[:EACH], *slower, *many[EACH:], seconds=200.0))

    assert 151 not in [each.line for each in made.statements]
    assert made.lane_obstacles[0].startswith("line 151: CREATE INDEX")
    assert made.left_out == 3 * EACH
    assert sum(each.seconds for each in made.statements) + made.left_out_seconds == pytest.approx(
        sum(each.seconds for each in (*many, *slower)))


def test_very_many_obstacles_are_counted() -> None:
    """The first ones explain."""
    slow = [measured(SQL, a_lock(), seconds=1.0) for _ in range(50)]

    assert evidence(a_run(*slow)).lane_obstacles[MOST_OBSTACLES:] == (f"… and {50 - MOST_OBSTACLES} more",)


def test_a_lock_that_one_run_has_held_for_long_counts() -> None:
    """The worst of all runs, not that of the run which was slowest as a whole."""
    held = a_run(measured(SQL, a_lock(), seconds=0.9), seconds=0.9)
    slow = a_run(measured(SQL, seconds=1.5), seconds=1.5)

    assert len(evidence(held, slow).lane_obstacles) == 1


def test_lane_and_table_tell_the_same_seconds() -> None:
    """Of runs with the same obstacles the slowest is told, whose statements the table has."""
    fast = a_run(measured(SQL, a_lock(), seconds=0.9), seconds=0.9)
    slow = a_run(measured(SQL, a_lock(), seconds=1.5), seconds=1.5)

    assert "1.5" in evidence(fast, slow).lane_obstacles[0]


def test_a_cold_patch_that_is_live_safe_learns_what_that_would_save() -> None:
    """In seconds of outage, with what else changes."""
    assert evidence(a_run(measured(SQL))).lane_advice == (
        "Declared cold, but measured live-safe: `-- apply: live` would save an outage of 1.500 s; each statement is "
        "then committed by itself.")
    assert "an outage of at least 1.000 s" in evidence(a_run(measured(SQL), outage_seconds=0.0)).lane_advice


def test_the_advice_to_go_live_does_not_hide_locked_rows() -> None:
    """An UPDATE of all rows is live by its table locks."""
    update = measured("UPDATE account SET id = 1", seconds=2.0, line=3,
                      changes=(Change(relation="public.account", inserted=0, updated=7, deleted=0),))

    assert evidence(a_run(update)).lane_advice.endswith(
        "But line 3: UPDATE keeps 7 rows locked for 2.000 s: clients that write them wait.")


@pytest.mark.parametrize(("lane", "declared", "safe", "advice"), [
    (Lane.COLD, True, False, "Declared cold, and measured cold: it needs the database to itself."),
    (Lane.COLD, False, False, "It declares no lane and is taken for cold (patches.undeclared_lane), and measured cold: "
                              "it needs the database to itself."),
    (Lane.LIVE, True, True, "Declared live, and measured live-safe."),
    (Lane.LIVE, True, False, "Declared live, but measured cold: a rehearsal that is not rolled back refuses it."),
    (Lane.LIVE, False, True, "It declares no lane and is taken for live (patches.undeclared_lane), and measured "
                             "live-safe.")])
def test_the_measurement_is_set_beside_the_lane(lane: Lane, declared: bool, safe: bool, advice: str) -> None:
    """Who has declared nothing learns what the patch is."""
    run = a_run(measured(SQL) if safe else measured(SQL, a_lock(), seconds=0.9))

    assert evidence(run, lane=lane, declared=declared).lane_advice == advice


def test_statements_of_a_live_patch_are_judged_each_by_itself() -> None:
    """Each had a transaction of its own, so nothing hides behind an earlier lock."""
    patch = [measured(SQL, a_lock()), measured(SQL, seconds=2.0)]

    assert evidence(a_run(*patch, together=False), lane=Lane.LIVE).lane_obstacles == ()
    assert len(evidence(a_run(*patch, together=True), lane=Lane.LIVE).lane_obstacles) == 1


def test_what_production_has_taught_is_in_the_verdict() -> None:
    """8 s that take twice as long there are over a limit of 15 s."""
    made = evidence(a_run(seconds=8.0), factor=Factor(value=2.0, patches=3), signoff_reasons=("mixed landing",))

    assert (made.expected_seconds, made.verdict, made.factor_patches) == (16.0, "over the limit", 3)
    assert made.signoff_reasons == (
        "mixed landing", "8.000 s on staging, 16.000 s expected in production, is over the limit of 15 s")


def test_remedies_are_for_what_is_costly() -> None:
    """An index that takes a millisecond needs none; nor does a live statement that keeps nobody waiting."""
    index = "CREATE INDEX i ON account (id)"
    slow, fast = measured(index, a_lock(LockMode.SHARE), seconds=0.2), measured(index, a_lock(LockMode.SHARE))
    slower = measured(index, a_lock(LockMode.SHARE), seconds=0.6)

    assert [bool(each.remedy) for each in evidence(a_run(slow, fast)).statements] == [True, False]
    assert not evidence(a_run(slow, together=False), lane=Lane.LIVE).statements[0].remedy
    assert evidence(a_run(slower, together=False), lane=Lane.LIVE).statements[0].remedy


def test_the_tables_concerned_are_those_that_were_there() -> None:
    """Of an index its table, views and new tables not; the most strongly locked first."""
    one = measured(SQL, a_lock(LockMode.ACCESS_SHARE, "public.read"), a_lock(relation="public.new", existing=False),
                   a_lock(relation="public.v", kind="view"),
                   a_lock(relation="public.i", kind="index", table="public.t"))

    assert runs.tables_concerned([one]) == ("public.t", "public.read")

"""The part "outages": its table, its goals and its chart say what was measured, misses too."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench import outages
from bench.contest import Heat, Load, Outing, Result, Seen
from bench.outages import FIVE_HUNDRED, FLOOR, GENTLE, HOLD, HUNDRED, NOBODY, RUNBOOK
from bench.setup import Setup
from downtime.probing import Report


def an_outing(contender: str, *outages: float, refused: int = 0) -> Outing:
    now = datetime.now(UTC)
    return Outing(contender=contender, patch_seconds=0.0, seen=[
        Seen(probe=Report(since_at=now, until_at=now, attempts=1, successes=1, outage_seconds=each,
                          resolution_seconds=0.01, persistent_gap_seconds=each, longest_call_seconds=each),
             refused={"53300": refused} if refused else {}, cut={}, longest_call_seconds=each) for each in outages])


def a_result(*, load: Load = HUNDRED, ours: float = 0.1, gentle: float = 0.02, refused_by_us: int = 0,
             floor: float = 0.1) -> Result:
    """The runbook takes a second, the floor a tenth."""
    heat = Heat(load=load, contenders=(RUNBOOK, HOLD, GENTLE, FLOOR), rounds=2)
    return Result(heat=heat, outings={each.contender: each for each in (
        an_outing(RUNBOOK.name, 0.9, 1.1, refused=3), an_outing(HOLD.name, ours, ours, refused=refused_by_us),
        an_outing(GENTLE.name, gentle, gentle), an_outing(FLOOR.name, floor, floor))})


@pytest.mark.parametrize(("ours", "of_runbook", "of_floor"), [(0.1, True, True), (0.14, True, False),
                                                               (0.2, False, False)])
def test_ours_is_measured_against_runbook_and_floor(ours: float, of_runbook: bool, of_floor: bool) -> None:
    """0.15 of the one, 1.3 of the other, at most."""
    assert [each.met for each in outages.verdicts([a_result(ours=ours)])][:2] == [of_runbook, of_floor]


def test_the_gentle_kick_has_its_goal_with_five_hundred_clients() -> None:
    """With fewer the prober's own resolution would be most of the figure."""
    few, many = (list(outages.verdicts([a_result(load=load, gentle=0.03)])) for load in (HUNDRED, FIVE_HUNDRED))

    assert len(few) == 3
    assert [(each.limit, each.met) for each in many if GENTLE.name in each.goal] == [(0.02, False)]


def test_one_client_that_is_turned_away_is_a_missed_goal() -> None:
    """Those of the runbook do not count."""
    met, missed = (list(outages.verdicts([a_result(refused_by_us=count)]))[-1] for count in (0, 1))

    assert (met.measured, met.met) == (0, True)
    assert (missed.measured, missed.met) == (2, False)


def test_a_line_of_the_table_says_it_all() -> None:
    """Spread, ratios, longest call, errors of a round."""
    lines = [" | ".join(row) for row in outages.rows(a_result())]

    assert lines[0] == "(a) shell runbook | 1,000 (950–1,050) | 1.00 | 10.0 | 1.00 | 53300: 3.00 | 0"
    assert lines[-1] == "(f) one round trip | 100 (100–100) | 0.100 | 1.00 | 0.100 | 0 | 0"


def test_a_goal_that_the_floor_misses_is_called_so() -> None:
    """And says nothing where it can be met."""
    said, nothing = (list(outages.out_of_reach([a_result(floor=seconds)])) for seconds in (0.21, 0.1))

    assert "0.210 (100 clients, a trivial patch)" in said[0]
    assert nothing == []


def test_the_chart_shows_the_trivial_patch() -> None:
    """In milliseconds, load by load; one of two seconds is in the tables."""
    section = outages.section([a_result(), a_result(load=FIVE_HUNDRED)], "16.0")

    (chart,) = section.charts
    assert [(each.load, each.contender, each.median) for each in chart.ranges][::4] == [
        ("100 clients", RUNBOOK.name, 1000.0), ("500 clients", RUNBOOK.name, 1000.0)]


def test_the_quick_form_has_what_the_goals_are_about(tmp_path: Path) -> None:
    """One load, few contenders; the whole form has the migration tool, and a slow patch, too."""
    quick, whole = (outages.heats(Setup(folder=tmp_path, rounds=2, quick=each, hurried=True, tell=print))
                    for each in (True, False))

    assert [heat.round(0) for heat in quick] == [[RUNBOOK, HOLD, GENTLE, FLOOR, NOBODY]]
    assert {heat.load.name for heat in whole} == {"no clients", "100 clients", "500 clients"}
    assert {heat.sleeps_seconds for heat in whole} == {0.0, 2.0}

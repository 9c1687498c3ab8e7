"""The benchmark's table: it says plainly which goals were met."""

from __future__ import annotations

import pytest

from demo import contest
from demo.contest import LOADS, Load, Result


def a_result(*, load: Load = LOADS[0], runbook: float = 0.1, ours: float = 0.01) -> Result:
    return Result(load=load, runbook=[runbook] * 3, ours=[ours] * 3, closed=[ours] * 3, floor=[0.005] * 3,
                  refused=[4] * 3, refused_by_us=[0] * 3)


@pytest.mark.parametrize(("load", "ours", "verdict"), [
    (LOADS[0], 0.02, "met"), (LOADS[0], 0.03, "missed by 0.10"), (LOADS[1], 0.025, "met"),
    (LOADS[1], 0.03, "missed by 0.05")])
def test_a_goal_is_a_part_of_the_shell_scripts_outage(load: Load, ours: float, verdict: str) -> None:
    """A fifth without clients, a quarter with a hundred."""
    line = next(line for line in contest.table([a_result(load=load, ours=ours)]).splitlines()
                if line.startswith(f"| {load.name} |"))

    assert f"| {verdict} |" in line


def test_the_spread_is_told_with_the_median() -> None:
    """One lucky round is no figure."""
    result = Result(load=LOADS[0], runbook=[0.1, 0.2, 0.3], ours=[0.01, 0.02, 0.03], closed=[0.01] * 3,
                    floor=[0.005] * 3, refused=[0], refused_by_us=[0])

    assert "| 200 (150–250) | 20 (15–25) |" in contest.table([result])

"""What benchmarks hand in, and what their report makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import charts, figures, report
from bench.figures import Chart, Curve, Range, Section, Verdict


@pytest.mark.parametrize(("measured", "said"), [(0.1, "met"), (0.15, "met"), (0.4, "MISSED by 0.250")])
def test_a_missed_goal_says_by_how_much(measured: float, said: str) -> None:
    """A figure at its limit is met."""
    assert Verdict(goal="a part", measured=measured, limit=0.15).sentence == said


@pytest.mark.parametrize(("power", "constant"), [(1.0, 3.0), (0.5, 20.0), (2.0, 0.1)])
def test_the_exponent_of_a_curve_is_its_power(power: float, constant: float) -> None:
    """Whatever the unit is."""
    curve = Curve(title="work", size="sessions", unit="ms",
                  points=tuple((size, constant * size ** power) for size in (10, 100, 1000)))

    assert curve.exponent == pytest.approx(power)
    assert curve.last_exponent == pytest.approx(power)


@pytest.mark.parametrize(("value", "text"), [
    (0, "0"), (0.01234, "0.0123"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (1234.5, "1,234"),
    (-3.21, "-3.21")])
def test_a_number_has_three_digits_that_say_something(value: float, text: str) -> None:
    """More would be noise."""
    assert figures.number(value) == text


def test_the_goals_begin_with_what_was_missed() -> None:
    """Of all parts, in one table."""
    parts = [Section(title="first", text="", verdicts=(Verdict(goal="kept", measured=1, limit=2),)),
             Section(title="second", text="", verdicts=(Verdict(goal="broken", measured=3, limit=2, unit="ms"),))]
    said = report.goals(parts)

    assert "1 of 2 met" in said
    assert said.index("| broken | 3.00 ms | ≤ 2.00 ms | MISSED by 1.00 ms |") < said.index("| kept |")


def test_a_chart_shows_every_contender_and_is_the_same_for_the_same_figures(tmp_path: Path) -> None:
    """A report that has not changed must not show up as a change."""
    chart = Chart(title="outage beyond the patch", unit="ms", ranges=tuple(
        Range(load=load, contender=contender, low=0.0, median=median, high=2 * median)
        for load in ("no clients", "500 clients")
        for contender, median in (("shell runbook", 90), ("fast downtime", 8))))
    for name in ("first.svg", "second.svg"):
        charts.draw_chart(chart, tmp_path / name)
    drawn = (tmp_path / "first.svg").read_text()

    assert drawn.count(">shell runbook<") == 2
    assert ">500 clients<" in drawn
    assert drawn == (tmp_path / "second.svg").read_text()


def test_a_curve_shows_its_exponent(tmp_path: Path) -> None:
    """Beside a line for linear growth."""
    curve = Curve(title="kicking", size="sessions", unit="ms", points=((10, 1.0), (100, 10.0)))
    charts.draw_curves([curve], tmp_path / "curves.svg")

    assert "~ size^1.00" in (tmp_path / "curves.svg").read_text()

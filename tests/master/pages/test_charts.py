"""Axes and bars: what is drawn is as long as what it means."""

from __future__ import annotations

from datetime import timedelta

import pytest

from downtime.history.events import Outcome
from downtime.history.figures import OutageFigure, Outages, outages
from downtime.history.lead_times import Part, lead_times
from master.pages import charts, drawing
from master.pages.axes import decades, linear
from master.pages.drawing import HEIGHT, LEAST_SLOTS, Stack
from tests.downtime.history.histories import START, a_history


@pytest.mark.parametrize(("highest", "labels"), [
    (0.031, ["0", "10 ms", "20 ms", "30 ms", "40 ms"]), (4.05, ["0", "1 s", "2 s", "3 s", "4 s", "5 s"]),
    (0.0003, ["0", "0.1 ms", "0.2 ms", "0.3 ms"]), (60, ["0", "15 s", "30 s", "45 s", "60 s"]),
    (5400, ["0", "30 min", "60 min", "90 min"]), (31 * 3600, ["0", "12 h", "24 h", "36 h"]),
    (9 * 86400, ["0", "2 d", "4 d", "6 d", "8 d", "10 d"]),
])
def test_an_axis_begins_at_zero_and_has_round_ticks_with_units(highest: float, labels: list[str]) -> None:
    """As somebody would draw it by hand; the highest value fits on it."""

    axis = linear(highest)
    assert [tick.label for tick in axis.ticks] == labels
    assert axis.ticks[0].share == 0
    assert axis.share(highest) * axis.end == pytest.approx(highest)


def test_a_logarithmic_axis_has_a_tick_for_each_decade() -> None:
    """From the power of ten below the smallest value to the one above the largest; zero is at its beginning."""

    axis = decades([0.03, 4.0, 0.0])
    assert [tick.label for tick in axis.ticks] == ["10 ms", "100 ms", "1 s", "10 s"]
    assert [axis.share(seconds) for seconds in (0, 0.01, 0.1, 10)] == pytest.approx([0, 0, 1 / 3, 1])
    assert [tick.label for tick in decades([1.0, 1.0]).ticks] == ["1 s", "10 s"]


def test_segments_are_as_high_as_their_seconds() -> None:
    """A part that is three times as long is three times as high, and they stand on each other without a gap."""

    (bar,) = drawing.bars([Stack(at=START, seconds={"patch": 3.0, "overhead": 1.0}, tip="")], linear(5.0))
    patch, overhead = bar.segments
    assert patch.height == pytest.approx(3 * overhead.height, abs=0.05) == HEIGHT * 3 / 5
    assert patch.y == pytest.approx(overhead.y + overhead.height) == HEIGHT - patch.height
    assert not bar.cut


def test_bars_never_leave_the_plot() -> None:
    """Neither to the right nor over its upper edge; one that is longer is marked as cut off."""

    stacks = [Stack(at=START, seconds={"patch": seconds}, tip="") for seconds in [1.0] * 49 + [500.0]]
    drawn = drawing.bars(stacks, linear(drawing.usual_end([stack.whole for stack in stacks])))
    assert [bar.cut for bar in drawn] == [False] * 49 + [True]
    assert all(bar.x >= 0 and bar.x + bar.width <= 100 and bar.top >= 0 for bar in drawn)


@pytest.mark.parametrize(("seconds", "end"), [([1.0] * 9, 1.0), ([1.0] * 8 + [3.0], 3.0), ([1.0] * 49 + [99.0], 1.5),
                                              ([0.0] * 49 + [9.0], 9.0), ([5.0], 5.0)])
def test_bars_are_cut_off_only_where_the_others_could_not_be_seen(seconds: list[float], end: float) -> None:
    """An honest axis is the rule."""

    assert drawing.usual_end(seconds) == end


def test_a_limit_that_is_near_is_drawn_and_one_that_is_far_is_told() -> None:
    """A line far above would make dots of all bars."""

    def chart(limit_seconds: float) -> drawing.Chart:
        figure = OutageFigure(patch_id="patch-1", began_at=START, outcome=Outcome.DEPLOYED, patch_seconds=9.0,
                              overhead_seconds=1.0)
        return charts.outage(Outages(figures=(figure,) * 3, live=0, unknown=0, limit_seconds=limit_seconds))

    assert [line.kind for line in chart(12.0).lines] == ["limit"]
    assert ("limit", "limit, 12.0 s") in chart(12.0).legend
    assert chart(60.0).lines == ()
    assert "The limit of 1 min is above this chart." in chart(60.0).notes


def test_every_kind_on_a_chart_is_in_its_legend() -> None:
    """And nothing is in the legend that the chart cannot show."""

    known = a_history(120).values()
    for chart in (charts.outage(outages(known, limit_seconds=60)), charts.lead_time(lead_times(known))):
        drawn = {each.kind for bar in chart.bars for each in bar.segments} | {line.kind for line in chart.lines}
        assert drawn <= {kind for kind, _ in chart.legend}
    assert {str(part) for part in Part} < {word for _, word in charts.lead_time(lead_times(known)).legend}


def test_the_days_below_a_chart_are_those_of_its_bars() -> None:
    """The first and the last stay on a narrow screen; the year stands where it changes."""

    marks = drawing.days([START.replace(month=12, day=20) + timedelta(days=number) for number in range(20)])
    assert [mark.label for mark in marks] == ["20 Dec 2026", "25 Dec", "30 Dec", "03 Jan 2027", "08 Jan"]
    assert [mark.minor for mark in marks] == [False, True, True, True, False]
    assert [mark.minor for mark in drawing.days([START] * 3)] == [False, True]  # too near to each other there
    assert drawing.days([]) == ()
    assert len(drawing.days([START])) == 1 < LEAST_SLOTS

"""The report's pictures, drawn with matplotlib as SVG whose texts stay texts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from bench.figures import Chart, Curve, number

OURS = "fast downtime"  # contenders whose names begin so are drawn as ours
COLOURS = {True: "#1d5fa8", False: "#8a5200"}
INK = "#1b2733"
ROW_INCHES, WIDTH_INCHES = 0.26, 8.0
COLUMNS = 3             # of curves beside each other
LEAST = 0.1             # a logarithm needs more than nothing: no figure here is exact to less

# the same figures give the same bytes: no date, and identifiers that are no random numbers
STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "fastdowntime", "font.size": 9, "text.color": INK,
         "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
         "font.family": "sans-serif"}
NO_DATE = {"Date": None}


def draw_chart(chart: Chart, path: Path) -> None:
    """Contenders below each other, load by load: a dot for the median, a line from quartile to quartile."""
    loads = [(load, list(ranges)) for load, ranges in itertools.groupby(chart.ranges, key=lambda each: each.load)]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, 1.0 + ROW_INCHES * (len(chart.ranges) + 2 * len(loads))))
        plots = figure.subplots(len(loads), 1, sharex=True, squeeze=False,
                                gridspec_kw={"height_ratios": [len(ranges) + 1 for _, ranges in loads]})
        for (load, ranges), plot in zip(loads, plots[:, 0], strict=True):
            plot.set_title(load, loc="left", fontsize=9, fontweight="bold")
            plot.set_xscale("log")
            plot.grid(axis="x", color="#d5dbe1", linewidth=0.6)
            plot.set_yticks(range(len(ranges)), [each.contender for each in ranges])
            plot.set_ylim(len(ranges) - 0.5, -0.5)
            for row, each in enumerate(ranges):
                colour = COLOURS[each.contender.startswith(OURS)]
                plot.plot([max(each.low, LEAST), max(each.high, LEAST)], [row, row], color=colour, linewidth=2)
                plot.plot(max(each.median, LEAST), row, "o", color=colour, markersize=5)
                plot.annotate(number(each.median), (max(each.high, LEAST), row), xytext=(6, 0), va="center",
                              textcoords="offset points", fontsize=8)
            _tidy(plot)
        plots[-1, 0].set_xlabel(f"{chart.title}, {chart.unit} (logarithmic)")
        _save(figure, path)


def draw_curves(curves: Sequence[Curve], path: Path) -> None:
    """What each costs at several sizes, both logarithmic, with a dashed line for "linear"."""
    with mpl.rc_context(STYLE):
        rows = ceil(len(curves) / COLUMNS)
        figure = Figure(figsize=(WIDTH_INCHES, 2.4 * rows))
        plots = figure.subplots(rows, COLUMNS, squeeze=False).flatten()
        for curve, plot in zip(curves, plots, strict=False):
            sizes, costs = zip(*curve.points, strict=True)
            plot.set_xscale("log")
            plot.set_yscale("log")
            plot.plot(sizes, [costs[-1] * size / sizes[-1] for size in sizes], "--", color="#9aa5b1", linewidth=1)
            plot.plot(sizes, costs, "o-", color=COLOURS[True], markersize=4)
            plot.set_ylim(min(costs) / 10, max(costs) * 10)
            plot.set_title(f"{curve.title}\n~ size^{curve.exponent:.2f}", fontsize=8)
            plot.set_xlabel(curve.size, fontsize=8)
            plot.set_ylabel(curve.unit, fontsize=8)
            _tidy(plot)
        for plot in plots[len(curves):]:
            plot.set_axis_off()
        _save(figure, path)


def _tidy(plot: Any) -> None:
    """No frame, and decades as people write them."""
    plot.spines[["top", "right"]].set_visible(False)
    for axis in (plot.xaxis, plot.yaxis):
        if axis.get_scale() == "log":
            axis.set_major_formatter("{x:,g}")
            axis.set_minor_formatter(NullFormatter())


def _save(figure: Figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, format="svg", metadata=NO_DATE)

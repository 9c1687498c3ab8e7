"""What a benchmark hands in: a section with its text, its curves and its verdicts. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

MILLISECONDS = 1000
LINEAR, FOR_NOISE = 1.0, 0.1  # exponents; between two sizes that are looked at a few times it varies by as much


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A figure beside its goal. Smaller is better; both have the same unit."""

    goal: str           # "outage beyond the patch with 500 clients, as a part of the shell runbook's"
    measured: float
    limit: float
    unit: str = ""      # empty for a ratio or a count

    @property
    def met(self) -> bool:
        return self.measured <= self.limit

    @property
    def sentence(self) -> str:
        """ "met", or by how much it was missed."""
        return "met" if self.met else f"MISSED by {number(self.measured - self.limit)}{_behind(self.unit)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """What something costs at several sizes, the smallest first."""

    title: str                                # "kicking sessions"
    size: str                                 # what grows: "sessions"
    unit: str                                 # of the cost: "ms", "MiB"
    points: tuple[tuple[float, float], ...]   # size and cost

    @property
    def exponent(self) -> float:
        """k of cost ~ size^k: the slope of the line of least squares through the logarithms; 1 is linear."""
        sizes, costs = ([math.log(each[side]) for each in self.points] for side in (0, 1))
        return statistics.linear_regression(sizes, costs).slope

    @property
    def last_exponent(self) -> float:
        """The same of the two largest sizes alone, where a constant cost hides the growth least."""
        (size, cost), (larger, costlier) = self.points[-2:]
        return math.log(costlier / cost) / math.log(larger / size)


def linear_or_better(what: str, exponent: float) -> Verdict:
    """The goal of everything that grows with the work; `exponent` as a curve tells it."""
    return Verdict(goal=f"{what}: exponent (1 is linear; a tenth more is allowed for noise)", measured=exponent,
                   limit=LINEAR + FOR_NOISE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The rounds of one contender under one load, as a chart shows them."""

    load: str
    contender: str
    low: float      # lower quartile
    median: float
    high: float     # upper quartile


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Contenders beside each other, load by load, on a logarithmic scale."""

    title: str
    unit: str
    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of the report."""

    title: str
    text: str                           # Markdown, without the title
    verdicts: tuple[Verdict, ...] = ()
    curves: tuple[Curve, ...] = ()
    charts: tuple[Chart, ...] = ()


def spread(values: Sequence[float]) -> str:
    """Median (lower and upper quartile)."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return f"{number(median)} ({number(low)}–{number(high)})"


def number(value: float) -> str:
    """Three digits that say something: 0.0123, 1.23, 12.3, 123, 1,234."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: the first column is words, the others are figures."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---", *["---:"] * (len(head) - 1)], *rows))


def verdicts(section: Section) -> list[tuple[str, ...]]:
    """A row for each goal: what, measured, goal, verdict."""
    return [(each.goal, f"{number(each.measured)}{_behind(each.unit)}", f"≤ {number(each.limit)}{_behind(each.unit)}",
             each.sentence) for each in section.verdicts]


def _behind(unit: str) -> str:
    return f" {unit}" if unit else ""

"""What a chart consists of, with positions worked out; templates/chart.html draws it. Pure.

Across, positions are percent of the plot's width, so that a chart fits a phone and a screen alike; down, they are
pixels, so that texts keep their size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from master.pages.axes import Linear, Tick

HEIGHT = 220.0     # pixels, of the plot
LEAST_SLOTS = 16   # bars that there is room for: a single one is a bar, and no wall
CLOSE = 35.0       # percent of the plot: nearer to the first one, another day's label would touch it on a phone
FAR = 4.0          # how many times the usual highest bar may be exceeded before bars are cut off
USUAL = 0.9        # the share of bars that sets what is usual


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    kind: str      # the class that colours it, and the word of the legend
    y: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    x: float
    width: float
    segments: tuple[Segment, ...]  # from below
    top: float
    tip: str       # what is shown to a mouse that rests on it
    marked: bool   # it ended otherwise than well
    cut: bool      # it is longer than the plot is high


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    x: float
    y: float
    kind: str
    tip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Straight, between two points."""

    x1: float
    y1: float
    x2: float
    y2: float
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A text or a tick at one axis; its place in percent or in pixels, by the axis."""

    at: float
    label: str
    anchor: str = "middle"
    minor: bool = False  # left out on a narrow screen


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the table with the same figures."""

    patch_id: str
    at: datetime
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    name: str                 # of its element
    title: str
    sentence: str             # what it shows, in figures
    legend: tuple[tuple[str, str], ...]  # kind and word
    notes: tuple[str, ...]    # on how to read it
    ticks: tuple[Mark, ...]   # at the axis upwards
    days: tuple[Mark, ...]    # or ticks, at the axis to the right
    bars: tuple[Bar, ...]
    dots: tuple[Dot, ...]
    lines: tuple[Line, ...]
    columns: tuple[str, ...]  # of the table, behind patch and time
    rows: tuple[Row, ...]     # the newest first
    axis: str                 # what is on the axis to the right
    height: float = HEIGHT

    @property
    def empty(self) -> bool:
        return not self.bars and not self.dots


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One bar before it has a place: seconds by kind, from below."""

    at: datetime
    seconds: dict[str, float]
    tip: str
    marked: bool = False

    @property
    def whole(self) -> float:
        return sum(self.seconds.values())


def usual_end(wholes: Sequence[float]) -> float:
    """Where the axis of these bars may end: a few that are very long would make lines of all the others."""
    in_order = sorted(wholes)
    usual = 1.5 * in_order[int(USUAL * (len(in_order) - 1))]
    return usual if 0 < FAR * usual < in_order[-1] else in_order[-1]


def bars(stacks: Sequence[Stack], axis: Linear) -> tuple[Bar, ...]:
    """The bars in their places, the oldest on the left."""
    slot = 100 / max(len(stacks), LEAST_SLOTS)
    return tuple(_bar(stack, axis, x=place * slot + slot * 0.14, width=slot * 0.72)
                 for place, stack in enumerate(stacks))


def _bar(stack: Stack, axis: Linear, *, x: float, width: float) -> Bar:
    segments, below = [], 0.0
    for kind, seconds in stack.seconds.items():
        low, high = down(axis.share(below)), down(axis.share(below + seconds))
        below += seconds
        if low > high:
            segments.append(Segment(kind=kind, y=high, height=round(low - high, 2)))
    return Bar(x=round(x, 3), width=round(width, 3), segments=tuple(segments), top=down(axis.share(below)),
               tip=stack.tip, marked=stack.marked, cut=below > axis.end * (1 + 1e-9))


def trend(values: Sequence[float], axis: Linear) -> tuple[Line, ...]:
    """A line through the middles of the bars; where it leaves the plot, it runs along the edge."""
    slot = 100 / max(len(values), LEAST_SLOTS)
    heights = [down(axis.share(value)) for value in values]
    return tuple(Line(x1=round((place + 0.5) * slot, 3), y1=here, x2=round((place + 1.5) * slot, 3), y2=there,
                      kind="trend")
                 for place, (here, there) in enumerate(pairwise(heights)))


def upwards(ticks: Sequence[Tick]) -> tuple[Mark, ...]:
    return tuple(Mark(at=down(tick.share), label=tick.label, anchor="end") for tick in ticks)


def days(instants: Sequence[datetime]) -> tuple[Mark, ...]:
    """Days below the first bar, the last one and some between; the year with the first one and where it changes."""
    if not instants:
        return ()
    slot, last = 100 / max(len(instants), LEAST_SLOTS), len(instants) - 1
    places = sorted({round(last * share / 4) for share in range(5)}) if last >= 8 else sorted({0, last})
    found, year = [], 0
    for place in places:
        at = instants[place]
        label, year = f"{at:%d %b %Y}" if at.year != year else f"{at:%d %b}", at.year
        anchor = "start" if place == 0 else "end" if place == last and last + 1 >= LEAST_SLOTS else "middle"
        x = 0 if place == 0 else 100 if anchor == "end" else (place + 0.5) * slot
        found.append(Mark(at=round(x, 3), label=label, anchor=anchor, minor=place not in (0, last) or 0 < x < CLOSE))
    return tuple(found)


def down(share: float) -> float:
    """Pixels from the upper edge of the plot."""
    return round(HEIGHT * (1 - share), 2)

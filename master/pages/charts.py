"""The charts of the page "Charts", made of the figures: the newest bars, everything in the sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log10
from statistics import median

from downtime.history.durations import in_words
from downtime.history.events import Outcome
from downtime.history.figures import Forecasts, OutageFigure, Outages, ends, forecasts, outages
from downtime.history.journey import Journey
from downtime.history.lead_times import TREND, LeadTime, LeadTimes, Part, lead_times
from downtime.history.selection import Selection
from downtime.printable import cut, printable
from downtime.settings import Settings
from master.pages import drawing
from master.pages.axes import Linear, decades, linear
from master.pages.counts import Counts, fragile, outcomes
from master.pages.drawing import Chart, Dot, Line, Mark, Row, Stack, down

LATEST = 50         # deployments with a bar of their own
LONGEST_NAME = 60   # characters of a patch's name in a text
NAMED = 5           # bars that are cut off and told below

NO_LIMIT: tuple[tuple[Line, ...], tuple[str, ...]] = ((), ())

OVERHEAD = "overhead: prevent, check, kick, allow"

# the class that colours each part
PARTS = {Part.REHEARSAL: "rehearsal", Part.EARLIER: "earlier", Part.APPROVAL: "approval", Part.TURN: "turn",
         Part.DEPLOYING: "deploying"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Everything that the page shows."""

    charts: tuple[Chart, ...]
    counts: tuple[Counts, ...]

    @property
    def empty(self) -> bool:
        return all(chart.empty for chart in self.charts) and not any(each.counts for each in self.counts)


def page(journeys: Iterable[Journey], selection: Selection, settings: Settings) -> Page:
    """The charts of a selection."""
    known = tuple(journeys)
    stops = outages(known, selection, limit_seconds=settings.budget.outage_limit_seconds)
    over = ends(known, selection)
    return Page(charts=(outage(stops), overhead(stops), lead_time(lead_times(known, selection)),
                        forecast(forecasts(known, selection))), counts=(outcomes(over), fragile(over)))


def outage(figures: Outages) -> Chart:
    """Outage per deployment, patch and overhead, with the limit where it is near."""
    latest = figures.figures[-LATEST:]
    return _stacked(
        "outage", "Outage per deployment", figures.sentence,
        [_stack(each, {"patch": each.patch_seconds, "overhead": each.overhead_seconds}) for each in latest],
        legend=(("patch", "the patch itself"), ("overhead", OVERHEAD)),
        columns=("outage", "patch", "overhead", "outcome"), of=len(figures.figures), limit=figures.limit_seconds,
        rows=[_outage_row(each, each.seconds, each.patch_seconds, each.overhead_seconds) for each in latest])


def overhead(figures: Outages) -> Chart:
    """The overhead alone: next to a long patch it is too short to be seen."""
    latest = figures.figures[-LATEST:]
    seconds = [each.overhead_seconds for each in figures.figures]
    sentence = (f"Beyond the patch itself the database was closed for {in_words(median(seconds))} in the median, "
                f"and for {in_words(max(seconds))} at most." if seconds else "There was no outage in this selection.")
    return _stacked(
        "overhead", "Outage beyond the patch", sentence,
        [_stack(each, {"overhead": each.overhead_seconds}) for each in latest], legend=(("overhead", OVERHEAD),),
        columns=("overhead", "outcome"), rows=[_outage_row(each, each.overhead_seconds) for each in latest],
        of=len(figures.figures))


def lead_time(figures: LeadTimes) -> Chart:
    """Landing to production per patch, in its parts, with the moving median."""
    latest = figures.patches[-LATEST:]
    return _stacked(
        "lead-time", "Lead time from landing to production", figures.sentence, [_lead_stack(each) for each in latest],
        legend=(*((kind, str(part)) for part, kind in PARTS.items()), ("trend", f"median of {TREND} patches")),
        columns=("lead time", *Part, "median"), rows=[_lead_row(each) for each in latest], of=len(figures.patches),
        trend=[each.trend_seconds for each in latest],
        notes=(f"The line is the median of a patch and the {TREND - 1} before it.",))


def forecast(figures: Forecasts) -> Chart:
    """Forecast to the right, actual upwards, both logarithmic; on the line the forecast was right."""
    latest = figures.figures[-LATEST:]
    axis = decades([value for each in latest for value in (each.expected_seconds, each.patch_seconds)])
    apart = log10(2) / (axis.last - axis.first)
    dots = tuple(Dot(x=round(100 * axis.share(each.expected_seconds), 3), y=down(axis.share(each.patch_seconds)),
                     kind=each.lane, tip=f"{_name(each.patch_id)} ({each.lane}): forecast "
                                         f"{in_words(each.expected_seconds)}, took {in_words(each.patch_seconds)}")
                 for each in latest)
    lines = (Line(x1=0, y1=down(0), x2=100, y2=down(1), kind="exact"),
             Line(x1=0, y1=down(apart), x2=100 * (1 - apart), y2=down(1), kind="near"),
             Line(x1=100 * apart, y1=down(0), x2=100, y2=down(1 - apart), kind="near"))
    ticks = tuple(Mark(at=100 * tick.share, label=tick.label, anchor=_anchor(tick.share)) for tick in axis.ticks)
    rows = tuple(Row(patch_id=each.patch_id, at=each.deployed_at,
                     cells=(each.lane, in_words(each.expected_seconds), in_words(each.patch_seconds),
                            "–" if each.ratio is None else f"{each.ratio:.2f}")) for each in latest)
    return Chart(name="forecast", title="Forecast against actual", sentence=printable(figures.sentence),
                 legend=(("cold", "cold"), ("live", "live; waits for locks are in its time"),
                         ("exact", "as foretold"), ("near", "half and twice of it")),
                 notes=("Both axes are logarithmic: a step to the next line is ten times as long. Upwards: what the "
                        "patch took. To the right: what was foretold.", *_shown(len(latest), len(figures.figures))),
                 ticks=drawing.upwards(axis.ticks), days=ticks, bars=(), dots=dots, lines=lines if dots else (),
                 columns=("lane", "forecast", "took", "times"), rows=rows[::-1], axis="forecast")


def _stacked(name: str, title: str, sentence: str, stacks: Sequence[Stack], *, legend: tuple[tuple[str, str], ...],
             columns: tuple[str, ...], rows: Sequence[Row], of: int, limit: float = 0.0,
             trend: Sequence[float] = (), notes: tuple[str, ...] = ()) -> Chart:
    """A chart of bars; the limit is on it where that costs at most a third of its height, else it is told."""
    highest = drawing.usual_end([stack.whole for stack in stacks]) if stacks else 1.0
    axis = linear(limit if highest < limit <= 1.5 * highest else highest)
    drawn = drawing.bars(stacks, axis)
    level, above = _limit(limit, axis) if stacks and limit else NO_LIMIT
    long = [f"{_name(row.patch_id)} {in_words(stack.whole)}"
            for row, stack, bar in zip(rows, stacks, drawn, strict=True) if bar.cut]
    more = f" and {len(long) - NAMED} more" if len(long) > NAMED else ""
    told = (f"▲ Cut off, so that the others can be seen: {', '.join(long[:NAMED])}{more}.",) if long else ()
    marked = (("given-up", "deployed nothing"),) if any(bar.marked for bar in drawn) else ()
    return Chart(
        name=name, title=title, sentence=printable(sentence), notes=(*told, *notes, *above, *_shown(len(stacks), of)),
        legend=(*legend, *marked, *((line.kind, f"limit, {in_words(limit)}") for line in level)),
        ticks=drawing.upwards(axis.ticks), days=drawing.days([stack.at for stack in stacks]), bars=drawn, dots=(),
        lines=(*level, *drawing.trend(trend, axis)), columns=columns, axis="", rows=tuple(rows)[::-1])


def _limit(seconds: float, axis: Linear) -> tuple[tuple[Line, ...], tuple[str, ...]]:
    """A line for it, or a word where it is beyond the end of the axis."""
    if seconds > axis.end:
        return (), (f"The limit of {in_words(seconds)} is above this chart.",)
    level = down(axis.share(seconds))
    return (Line(x1=0, y1=level, x2=100, y2=level, kind="limit"),), ()


def _stack(figure: OutageFigure, seconds: dict[str, float]) -> Stack:
    return Stack(at=figure.began_at, seconds=seconds, marked=figure.outcome is not Outcome.DEPLOYED,
                 tip=f"{_name(figure.patch_id)} ({figure.outcome}): {in_words(figure.seconds)}, patch "
                     f"{in_words(figure.patch_seconds)}, overhead {in_words(figure.overhead_seconds)}")


def _lead_stack(figure: LeadTime) -> Stack:
    parts = ", ".join(f"{part} {in_words(figure.parts[part])}" for part in Part if figure.parts[part])
    return Stack(at=figure.in_production_at, seconds={kind: figure.parts[part] for part, kind in PARTS.items()},
                 tip=f"{_name(figure.patch_id)}: {in_words(figure.seconds)}: {parts}")


def _outage_row(figure: OutageFigure, *seconds: float) -> Row:
    return Row(patch_id=figure.patch_id, at=figure.began_at,
               cells=(*(in_words(each) for each in seconds), figure.outcome))


def _lead_row(figure: LeadTime) -> Row:
    parts = (in_words(figure.parts[part]) if figure.parts[part] else "–" for part in Part)
    return Row(patch_id=figure.patch_id, at=figure.in_production_at,
               cells=(in_words(figure.seconds), *parts, in_words(figure.trend_seconds)))


def _shown(drawn: int, of: int) -> tuple[str, ...]:
    return (f"Drawn are the latest {drawn} of {of}; the sentence above is about all of them.",) if of > drawn else ()


def _anchor(share: float) -> str:
    return "start" if share == 0 else "end" if share == 1 else "middle"


def _name(patch_id: str) -> str:
    return cut(printable(patch_id), LONGEST_NAME)

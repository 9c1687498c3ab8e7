"""What deployments have cost and what came of them: outages, forecasts, and why attempts did not deploy. Pure.

Each figure says itself in a sentence what it shows, and what is not in it. Lead times have a module of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from downtime.errors import Left
from downtime.forecast import LEAST_SECONDS
from downtime.history.durations import in_words
from downtime.history.events import Outcome
from downtime.history.journey import Journey
from downtime.history.selection import EVERYTHING, Ending, Selection, endings
from downtime.lanes import Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageFigure:
    """One outage: of a cold patch that was deployed, or of an attempt that was given up after it had begun."""

    patch_id: str
    began_at: datetime
    outcome: Outcome
    patch_seconds: float     # the patch's own statements; 0 where it did not get through all of them
    overhead_seconds: float  # the rest: prevent, check, kick, allow

    @property
    def seconds(self) -> float:
        return self.patch_seconds + self.overhead_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Outages:
    """Those of a selection, in order; and what is left out."""

    figures: tuple[OutageFigure, ...]
    live: int      # live deployments: they have no outage
    unknown: int   # cold attempts that touched production, and nobody could say for how long
    limit_seconds: float

    @property
    def sentence(self) -> str:
        if not self.figures:
            return f"There was no outage in this selection.{self._apart}"
        done = [each for each in self.figures if each.outcome is Outcome.DEPLOYED] or list(self.figures)
        longest = max(self.figures, key=lambda each: each.seconds)
        over = sum(each.seconds > self.limit_seconds for each in self.figures)
        given_up = sum(each.outcome is not Outcome.DEPLOYED for each in self.figures)
        too_long = _counted(over, "outage") if over else "No outage"
        return (f"The median outage of a deployment was {in_words(median(each.seconds for each in done))}, of it "
                f"{in_words(median(each.overhead_seconds for each in done))} overhead; the longest was "
                f"{in_words(longest.seconds)}, of {longest.patch_id}. "
                f"{too_long} of {len(self.figures)} took longer than the limit "
                f"of {in_words(self.limit_seconds)}; {_counted(given_up, 'attempt')} deployed nothing.{self._apart}")

    @property
    def _apart(self) -> str:
        live = f" {_counted(self.live, 'live patch', 'live patches')} needed no outage." if self.live else ""
        unknown = f" Of {_counted(self.unknown, 'attempt')} the outage is not known." if self.unknown else ""
        return live + unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastFigure:
    """What was foretold of one deployed patch, and what it took: its own statements, without the rest of the outage."""

    patch_id: str
    lane: str
    deployed_at: datetime
    expected_seconds: float
    patch_seconds: float

    @property
    def ratio(self) -> float | None:
        """How many times as long as foretold it took; None where that is noise: a round trip more would double it."""
        return self.patch_seconds / self.expected_seconds if self.expected_seconds >= LEAST_SECONDS else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecasts:
    figures: tuple[ForecastFigure, ...]
    without: int  # deployments of which nothing was foretold

    @property
    def sentence(self) -> str:
        apart = f" Of {_counted(self.without, 'deployment')} nothing was foretold." if self.without else ""
        judged = [(ratio, each) for each in self.figures if (ratio := each.ratio) is not None]
        if not self.figures:
            return f"There is no forecast to compare in this selection.{apart}"
        if not judged:
            return (f"All {len(self.figures)} forecasts were below {in_words(LEAST_SECONDS)}, "
                    f"where a ratio would be noise.{apart}")
        near = sum(0.5 <= ratio <= 2 for ratio, _ in judged)
        ratio, furthest = max(judged, key=lambda pair: max(pair[0], 1 / pair[0] if pair[0] else float("inf")))
        small = len(self.figures) - len(judged)
        noise = (f" {_counted(small, 'forecast')} below {in_words(LEAST_SECONDS)}, where a ratio is noise, "
                 f"{'is' if small == 1 else 'are'} not judged.") if small else ""
        return (f"Patches took {median(ratio for ratio, _ in judged):.2f} times their forecast in the median; "
                f"{near} of {len(judged)} between half and twice of it. Furthest off: {furthest.patch_id}, forecast "
                f"{in_words(furthest.expected_seconds)}, took {in_words(furthest.patch_seconds)}.{noise}{apart}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """How attempts ended."""

    outcomes: dict[Outcome, int]  # all of them, in their order, with those that never happened
    fragile: dict[str, int]       # by database user: attempts that its transactions have aborted, most first
    closed: int                   # attempts that left the database closed, or in a state that nobody knew

    @property
    def attempts(self) -> int:
        return sum(self.outcomes.values())

    @property
    def sentence(self) -> str:
        if not self.attempts:
            return "No attempt has ended in this selection."
        deployed = self.outcomes[Outcome.DEPLOYED]
        user, times = next(iter(self.fragile.items()), ("", 0))
        blamed = f" Most often in the way: the fragile user {user}, {_counted(times, 'time')}." if times else ""
        closed = (f" {_counted(self.closed, 'attempt')} left the database closed or in a state that was not known."
                  if self.closed else " The database was open again after every one of them.")
        return f"{deployed} of {_counted(self.attempts, 'attempt')} deployed their patch.{blamed}{closed}"


def outages(journeys: Iterable[Journey], selection: Selection = EVERYTHING, *, limit_seconds: float) -> Outages:
    """Every outage of the selection; the limit is the budget's, for outages."""
    touched = [each for each in endings(journeys, selection) if each.ended.began_at is not None]
    cold = [each for each in touched if each.lane is not Lane.LIVE]
    found = tuple(_outage(each) for each in cold if each.ended.outage_seconds > 0)
    return Outages(figures=found, live=_count(touched, lambda each: each.lane is Lane.LIVE
                                              and each.ended.outcome is Outcome.DEPLOYED),
                   unknown=len(cold) - len(found), limit_seconds=limit_seconds)


def forecasts(journeys: Iterable[Journey], selection: Selection = EVERYTHING) -> Forecasts:
    """Forecast and time of every patch that was deployed in the selection."""
    deployed = [each for each in endings(journeys, selection) if each.ended.outcome is Outcome.DEPLOYED]
    found = tuple(ForecastFigure(patch_id=each.journey.patch_id, lane=each.lane or "", deployed_at=each.ended.at,
                                 expected_seconds=each.ended.expected_seconds, patch_seconds=each.ended.patch_seconds)
                  for each in deployed if each.ended.expected_seconds is not None)
    return Forecasts(figures=found, without=len(deployed) - len(found))


def ends(journeys: Iterable[Journey], selection: Selection = EVERYTHING) -> Ends:
    """How the attempts of the selection ended, and who was in the way."""
    over = endings(journeys, selection)
    outcomes = Counter(each.ended.outcome for each in over)
    fragile = Counter(user for each in over for user in sorted(set(each.ended.fragile)))
    return Ends(outcomes={outcome: outcomes[outcome] for outcome in Outcome}, fragile=dict(fragile.most_common()),
                closed=_count(over, lambda each: each.ended.left in (Left.CLOSED, Left.UNKNOWN)))


def _outage(ending: Ending) -> OutageFigure:
    ended = ending.ended
    assert ended.began_at is not None, "it touched production"
    patch = min(ended.patch_seconds, ended.outage_seconds)  # two clocks: never more than the whole
    return OutageFigure(patch_id=ending.journey.patch_id, began_at=ended.began_at, outcome=ended.outcome,
                        patch_seconds=patch, overhead_seconds=ended.outage_seconds - patch)


def _count(given: Sequence[Ending], wanted: Callable[[Ending], bool]) -> int:
    return sum(1 for each in given if wanted(each))


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"

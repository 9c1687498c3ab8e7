"""Axes with round ticks, for spans of time: linear ones begin at zero, logarithmic ones have a tick per decade. Pure.

A share is where a value lies on its axis: 0 is its beginning, 1 its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from downtime.history.durations import DAY, HOUR, MINUTE

MOST_TICKS = 5  # above the zero: more is a ruler, and at the width of a phone they touch
TENTH_MS = 0.0001

# round steps in seconds: decimal below a minute and above a day, as clocks count between
STEPS = (*(digit * 10.0 ** power for power in range(-4, 1) for digit in (1, 2, 5)), 10.0, 15.0, 30.0,
         *(count * MINUTE for count in (1, 2, 5, 10, 15, 30)), *(count * HOUR for count in (1, 2, 3, 6, 12)),
         *(count * DAY * 10 ** power for power in range(4) for count in (1, 2, 5)))

UNITS = ((0.001, "ms"), (1.0, "s"), (MINUTE, "min"), (HOUR, "h"), (DAY, "d"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    share: float
    label: str  # with its unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """From zero to a round end."""

    end: float  # seconds
    ticks: tuple[Tick, ...]

    def share(self, seconds: float) -> float:
        return min(max(seconds / self.end, 0.0), 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decades:
    """From one power of ten to another one."""

    first: int  # exponents of ten, of seconds
    last: int
    ticks: tuple[Tick, ...]

    def share(self, seconds: float) -> float:
        return min(max((log10(seconds) - self.first) / (self.last - self.first), 0.0), 1.0) if seconds > 0 else 0.0


def linear(highest: float) -> Linear:
    """An axis that the highest value just fits on."""
    step = next((step for step in STEPS if highest <= step * MOST_TICKS), STEPS[-1])
    count = max(1, ceil(highest / step - 1e-9))
    unit, name = _unit(step)
    ticks = tuple(Tick(share=place / count, label=f"{place * step / unit:g} {name}" if place else "0")
                  for place in range(count + 1))
    return Linear(end=count * step, ticks=ticks)


def decades(values: Sequence[float]) -> Decades:
    """An axis for all values above zero; from a millisecond to a second where there is none."""
    above = [value for value in values if value > 0] or [0.001, 1.0]
    first, last = floor(log10(min(above))), ceil(log10(max(above)))
    first = max(first, floor(log10(TENTH_MS)))
    last = max(last, first + 1)
    ticks = tuple(Tick(share=(power - first) / (last - first), label=_power(power)) for power in range(first, last + 1))
    return Decades(first=first, last=last, ticks=ticks)


def _power(power: int) -> str:
    return f"{10.0 ** (power + 3):g} ms" if power < 0 else f"{10 ** power:,} s"


def _unit(step: float) -> tuple[float, str]:
    """The largest unit that the step is at least one of."""
    return max((pair for pair in UNITS if pair[0] <= step * (1 + 1e-9)), default=UNITS[0])

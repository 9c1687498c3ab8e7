"""Spans of time in the words of people, with two units at most. Pure."""

from __future__ import annotations

from math import inf

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR

# the smaller unit, the larger one, where the next pair begins, and what the two are called
STEPS = ((1.0, MINUTE, HOUR, ("min", "s")), (MINUTE, HOUR, DAY, ("h", "min")), (HOUR, DAY, inf, ("d", "h")))


def in_words(seconds: float) -> str:
    """`31 ms`, `4.20 s`, `12 min 5 s`, `2 h 10 min` or `3 d 4 h`; a negative span has a sign."""
    if seconds < 0:
        return f"−{in_words(-seconds)}"
    if seconds < 0.9995:
        return f"{seconds * 1000:.1f} ms" if 0 < seconds < 0.00995 else f"{seconds * 1000:.0f} ms"
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    return _in_two(seconds)


def _in_two(seconds: float) -> str:
    for small, large, above, names in STEPS[:-1]:
        if round(seconds / small) * small < above:
            return _pair(seconds, small, large, names)
    small, large, _, names = STEPS[-1]
    return _pair(seconds, small, large, names)


def _pair(seconds: float, small: float, large: float, names: tuple[str, str]) -> str:
    whole, rest = divmod(round(seconds / small), round(large / small))
    return f"{whole} {names[0]} {rest} {names[1]}" if rest else f"{whole} {names[0]}"

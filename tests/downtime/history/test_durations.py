"""Spans of time in words."""

from __future__ import annotations

import pytest

from downtime.history.durations import in_words


@pytest.mark.parametrize(("seconds", "words"), [
    (0, "0 ms"), (0.0042, "4.2 ms"), (0.00996, "10 ms"), (0.031, "31 ms"), (0.9994, "999 ms"), (0.9996, "1.00 s"),
    (4.2, "4.20 s"), (9.996, "10.0 s"), (59.94, "59.9 s"), (59.96, "1 min"), (65, "1 min 5 s"), (3599.7, "1 h"),
    (7800, "2 h 10 min"), (86_399, "1 d"), (100_800, "1 d 4 h"), (864_000, "10 d"), (-65, "−1 min 5 s"),
])
def test_a_span_has_two_units_at_most_and_never_sixty_of_one(seconds: float, words: str) -> None:
    """Nobody reads “1 min 60 s” or “4200.0 ms”."""

    assert in_words(seconds) == words

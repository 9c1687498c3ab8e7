"""The outage of one deployment, drawn to scale."""

from __future__ import annotations

from typing import Any

import pytest

from master.pages import timeline
from tests.master.pages.told import an_outage


def drawn(document: dict[str, Any]) -> timeline.Timeline:
    found = timeline.of(document)
    assert found is not None
    return found


def test_bars_are_as_long_as_what_they_show() -> None:
    """The share of the drawing is the share of the time, and each begins where the one before it has ended."""

    found = drawn({**an_outage(), "client": None})
    bars = {bar.name: bar for bar in found.bars}
    assert bars["apply patch"].width == pytest.approx(100 * 0.142 / 0.172, abs=0.01)
    assert bars["kick connections"].left == pytest.approx(100 * 0.006 / 0.172, abs=0.01)
    assert found.overhead_seconds == pytest.approx(0.034)


def test_what_a_client_saw_is_drawn_to_the_same_scale() -> None:
    """It saw more than the outage: everything else shrinks accordingly."""

    found = drawn(an_outage())
    assert found.bars[-1].kind == "client"
    assert found.bars[-1].width == 100
    assert found.bars[3].width == pytest.approx(100 * 0.142 / 0.179, abs=0.01)


def test_every_bar_stays_inside_the_drawing_and_can_be_seen() -> None:
    """The shortest phase at the very end too."""

    document = an_outage()
    document["timeline"][-1]["seconds"] = 0.0
    for bar in drawn(document).bars:
        assert bar.width >= timeline.NARROWEST
        assert 0 <= bar.left <= 100 - bar.width


def test_a_phase_that_was_not_reached_is_told_and_not_drawn() -> None:
    """The table has it; there is nothing of it to draw."""

    document = an_outage()
    document["timeline"][3] |= {"state": "not reached", "started_at": None, "seconds": 0.0}
    found = drawn(document)
    assert "apply patch" not in [bar.name for bar in found.bars]
    assert found.phases[3].began_after is None


@pytest.mark.parametrize("seconds", [0.0004, 0.0072, 0.031, 0.172, 1.0, 8.0, 59.9, 3600.0])
def test_ticks_are_round_few_and_inside(seconds: float) -> None:
    """From 0; they fit beside each other at phone width."""

    ticks = drawn({**an_outage(), "outage_seconds": seconds, "client": None}).ticks
    assert 2 <= len(ticks) <= timeline.TICKS + 1
    assert ticks[0].seconds == 0
    assert all(0 <= tick.left <= 100 for tick in ticks)


@pytest.mark.parametrize("document", [{}, {"outage_seconds": 0.2}, {"timeline": [], "outage_seconds": 0.0}])
def test_without_phases_there_is_nothing_to_draw(document: dict[str, Any]) -> None:
    """A live patch, or a document of an older version."""

    assert timeline.of(document) is None

"""The benchmark of outages through Buildbot: its goal is a difference of two medians."""

from __future__ import annotations

import pytest

from bench.through_buildbot import BUILDBOT, COMMAND_LINE, Seen, Way, section


def a_way(name: str, *client_seconds: float) -> Way:
    return Way(name=name, outages=[Seen(client=each, own=0.010, patch=0.001) for each in client_seconds])


@pytest.mark.parametrize(("buildbot", "met"), [(0.024, True), (0.026, False), (0.001, True)])
def test_the_goal_is_what_buildbot_adds(buildbot: float, met: bool) -> None:
    """One slow round decides nothing; being faster than the command line is no miss."""
    (verdict,) = section([a_way(BUILDBOT, 0.001, buildbot, 9.0), a_way(COMMAND_LINE, 0.001, 0.020, 9.0)],
                         0.005).verdicts

    assert verdict.met is met


def test_the_patch_is_no_part_of_either() -> None:
    """A patch that took longer by chance is not Buildbot's doing."""
    way = a_way(BUILDBOT, 0.021)

    assert ([round(each) for each in way.beyond_ms], [round(each) for each in way.own_beyond_ms]) == ([20], [9])


def test_the_resolution_is_told_with_the_figures() -> None:
    """A difference of 5 ms is not to be had from a prober that sees 50 ms everywhere without saying so."""
    assert "about 8.59 ms" in section([a_way(BUILDBOT, 0.02), a_way(COMMAND_LINE, 0.02)], 0.00859).text

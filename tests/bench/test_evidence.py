"""What evidence costs is judged by what it adds to a trivial patch, and by its part of a long one."""

from __future__ import annotations

import pytest

from bench import evidence


def seconds(without: float, measuring: float) -> dict[str, list[float]]:
    return {"without": [without] * 3, "with": [without + measuring] * 3, "measuring": [measuring] * 3}


@pytest.mark.parametrize(("trivial", "long", "met"), [
    (0.010, 0.04, [True, True]), (0.030, 0.04, [False, True]), (0.010, 0.06, [True, False])])
def test_evidence_is_judged_by_what_it_adds(trivial: float, long: float, met: list[bool]) -> None:
    """At most 20 ms to a trivial patch, and a twentieth to one of a second."""
    section = evidence.section(seconds(0.01, trivial), seconds(1.0, long))

    assert [each.met for each in section.verdicts] == met
    assert f"{trivial * 1000:.1f}" in section.text

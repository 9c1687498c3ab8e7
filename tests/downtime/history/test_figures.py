"""Outages, forecasts, and why attempts did not deploy."""

from __future__ import annotations

import pytest

from downtime.history.events import Event, Outcome
from downtime.history.figures import ends, forecasts, outages
from downtime.history.selection import Selection
from downtime.lanes import Lane
from tests.downtime.history.histories import a_deployed, a_history, at, ended, journeys


def three() -> list[Event]:
    """A short cold one, a long cold one, a live one."""
    return [*a_deployed("patch-1", request_id=1, patch_seconds=0.027, overhead_seconds=0.004, expected_seconds=0.03),
            *a_deployed("patch-2", request_id=2, when=at(300), patch_seconds=4.0, overhead_seconds=0.006,
                        expected_seconds=2.0),
            *a_deployed("patch-3", request_id=3, when=at(600), lane=Lane.LIVE, expected_seconds=None)]


def test_an_outage_is_patch_and_overhead_and_nothing_else() -> None:
    """The parts of every outage are the whole."""

    known = outages(a_history(200).values(), limit_seconds=60).figures
    assert len(known) > 60
    assert all(each.seconds == pytest.approx(each.patch_seconds + each.overhead_seconds) for each in known)
    assert min(each.overhead_seconds for each in known) >= 0


def test_a_live_patch_has_no_outage_and_is_told_apart() -> None:
    """Whoever counts bars is told why there are fewer of them than deployments."""

    figures = outages(journeys(three()).values(), limit_seconds=60)
    assert [each.patch_id for each in figures.figures] == ["patch-1", "patch-2"]
    assert figures.sentence == (
        "The median outage of a deployment was 2.02 s, of it 5.0 ms overhead; the longest was 4.01 s, of patch-2. "
        "No outage of 2 took longer than the limit of 1 min; 0 attempts deployed nothing. 1 live patch needed no "
        "outage.")


def test_an_outage_that_deployed_nothing_counts_too() -> None:
    """Clients were kept out all the same; the median of deployments leaves it out."""

    aborted = ended("patch-4", request_id=4, outcome=Outcome.ABORTED, began_at=at(1), patch_seconds=0.0,
                    outage_seconds=90.0)
    figures = outages(journeys([*three(), aborted]).values(), limit_seconds=60)
    assert figures.figures[0].overhead_seconds == 90
    assert "The median outage of a deployment was 2.02 s" in figures.sentence
    assert "1 outage of 3 took longer than the limit of 1 min; 1 attempt deployed nothing." in figures.sentence


def test_what_did_not_touch_production_is_no_outage() -> None:
    """A refusal costs clients nothing; an end of which nobody could say how long is told, not drawn."""

    known = journeys([ended("patch-1", outcome=Outcome.REFUSED, patch_seconds=0, outage_seconds=0),
                      ended("patch-2", request_id=2, outcome=Outcome.UNKNOWN, began_at=at(1), patch_seconds=0,
                            outage_seconds=0)])
    figures = outages(known.values(), limit_seconds=60)
    assert figures.sentence == "There was no outage in this selection. Of 1 attempt the outage is not known."


def test_two_clocks_do_not_make_a_negative_overhead() -> None:
    """The patch's time and the outage's are measured apart."""

    known = journeys([ended(began_at=at(1), patch_seconds=1.0000004, outage_seconds=1.0)])
    (figure,) = outages(known.values(), limit_seconds=60).figures
    assert (figure.patch_seconds, figure.overhead_seconds) == (1.0, 0.0)


def test_a_forecast_is_judged_where_its_ratio_means_something() -> None:
    """A round trip more doubles a patch of a few milliseconds."""

    figures = forecasts(journeys(three()).values())
    assert [each.ratio for each in figures.figures] == [None, 2.0]
    assert figures.sentence == (
        "Patches took 2.00 times their forecast in the median; 1 of 1 between half and twice of it. Furthest off: "
        "patch-2, forecast 2.00 s, took 4.00 s. 1 forecast below 50 ms, where a ratio is noise, is not judged. "
        "Of 1 deployment nothing was foretold.")


def test_a_patch_that_took_no_time_at_all_is_furthest_off() -> None:
    """Nothing is divided by zero."""

    known = journeys([ended(began_at=at(1), patch_seconds=0.0, expected_seconds=3.0)])
    assert "Furthest off: patch-1, forecast 3.00 s, took 0 ms." in forecasts(known.values()).sentence


def test_ends_are_counted_by_outcome_and_by_who_was_in_the_way() -> None:
    """One attempt with two users in its way counts for both of them, once each."""

    known = journeys([
        *three(), ended("patch-5", request_id=5, outcome=Outcome.ABORTED, fragile=("upload", "billing", "upload")),
        ended("patch-5", request_id=6, outcome=Outcome.ABORTED, fragile=("upload",)),
        ended("patch-6", request_id=7, outcome=Outcome.UNKNOWN, left="unknown")])
    found = ends(known.values())
    assert {outcome: number for outcome, number in found.outcomes.items() if number} == {
        Outcome.DEPLOYED: 3, Outcome.ABORTED: 2, Outcome.UNKNOWN: 1}
    assert found.fragile == {"upload": 2, "billing": 1}
    assert found.sentence == ("3 of 6 attempts deployed their patch. Most often in the way: the fragile user upload, "
                              "2 times. 1 attempt left the database closed or in a state that was not known.")


def test_nothing_says_so() -> None:
    """An empty selection is no mistake."""

    nothing = Selection(lane=Lane.LIVE)
    assert outages((), nothing, limit_seconds=60).sentence == "There was no outage in this selection."
    assert forecasts((), nothing).sentence == "There is no forecast to compare in this selection."
    assert ends((), nothing).sentence == "No attempt has ended in this selection."

"""Lead time and its parts."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta

import pytest

from downtime.history.events import Approved, Closed, Event, FoundApplied, Offered, Outcome, Quiescing
from downtime.history.lead_times import Part, began_at, lead_times, moving_median, parts_of
from downtime.history.selection import endings
from downtime.lanes import Lane
from tests.downtime.history.histories import (
    AUTHOR,
    START,
    a_deployed,
    a_history,
    asked,
    at,
    ended,
    journeys,
    landed,
    rehearsed,
)


def minutes_of(events: list[Event]) -> dict[Part, float]:
    (found,) = lead_times(journeys(events).values()).patches
    return {part: seconds / 60 for part, seconds in found.parts.items()}


def test_a_way_is_split_at_its_instants() -> None:
    """Rehearsed after 2 min, approved after 60, quiescing from 90, over after 150."""

    assert minutes_of(a_deployed()) == {Part.REHEARSAL: 2, Part.EARLIER: 0, Part.APPROVAL: 58, Part.TURN: 30,
                                        Part.DEPLOYING: 60}


def test_a_retried_patch_says_what_its_earlier_attempts_cost() -> None:
    """That time is neither a wait for an approval nor one for a window."""

    again = [event for event in a_deployed(when=at(300), request_id=2) if event.kind not in ("landed", "rehearsed")]
    rejected = ended(when=at(200), request_id=1, outcome=Outcome.REJECTED)
    first = [landed(), rehearsed(when=at(2)), Offered(at=at(2), patch_id="patch-1", request_id=1, requested_by=())]
    assert minutes_of([*first, rejected, *again]) == {
        Part.REHEARSAL: 2, Part.EARLIER: 300, Part.APPROVAL: 58, Part.TURN: 30, Part.DEPLOYING: 60}


def test_an_instant_that_nobody_noted_is_the_next_one_that_is_known() -> None:
    """A patch without quiescing begins when the database is closed; one without that, when its outage began."""

    bare = [landed(), Offered(at=at(5), patch_id="patch-1", request_id=1, requested_by=()),
            ended(when=at(20), began_at=at(19))]
    assert minutes_of(bare) == {Part.REHEARSAL: 5, Part.EARLIER: 0, Part.APPROVAL: 14, Part.TURN: 0, Part.DEPLOYING: 1}


def test_a_landing_after_the_deployment_does_not_make_the_way_negative() -> None:
    """Somebody edits the file of a patch that is in production; its way had begun before."""

    (found,) = lead_times(journeys([*a_deployed(), landed(when=at(9000))]).values()).patches
    assert found.seconds == 150 * 60
    assert found.landed_at == START


def test_what_was_found_in_the_ledger_is_counted_apart() -> None:
    """Nobody here saw it deployed: it has no lead time, and the sentence says so."""

    found = FoundApplied(at=at(9), patch_id="patch-2", lane="cold", began_at=at(5), patch_seconds=1)
    figures = lead_times(journeys([*a_deployed(), landed("patch-2"), found]).values())
    assert [each.patch_id for each in figures.patches] == ["patch-1"]
    assert figures.sentence.endswith(
        "1 patch was found in production’s ledger, applied from a terminal, and not counted here.")


def test_a_patch_that_is_not_in_production_has_no_lead_time() -> None:
    """Rejected, waiting and under way: their time is not over."""

    known = journeys([landed(), rehearsed(), ended(outcome=Outcome.REJECTED), landed("patch-2")])
    assert lead_times(known.values()).patches == ()
    assert lead_times(known.values()).sentence == "No patch has been deployed in this selection."


def test_the_trend_is_a_median_that_one_odd_patch_does_not_move() -> None:
    """Of fewer values at the beginning."""

    assert moving_median([5, 1, 9, 5, 500, 5], 3) == [5, 3, 5, 5, 9, 5]


@pytest.mark.parametrize("seed", range(20))
def test_the_parts_add_up_to_the_whole(seed: int) -> None:
    """For every history: nothing is lost between two parts and nothing is counted twice."""

    known = a_history(60, seed=seed)
    patches = lead_times(known.values()).patches
    assert len(patches) > 20
    for each in patches:
        assert each.seconds == pytest.approx((each.in_production_at - each.landed_at).total_seconds(), abs=1e-3)
        assert tuple(each.parts) == tuple(Part)
        assert min(each.parts.values()) >= 0


@pytest.mark.parametrize("seed", range(50))
def test_the_parts_add_up_for_events_in_any_order(seed: int) -> None:
    """Clocks are set back, builds wait again after a restart, patches land anew: a part is never negative."""

    chance = random.Random(seed)

    def when() -> timedelta:
        return timedelta(minutes=chance.uniform(0, 1000))

    kinds: list[Callable[[], Event]] = [
             lambda: landed(when=START + when()), lambda: rehearsed(when=START + when()),
             lambda: Offered(at=START + when(), patch_id="patch-1", request_id=chance.choice([1, 2]), requested_by=()),
             lambda: asked(when=START + when(), request_id=chance.choice([1, 2])),
             lambda: Approved(at=START + when(), patch_id="patch-1", request_id=chance.choice([1, 2]), by=(AUTHOR,)),
             lambda: Quiescing(at=START + when(), patch_id="patch-1", request_id=1, begins_at=START),
             lambda: Closed(at=START + when(), patch_id="patch-1", request_id=1, expected_seconds=1)]
    chaos: list[Event] = [chance.choice(kinds)() for _ in range(chance.randrange(12))]
    chaos.append(ended(when=START + when(), lane=chance.choice([None, *Lane]), began_at=START + when()))
    (over,) = endings(journeys(chaos).values())
    parts = parts_of(over.journey, over.attempt)
    whole = over.ended.at - began_at(over.journey, over.ended.at)
    assert sum(parts.values()) == pytest.approx(whole.total_seconds(), abs=1e-3)
    assert min(parts.values()) >= 0

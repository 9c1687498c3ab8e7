"""What is between landing and production, in running order, and the outage that it will cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from downtime import patches
from downtime.history import journey
from downtime.history.events import (
    Approved,
    Asked,
    Closed,
    Ended,
    Event,
    FailedOnStaging,
    FoundApplied,
    Landed,
    Offered,
    Outcome,
    Planned,
    Quiescing,
    Rehearsed,
)
from downtime.history.journey import Journey
from downtime.history.queue import Queue, queue, to_json
from downtime.history.stages import Stage, Whose
from downtime.lanes import Lane

AT = datetime(2026, 3, 4, 8, 30, tzinfo=UTC)
REQUEST = 7


def landed(patch_id: str) -> Landed:
    return Landed(at=AT, patch_id=patch_id, commit="c" * 40)


def rehearsed(patch_id: str, *, expected: float = 1.5, lane: Lane = Lane.COLD) -> Rehearsed:
    return Rehearsed(
        at=AT, patch_id=patch_id, sha256="a" * 64, digest="d" * 64, path=f"db/{patch_id}.sql", commit="c" * 40,
        authors=(), lane=lane, declared=True, seconds=1.0, expected_seconds=expected, outage_seconds=1.01,
        target_seconds=10.0, limit_seconds=15.0, verdict="within target", signoff_reasons=())


def offered(patch_id: str) -> Offered:
    return Offered(at=AT, patch_id=patch_id, request_id=REQUEST, requested_by=())


def asked(patch_id: str) -> Asked:
    return Asked(at=AT, patch_id=patch_id, request_id=REQUEST, build_id=1, build_url="http://b/#/builds/1",
                 digest="d" * 64, lane=Lane.COLD, requested_by=(), needs_signoff=False, approvals_needed=1)


def approved(patch_id: str) -> Approved:
    return Approved(at=AT, patch_id=patch_id, request_id=REQUEST, by=("approver",))


def planned(patch_id: str, *behind: str, begins_at: datetime | None = None) -> Planned:
    return Planned(at=AT, patch_id=patch_id, request_id=REQUEST, behind=behind, begins_at=begins_at)


def ended(patch_id: str, outcome: Outcome) -> Ended:
    return Ended(at=AT, patch_id=patch_id, request_id=REQUEST, build_id=1, build_url="", outcome=outcome,
                 sentence=outcome)


def journeys(*events: Event) -> Mapping[str, Journey]:
    known: dict[str, Journey] = {}
    for event in events:
        known[event.patch_id] = journey.after(known.get(event.patch_id), event)
    return known


def ids(found: Queue) -> list[str]:
    return [entry.patch_id for entry in found.entries]


def test_patches_stand_in_the_order_of_their_numbers() -> None:
    """Not of their names, and not of when they were heard of."""

    found = queue(journeys(landed("patch-10"), landed("patch-9"), landed("patch-9-1")))
    assert [(entry.place, entry.patch_id) for entry in found.entries] == [
        (1, "patch-9"), (2, "patch-9-1"), (3, "patch-10")]


def test_what_counts_of_an_id_is_what_the_settings_say() -> None:
    """A folder whose names begin with a ticket's number has its patches in the same order as an inventory."""

    found = queue(journeys(landed("900_b/2"), landed("100_a/3")), order=partial(patches.number_of, counting=r"/(\d+)"))
    assert ids(found) == ["900_b/2", "100_a/3"]


def test_what_is_in_production_is_not_pending() -> None:
    """Whether an attempt of ours or somebody at a terminal has brought it there; what was turned away still is."""

    found = queue(journeys(
        offered("patch-1"), ended("patch-1", Outcome.DEPLOYED),
        FoundApplied(at=AT, patch_id="patch-2", lane="cold", began_at=AT, patch_seconds=1.0),
        offered("patch-3"), ended("patch-3", Outcome.REJECTED), landed("patch-4")))
    assert ids(found) == ["patch-3", "patch-4"]


def test_a_live_patch_costs_no_outage_and_what_was_not_rehearsed_is_not_known() -> None:
    """Nothing is invented: the total is of those that were measured."""

    found = queue(journeys(rehearsed("patch-1", expected=8.0), rehearsed("patch-2", expected=4.4),
                           rehearsed("patch-3", lane=Lane.LIVE, expected=60.0), landed("patch-4")))
    assert [entry.expected_outage_seconds for entry in found.entries] == [8.0, 4.4, 0.0, None]
    assert found.total_seconds == pytest.approx(12.4)
    assert found.longest_seconds == 8.0


def test_what_was_measured_of_other_bytes_does_not_count() -> None:
    """A patch that was changed and now fails on staging is not the one that was timed."""

    found = queue(journeys(rehearsed("patch-1"), FailedOnStaging(at=AT, patch_id="patch-1", reason="line 3")))
    (entry,) = found.entries
    assert (entry.expected_seconds, entry.sha256, found.not_rehearsed) == (None, "", 1)


@pytest.mark.parametrize(("events", "sentence"), [
    pytest.param([], "No deployment is pending.", id="nothing"),
    pytest.param([rehearsed("patch-1", expected=0.031)],
                 "1 deployment is pending: 1 cold with 31 ms of outage.", id="one"),
    pytest.param([landed("patch-1")], "1 deployment is pending: 1 is not rehearsed yet.", id="one unknown"),
    pytest.param([rehearsed("patch-1", lane=Lane.LIVE), landed("patch-2"), landed("patch-3")],
                 "3 deployments are pending: 1 live; 2 are not rehearsed yet.", id="no outage is known"),
    pytest.param([rehearsed("patch-1", expected=20.0), rehearsed("patch-2", expected=4.4),
                  rehearsed("patch-3", lane=Lane.LIVE), landed("patch-4")],
                 "4 deployments are pending: 2 cold with 24.4 s of outage in all (longest 20.0 s), 1 live; "
                 "1 is not rehearsed yet.", id="all of them"),
])
def test_one_sentence_says_what_the_queue_comes_to(events: list[Event], sentence: str) -> None:
    """Its three groups add up to the whole."""

    found = queue(journeys(*events))
    assert found.sentence == sentence
    assert len(found.cold_seconds) + found.live + found.not_rehearsed == len(found.entries)


def test_each_says_when_it_begins_and_for_whom_it_waits() -> None:
    """As far as that is planned; an attempt that has ended plans nothing."""
    window, later = AT + timedelta(hours=2), AT + timedelta(hours=3)
    found = queue(journeys(
        offered("patch-1"), Closed(at=AT, patch_id="patch-1", request_id=REQUEST, expected_seconds=1.0),
        offered("patch-2"), asked("patch-2"), approved("patch-2"), planned("patch-2", begins_at=window),
        Quiescing(at=AT, patch_id="patch-2", request_id=REQUEST, begins_at=later),
        offered("patch-3"), asked("patch-3"), approved("patch-3"), planned("patch-3", begins_at=window),
        offered("patch-4"), asked("patch-4"), approved("patch-4"), planned("patch-4", "patch-3"),
        offered("patch-5"), asked("patch-5"),
        offered("patch-6"), planned("patch-6", begins_at=window), ended("patch-6", Outcome.STOPPED)))

    assert [entry.begins_at for entry in found.entries] == [AT, later, window, None, None, None]
    assert [entry.behind for entry in found.entries if entry.behind] == [("patch-3",)]
    assert found.entries[4].build_url == "http://b/#/builds/1"
    assert [(entry.standing.stage, entry.standing.whose) for entry in found.entries if entry.standing] == [
        (Stage.DEPLOYING, Whose.NOBODY), (Stage.QUIESCING, Whose.NOBODY), (Stage.WAITING_WINDOW, Whose.NOBODY),
        (Stage.WAITING_TURN, Whose.NOBODY), (Stage.WAITING, Whose.APPROVER), (Stage.NOT_DEPLOYED, Whose.OPERATOR)]


def test_other_programs_get_the_same_with_units_in_the_names() -> None:
    """What is not known is null; what is late begins in 0 seconds."""
    begins_at = AT + timedelta(minutes=90)
    found = queue(journeys(
        rehearsed("patch-1"), offered("patch-1"), asked("patch-1"), approved("patch-1"),
        planned("patch-1", begins_at=begins_at), landed("patch-2")))

    document = json.loads(json.dumps(to_json(found, now=AT)))
    first, second = document.pop("entries")

    assert document == {
        "as_of": "2026-03-04T08:30:00+00:00", "sentence": found.sentence, "deployments": 2, "cold": 1, "live": 0,
        "not_rehearsed": 1, "expected_outage_seconds": 1.5, "longest_outage_seconds": 1.5}
    assert first == {
        "place": 1, "patch": "patch-1", "lane": "cold", "sha256": "a" * 64, "stage": "waiting for the window",
        "waits_for": "nobody", "sentence": "approved; begins in its window", "staging_seconds": 1.0,
        "expected_seconds": 1.5, "expected_outage_seconds": 1.5, "begins_at": "2026-03-04T10:00:00+00:00",
        "begins_in_seconds": 5400.0, "behind": [], "build_url": "http://b/#/builds/1"}
    assert (second["lane"], second["expected_outage_seconds"], second["begins_in_seconds"]) == (None, None, None)
    assert to_json(found, now=begins_at + timedelta(hours=1))["entries"][0]["begins_in_seconds"] == 0.0

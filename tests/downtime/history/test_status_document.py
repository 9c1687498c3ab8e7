"""What a site's 503 page is told."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from downtime.history.events import Approved, Closed, Event, Planned, Quiescing, Spreading
from downtime.history.status_document import State, StatusDocument, status_document
from downtime.lanes import Lane
from tests.downtime.history.histories import APPROVER, START, a_deployed, asked, at, journeys, landed, rehearsed

BEGINS = at(120)


def planned(patch_id: str = "patch-1", *, request_id: int = 1, lane: Lane = Lane.COLD,
            begins_at: datetime = BEGINS) -> list[Event]:
    return [landed(patch_id), rehearsed(patch_id, lane=lane, expected_seconds=12.0),
            asked(patch_id, request_id=request_id, lane=lane),
            Approved(at=START, patch_id=patch_id, request_id=request_id, by=(APPROVER,)),
            Planned(at=START, patch_id=patch_id, request_id=request_id, begins_at=begins_at)]


def quiescing() -> list[Event]:
    return [*planned(), Quiescing(at=at(60), patch_id="patch-1", request_id=1, begins_at=BEGINS)]


def closed(*, lane: Lane = Lane.COLD) -> list[Event]:
    return [*planned(lane=lane), Closed(at=BEGINS, patch_id="patch-1", request_id=1, expected_seconds=12.0)]


def document(events: list[Event], now: datetime) -> StatusDocument:
    return status_document(journeys(events).values(), now)


def test_nothing_planned_is_open() -> None:
    """Whatever has happened before, and whatever still waits for a word."""

    assert document([], START).state is State.OPEN
    found = document([*a_deployed(), landed("patch-2"), rehearsed("patch-2")], at(900))
    assert found.to_json() == {"state": "open", "message": "The database is open.", "planned": [], "since": None,
                               "expected_end": None, "retry_after_seconds": None}


def test_a_doubt_is_told_and_not_open() -> None:
    """A 503 page that read "open" would send everybody to a database that a dead deployment has left closed."""

    found = status_document(journeys(planned()).values(), START, in_doubt=True)
    assert (found.state, found.retry_after_seconds, len(found.planned)) == (State.UNKNOWN, 5, 1)
    assert found.message == "Whether the database is open is not known; it is being looked at."
    assert status_document(journeys(closed()).values(), BEGINS, in_doubt=True).state is State.CLOSED


def test_several_databases_are_closed_one_after_the_other() -> None:
    """Who reads it was refused by one of them: it opens soon, though the deployment goes on for long."""

    spreading = Spreading(at=at(121), patch_id="patch-1", request_id=1, databases=49)
    found = document([*closed(), spreading], at(150))
    assert (found.state, found.retry_after_seconds, found.expected_end) == (State.CLOSED, 12, None)
    assert found.message == ("Several databases are changed one after the other since 2026-03-02 10:01:00 UTC;"
                             " each is closed for a short time.")


def test_a_known_begin_is_planned() -> None:
    """The earliest first; nothing to wait for yet."""

    found = document([*planned("patch-2", request_id=2, begins_at=at(240)), *planned()], START)
    assert found.to_json() == {
        "state": "planned",
        "message": "The database is open; a short downtime is planned for 2026-03-02 10:00:00 UTC and is expected to "
                   "take 12.0 s.",
        "planned": [{"patch": "patch-1", "begins_at": "2026-03-02T10:00:00Z", "expected_seconds": 12.0},
                    {"patch": "patch-2", "begins_at": "2026-03-02T12:00:00Z", "expected_seconds": 12.0}],
        "since": None, "expected_end": None, "retry_after_seconds": None}


def test_a_begin_that_has_passed_is_not_promised() -> None:
    """A window was missed: the next begin is not known until it is planned anew."""

    assert document(planned(), BEGINS).to_json()["planned"] == []
    assert document(planned(), BEGINS).state is State.OPEN


def test_quiescing_says_when_it_will_close() -> None:
    """A page need not come back later yet, an hour before."""

    found = document(quiescing(), at(60))
    assert (found.state, found.since, found.expected_end) == (State.QUIESCING, at(60), BEGINS + timedelta(seconds=12))
    assert found.retry_after_seconds is None
    assert found.message == ("The database is open; it closes for a change at 2026-03-02 10:00:00 UTC and is expected "
                             "to take 12.0 s.")


def test_about_to_close_says_when_to_come_back() -> None:
    """Behind the downtime, not in the middle of it."""

    for announced in (quiescing(), planned()):
        assert document(announced, BEGINS - timedelta(seconds=60)).retry_after_seconds == 72
        assert document(announced, BEGINS - timedelta(seconds=61)).retry_after_seconds is None


def test_a_close_that_is_late_promises_no_instant() -> None:
    """The begin has passed and the database is still open: nobody knows the end."""

    found = document(quiescing(), BEGINS + timedelta(seconds=3))
    assert (found.state, found.expected_end, found.retry_after_seconds) == (State.QUIESCING, None, 12)
    assert found.message == "The database is about to close for a change and is expected to take 12.0 s."


def test_closed_says_until_when() -> None:
    """And Retry-After is the rest of it, rounded up: who comes back is not too early."""

    found = document(closed(), BEGINS + timedelta(seconds=4.2))
    assert found.to_json() == {
        "state": "closed",
        "message": "The database is closed for a change since 2026-03-02 10:00:00 UTC; it is expected back at "
                   "2026-03-02 10:00:12 UTC.",
        "planned": [], "since": "2026-03-02T10:00:00Z", "expected_end": "2026-03-02T10:00:12Z",
        "retry_after_seconds": 8}


@pytest.mark.parametrize("seconds", [12, 13, 4000])
def test_past_its_end_it_says_longer_than_expected(seconds: float) -> None:
    """Never a time in the past."""

    found = document(closed(), BEGINS + timedelta(seconds=seconds))
    assert (found.state, found.expected_end, found.retry_after_seconds) == (State.CLOSED, None, 5)
    assert found.message == ("The database is closed for a change since 2026-03-02 10:00:00 UTC; it takes longer than "
                             "expected.")


def test_a_live_patch_closes_nothing() -> None:
    """Visitors notice nothing of it, so they are told nothing."""

    assert document(closed(lane=Lane.LIVE), BEGINS).state is State.OPEN
    assert document(planned(lane=Lane.LIVE), START).state is State.OPEN


def test_an_attempt_that_is_over_is_open_again() -> None:
    """At once."""

    assert document(a_deployed()[:-1], at(150)).state is State.CLOSED
    assert document(a_deployed(), at(150)).state is State.OPEN


def test_the_message_names_no_patch_and_no_person() -> None:
    """It is read by everybody, and perhaps put into a page as it is."""

    hostile = "<script>alert(1)</script>"
    shown = document([*planned(hostile), Closed(at=BEGINS, patch_id=hostile, request_id=1, expected_seconds=1)], BEGINS)
    assert hostile not in shown.message
    assert "example.org" not in str(shown.to_json())

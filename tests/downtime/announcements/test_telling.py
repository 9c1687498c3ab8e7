"""Which notice an event gives, and what is in it."""

from __future__ import annotations

import pytest

from downtime.announcements.kinds import Kind
from downtime.announcements.notice import Database
from downtime.history.events import Answer, Event, Outcome, Planned, Quiescing
from downtime.lanes import Lane
from tests.downtime.announcements.told import (
    URL,
    approved,
    closed,
    decided,
    kinds,
    one_of_each,
    over,
    planned,
    told,
    voided,
    waiting,
)
from tests.downtime.history.histories import a_deployed, asked, at


def test_a_deployment_is_told_step_by_step() -> None:
    """From the wait for an approval to the open database, each step once."""

    way = [*waiting(), decided(Answer.GRANTED), approved(), planned(180),
           Quiescing(at=at(120), patch_id="patch-1", request_id=1, begins_at=at(180)), closed(), over()]
    assert kinds(way) == [Kind.WAITING, Kind.ANNOUNCED, Kind.QUIESCING, Kind.CLOSED, Kind.REOPENED]


def test_a_live_patch_closes_nothing_and_says_so_of_nothing() -> None:
    """Nobody is warned of a downtime that there is not."""

    assert kinds(a_deployed(lane=Lane.LIVE)) == [Kind.WAITING]


def test_every_kind_but_those_of_a_time_comes_from_an_event() -> None:
    """No kind can be asked for in the settings that never comes."""

    assert {notice.kind for notice in one_of_each()} | {Kind.CLOSING_SOON, Kind.OVERDUE} == set(Kind)


@pytest.mark.parametrize(("event", "kind", "database", "word"), [
    (over(), Kind.REOPENED, Database.OPEN, "open again after 2.25 s"),
    (over(Outcome.FAILED), Kind.REOPENED, Database.OPEN, "rolled back"),
    (over(Outcome.ABORTED), Kind.ABORTED, Database.OPEN, "aborted"),
    (over(Outcome.ABORTED, left="closed"), Kind.ABORTED, Database.CLOSED, "aborted"),
    (over(Outcome.DEPLOYED, left="closed"), Kind.ABORTED, Database.CLOSED, "operator has to look"),
    (over(Outcome.UNKNOWN, left="unknown"), Kind.ABORTED, Database.UNKNOWN, "needs an operator"),
    (over(Outcome.STOPPED, touched=False), Kind.ABORTED, Database.OPEN, "stopped"),
    (over(Outcome.REFUSED, touched=False), Kind.REFUSED, Database.OPEN, "refused"),
    (over(Outcome.REJECTED, touched=False), Kind.REJECTED, Database.OPEN, "rejected"),
])
def test_an_end_says_what_came_of_it_and_of_the_database(
    event: Event, kind: Kind, database: Database, word: str,
) -> None:
    """"Open again" is said only where that is known."""

    notice = told([*waiting(), approved(), event])[-1]
    assert (notice.kind, notice.database) == (kind, database)
    assert word in notice.subject


def test_a_live_patch_that_fails_is_told_without_an_outage() -> None:
    """It was given up, and clients noticed nothing."""

    notice = told([*waiting(lane=Lane.LIVE), approved(), over(Outcome.FAILED, lane=Lane.LIVE)])[-1]
    assert (notice.kind, notice.outage_seconds) == (Kind.ABORTED, None)
    assert "Clients went on working" in notice.text


def test_a_rejection_is_told_once() -> None:
    """By the decision, and not again by the end of its build."""

    rejected = [*waiting(), decided(Answer.REJECTED), over(Outcome.REJECTED, touched=False)]
    assert kinds(rejected) == [Kind.WAITING, Kind.REJECTED]
    assert (told(rejected)[-1].by, told(rejected)[-1].reason) == ("approver@example.org", "no backup yet")


def test_a_decision_that_changes_nothing_is_told_to_nobody() -> None:
    """Who made it has been told already."""

    assert kinds([*waiting(), decided(Answer.NOT_ACCEPTED), decided(Answer.GRANTED)]) == [Kind.WAITING]


def test_a_wait_that_goes_on_after_a_restart_is_told_once() -> None:
    """The same evidence waits under another build; other evidence is another wait."""

    assert kinds([*waiting(), asked(when=at(30))]) == [Kind.WAITING]


def test_a_plan_is_announced_when_it_is_new_or_moves() -> None:
    """After a restart the same plan is made again, and that is no news."""

    way: list[Event] = [*waiting(), approved(), planned(None, behind=("patch-0",)), planned(180), asked(when=at(90)),
                        approved(91), planned(180, minutes=92), planned(240, minutes=100)]
    announced = told(way)[1:]
    assert [notice.begins_at for notice in announced] == [at(180), at(240)]
    assert "It was to begin at 2026-03-02 11:00 UTC" in announced[1].text


def test_a_plan_after_a_lost_approval_is_announced_anew() -> None:
    """Whoever was told that it is off must be told that it is on."""

    assert kinds([*waiting(), approved(), planned(180), voided(), approved(80), planned(180, minutes=81)]) == [
        Kind.WAITING, Kind.ANNOUNCED, Kind.VOID, Kind.ANNOUNCED]


def test_a_notice_says_what_when_how_long_who_and_where() -> None:
    """Nobody has to open a page to know whether it concerns them."""

    text = told([*waiting("patch/ö&1"), approved(), Planned(
        at=at(61), patch_id="patch/ö&1", request_id=1, begins_at=at(180))])[0].text
    assert "Somebody has to approve it." in text
    assert "When:        2026-03-02 08:03 UTC" in text
    assert "Expected:    about 1.00 s for the patch" in text
    assert "Asked by:    developer@example.org" in text
    assert f"Page:        {URL}plugins/wsgi_dashboards/deployments/deployment?patch=patch%2F%C3%B6%261\n" in text
    assert "Build:       #/builders/2/builds/1\n" in text

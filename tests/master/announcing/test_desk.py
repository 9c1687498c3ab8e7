"""Where what was heard becomes notices: a day of deployments, told to a command that writes down what it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from downtime.announcements.kinds import Kind
from downtime.history import journey
from downtime.history.events import Event
from downtime.history.journey import Journey
from downtime.settings import Settings
from master.announcing.desk import Desk
from tests.downtime.announcements.told import URL, approved, closed, over, planned, voided, waiting
from tests.downtime.history import histories
from tests.downtime.history.histories import at
from tests.master.announcing.notices import Scripted
from tests.master.settings_for_tests import a_settings


class Telling(Scripted):
    """Remembers what it was told, by kind."""

    async def deliver(self, notice: Any) -> None:
        await super().deliver(notice)
        self.kinds_told = [*getattr(self, "kinds_told", []), notice.kind]


class Office:
    """A journal in memory, the desk that listens to it, and one receiver, by one clock."""

    def __init__(self, settings: Settings, receiver: Telling, *, history: Sequence[Event] = ()) -> None:
        self.clock = Clock()
        self.clock.advance(histories.START.timestamp())
        self.receiver = receiver
        self.known: dict[str, Journey] = {}
        self.happened: list[Event] = []
        self.looks = 0
        for event in history:
            self._take(event)
        self.desk = self.open(settings)

    def open(self, settings: Settings) -> Desk:
        return Desk(settings, self, url=lambda: URL, reactor=self.clock, receivers=(self.receiver,))

    def journeys(self) -> Mapping[str, Journey]:
        self.looks += 1
        return self.known

    def events(self) -> tuple[Event, ...]:
        return tuple(self.happened)

    def note(self, *events: Event) -> None:
        """Each happens at its time; looks are taken on the way."""
        for event in events:
            self.pass_until((event.at - histories.START).total_seconds() / 60)
            self._take(event)
            self.desk.hear(event, self.known[event.patch_id])

    def pass_until(self, minutes: float) -> None:
        while self.clock.seconds() < at(minutes).timestamp():
            self.clock.advance(min(30.0, at(minutes).timestamp() - self.clock.seconds()))
            self.desk.look()

    def turn(self) -> None:
        self.clock.advance(0)

    @property
    def told(self) -> list[Kind]:
        return getattr(self.receiver, "kinds_told", [])

    def _take(self, event: Event) -> None:
        self.happened.append(event)
        self.known[event.patch_id] = journey.after(self.known.get(event.patch_id), event)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return a_settings(tmp_path)


def test_a_deployment_is_told_from_its_wait_to_its_end(settings: Settings) -> None:
    """In its order, with the minutes before it."""

    office = Office(settings, Telling())
    office.note(*waiting(), approved(), planned(180), closed(), over())
    office.pass_until(200)
    assert office.told == [Kind.WAITING, Kind.ANNOUNCED, *[Kind.CLOSING_SOON] * 3, Kind.CLOSED, Kind.REOPENED]


def test_whoever_makes_an_event_waits_for_nothing(settings: Settings) -> None:
    """Not even a text is made before the deployment has gone on."""

    office = Office(settings, Telling())
    office.note(*waiting())
    assert office.receiver.tried == []
    office.turn()
    assert office.told == [Kind.WAITING]


def test_nothing_is_told_while_a_database_has_just_been_closed(settings: Settings) -> None:
    """A long outage is told after a second, a short one when it has ended."""

    office = Office(settings, Telling())
    office.note(*waiting(), approved(), planned(180), closed())
    before, looks = len(office.told), office.looks
    office.clock.advance(0.9)
    office.desk.look()
    assert (len(office.told), office.looks) == (before, looks)
    office.clock.advance(0.2)
    office.turn()
    assert office.told[before:] == [Kind.CLOSED]


def test_a_short_outage_is_told_right_after_its_end(settings: Settings) -> None:
    """Closed and open again, in this order, and in another turn of the reactor."""

    office = Office(settings, Telling())
    office.note(*waiting(), approved(), planned(180), closed())
    office.turn()
    office.clock.advance(0.01)
    end = over()
    office._take(end)
    office.desk.hear(end, office.known["patch-1"])
    before = list(office.told)
    office.turn()
    assert office.told == [*before, Kind.CLOSED, Kind.REOPENED]
    assert before[-1] is Kind.CLOSING_SOON


def test_a_restart_tells_nothing_of_what_was_before_and_everything_still_to_come(settings: Settings) -> None:
    """The plan was made yesterday; the database is said to close today."""

    office = Office(settings, Telling(), history=[*waiting(), approved(), planned(180)])
    office.pass_until(179.5)
    assert office.told == [Kind.CLOSING_SOON] * 3


def test_a_plan_that_is_off_is_not_told_again(settings: Settings) -> None:
    """Nobody prepares for a downtime that does not come."""

    office = Office(settings, Telling())
    office.note(*waiting(), approved(), planned(180), voided(170))  # between the 15th and the 5th minute before
    office.pass_until(200)
    assert office.told == [Kind.WAITING, Kind.ANNOUNCED, Kind.CLOSING_SOON, Kind.VOID]


def test_a_wait_that_is_too_long_is_told(settings: Settings) -> None:
    """After `approval.overdue_hours`."""

    office = Office(settings, Telling())
    office.note(*waiting())
    office.pass_until(3 + settings.approval.overdue_hours * 60 + 1)
    assert office.told == [Kind.WAITING, Kind.OVERDUE]


def test_what_was_heard_is_told_before_the_master_is_gone(settings: Settings) -> None:
    """That the database is open again is heard while the master stops."""

    office = Office(settings, Telling())
    office.note(*waiting(), approved(), planned(180), closed(), over())
    closing: list[None] = []
    Deferred.fromCoroutine(office.desk.close()).addCallback(closing.append)
    office.turn()
    office.turn()
    assert (closing, office.told[-1]) == ([None], Kind.REOPENED)
    assert not office.clock.getDelayedCalls()


def test_an_event_that_cannot_be_told_keeps_nothing_else_from_being_told(settings: Settings) -> None:
    """Of an attempt that nobody knows, there is nothing to say."""

    office = Office(settings, Telling())
    office.note(closed(0), *waiting("patch-2"))
    office.clock.advance(2)
    office.turn()
    assert office.told[-1] is Kind.WAITING


def test_the_settings_make_a_receiver_of_each_entry(tmp_path: Path) -> None:
    """All can be seen with how they do; none shows a secret."""

    settings = a_settings(tmp_path, notices={
        "mail": {"sender": "a@example.org", "to": [{"authors": True}]},
        "webhooks": [{"url": "https://hooks.example.org/T0KEN"}], "commands": [{"command": "true"}]})
    clock = Clock()
    desk = Desk(settings, Office(settings, Telling()), url=lambda: URL, reactor=clock)
    assert [(line.receiver, line.waiting, line.problem) for line in desk.state] == [
        ("mail", 0, ""), ("webhook https://hooks.example.org/…", 0, ""), ("command notices.commands[0]", 0, "")]

"""The service that owns what is under way on databases."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from master.outages import Outages


class ACourse:
    """Something under way that ends when it is told to, and not by itself."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.over: Deferred[str] = Deferred()

    def abort(self, reason: str) -> None:
        self.reasons.append(reason)
        if not self.over.called:
            self.over.callback("aborted")

    async def run(self) -> str:
        return await self.over


async def test_a_second_build_waits_until_the_first_is_released() -> None:
    """One deployment at a time on a database."""

    outages, turns = Outages(), []
    await outages.take_turn(1, "db")
    Deferred.fromCoroutine(outages.take_turn(2, "db")).addCallback(lambda _: turns.append(2))
    assert turns == []
    await outages.release(1)
    assert turns == [2]


async def test_another_database_need_not_wait() -> None:
    """Staging is rehearsed while production is deployed."""

    outages = Outages()
    await outages.take_turn(1, "production")
    await outages.take_turn(2, "staging")


async def test_everybody_who_asks_gets_the_outcome() -> None:
    """Several steps report of one section."""

    outages, course = Outages(), ACourse()
    await outages.take_turn(1, "db")
    outages.hold(1, course)
    first = outages.supervise(1, course.run())
    second = outages.outcome(1)
    course.over.callback("done")
    assert second is not None
    assert (await first, await second) == ("done", "done")


async def test_a_failure_reaches_whoever_asks_and_then_is_spent() -> None:
    """Releasing afterwards raises nothing: the failure was told."""

    async def fail() -> None:
        raise ValueError("no")

    outages = Outages()
    await outages.take_turn(1, "db")
    outages.hold(1, ACourse())
    with pytest.raises(ValueError, match="no"):
        await outages.supervise(1, fail())
    await outages.release(1)


async def test_releasing_ends_what_runs_and_waits_for_its_end() -> None:
    """A build that dies in the middle leaves an open database, and the next one its turn."""

    outages, course = Outages(), ACourse()
    await outages.take_turn(1, "db")
    outages.hold(1, course)
    outcome = outages.supervise(1, course.run())
    await outages.release(1)
    assert await outcome == "aborted"
    assert course.reasons == ["its build has ended"]
    assert outages.course_of(1) is None


async def test_releasing_twice_or_nothing_is_harmless() -> None:
    """Both the last step and the build release."""

    outages = Outages()
    await outages.release(1)
    await outages.take_turn(1, "db")
    await outages.release(1)
    await outages.release(1)


async def test_a_stopping_master_ends_everything_first() -> None:
    """Databases are open when the master is gone."""

    outages, course = Outages(), ACourse()
    await outages.startService()
    await outages.take_turn(1, "db")
    outages.hold(1, course)
    outages.supervise(1, course.run())
    await outages.stopService()
    assert course.reasons == ["the buildmaster is stopping"]
    assert course.over.called


class AStubbornCourse(ACourse):
    def abort(self, reason: str) -> None:
        raise OSError("No space left on device")


async def test_a_course_that_cannot_be_ended_does_not_keep_another_from_its_end() -> None:
    """They are ended beside each other, and the master stops."""

    outages, stubborn, course = Outages(), AStubbornCourse(), ACourse()
    await outages.startService()
    for build_id, each in ((1, stubborn), (2, course)):
        await outages.take_turn(build_id, f"db {build_id}")
        outages.hold(build_id, each)
        outages.supervise(build_id, each.run())
    await outages.stopService()
    assert course.reasons == ["the buildmaster is stopping"]
    stubborn.over.callback("at last")


async def test_who_stops_waiting_for_a_turn_does_not_get_it() -> None:
    """A build that was stopped in the queue does not block the ones behind it."""

    outages = Outages()
    await outages.take_turn(1, "db")
    waiting = Deferred.fromCoroutine(outages.take_turn(2, "db"))
    waiting.addErrback(lambda _: None)
    waiting.cancel()
    await outages.release(1)
    await outages.take_turn(3, "db")

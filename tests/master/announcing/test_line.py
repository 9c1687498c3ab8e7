"""The notices on the way to one receiver."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from downtime.announcements.kinds import Kind
from master.announcing.hold import HOLD_SECONDS, Hold
from master.announcing.line import LONGEST, PAUSES_SECONDS, Line
from master.announcing.receiver import NotDelivered, TryAgain
from tests.master.announcing.notices import Scripted, a_notice


def a_line(receiver: Scripted, clock: Clock | None = None) -> tuple[Line, Clock, Hold]:
    clock = clock or Clock()
    hold = Hold(clock)
    return Line(receiver, reactor=clock, hold=hold), clock, hold


def pass_pauses(clock: Clock) -> None:
    for seconds in PAUSES_SECONDS:
        clock.advance(seconds)


def test_notices_are_delivered_in_their_order() -> None:
    """"Closed" never comes after "reopened", not even when it had to be tried again."""

    line, clock, _ = a_line(receiver := Scripted(TryAgain("busy")))
    line.put(a_notice(patch_id="one"))
    line.put(a_notice(patch_id="two"))
    assert receiver.taken == []
    clock.advance(1)
    assert receiver.taken == ["one", "two"]
    assert (line.state.delivered, line.state.waiting, line.state.problem) == (2, 0, "")


def test_what_may_succeed_later_is_tried_for_about_ten_minutes() -> None:
    """A receiver that is restarted, or updated, misses nothing."""

    line, clock, _ = a_line(receiver := Scripted(*[TryAgain("down")] * len(PAUSES_SECONDS)))
    line.put(a_notice())
    pass_pauses(clock)
    assert receiver.taken == ["patch-1"]
    assert 550 < sum(PAUSES_SECONDS) < 650
    assert list(PAUSES_SECONDS) == sorted(PAUSES_SECONDS)


def test_what_never_succeeds_is_given_up_and_the_next_is_tried() -> None:
    """A notice of yesterday helps nobody."""

    line, clock, _ = a_line(receiver := Scripted(*[TryAgain("down")] * (len(PAUSES_SECONDS) + 1)))
    line.put(a_notice(patch_id="one"))
    line.put(a_notice(patch_id="two"))
    pass_pauses(clock)
    assert receiver.taken == ["two"]
    assert (line.state.failed, line.state.delivered) == (1, 1)


def test_what_is_refused_is_not_tried_again() -> None:
    """It would be refused again."""

    line, clock, _ = a_line(receiver := Scripted(NotDelivered("answered 404")))
    line.put(a_notice())
    pass_pauses(clock)
    assert receiver.tried == ["patch-1"]
    assert (line.state.failed, line.state.problem) == (1, "answered 404")


def test_a_mistake_of_ours_does_not_end_the_line() -> None:
    """The next notice is tried all the same."""

    line, _, _ = a_line(receiver := Scripted(ZeroDivisionError("oh")))
    line.put(a_notice(patch_id="one"))
    line.put(a_notice(patch_id="two"))
    assert receiver.taken == ["two"]


def test_only_so_many_wait_and_the_oldest_go_first() -> None:
    """A receiver that is gone for good does not fill the master's memory."""

    line, clock, _ = a_line(receiver := Scripted(TryAgain("down")))
    for number in range(LONGEST + 3):
        line.put(a_notice(patch_id=str(number)))
    clock.advance(1)
    assert receiver.taken == ["0", *map(str, range(3, LONGEST + 3))]
    assert line.state.dropped == 2


def test_a_receiver_gets_what_it_wants() -> None:
    """And nothing else."""

    line, _, _ = a_line(receiver := Scripted(kinds=(Kind.ABORTED,)))
    line.put(a_notice(Kind.CLOSED, patch_id="one"))
    line.put(a_notice(Kind.ABORTED, patch_id="two"))
    assert receiver.tried == ["two"]


def test_nothing_is_delivered_while_it_is_held() -> None:
    """Not even what was to be tried again."""

    line, clock, hold = a_line(receiver := Scripted(TryAgain("busy")))
    line.put(a_notice())
    clock.advance(0.5)
    hold.begin(7)
    clock.advance(0.9)
    assert len(receiver.tried) == 1
    clock.advance(HOLD_SECONDS)
    clock.advance(0)
    assert receiver.taken == ["patch-1"]


def test_a_hold_ends_with_the_last_outage() -> None:
    """Two databases may be closed at once."""

    clock = Clock()
    hold, over = Hold(clock), []
    hold.begin(1)
    clock.advance(0.5)
    hold.begin(2)
    Deferred.fromCoroutine(hold.over()).addCallback(over.append)
    hold.end(1)
    clock.advance(0.4)
    assert (hold.held, over) == (True, [])
    hold.end(2)
    assert over == []  # whoever ended it goes on first
    clock.advance(0)
    assert (hold.held, over) == (False, [None])


def test_the_log_has_a_failure_once_until_it_works_again() -> None:
    """A receiver that is gone does not fill the disk; that it is back is worth a line."""

    line, clock, _ = a_line(Scripted(*[TryAgain("down")] * 5, None, NotDelivered("answered 404")))
    said: list[str] = []

    def observe(event: object) -> None:
        assert isinstance(event, dict)
        if event.get("log_namespace") == "master.announcing.line":
            said.append(event["log_level"].name)

    globalLogPublisher.addObserver(observe)
    try:
        line.put(a_notice(patch_id="one"))
        line.put(a_notice(patch_id="two"))
        pass_pauses(clock)
    finally:
        globalLogPublisher.removeObserver(observe)
    assert said == ["warn", "info", "warn"]


def test_closing_gives_what_is_under_way_so_long() -> None:
    """A master that stops does not wait for a receiver that hangs."""

    line, clock, _ = a_line(receiver := Scripted(hangs=True))
    line.put(a_notice(patch_id="one"))
    line.put(a_notice(patch_id="two"))
    over: list[None] = []
    Deferred.fromCoroutine(line.close(2)).addCallback(over.append)
    clock.advance(1.9)
    assert over == []
    clock.advance(0.2)
    assert (over, receiver.cancelled, receiver.tried) == ([None], 1, ["one"])
    line.put(a_notice(patch_id="three"))
    assert receiver.tried == ["one"]


def test_closing_does_not_wait_for_a_pause() -> None:
    """What is to be tried in three minutes is given up; what was never tried is tried once."""

    line, clock, _ = a_line(receiver := Scripted(TryAgain("down"), TryAgain("down"), None))
    for name in ("one", "two", "three"):
        line.put(a_notice(patch_id=name))
    over: list[None] = []
    Deferred.fromCoroutine(line.close(2)).addCallback(over.append)
    assert (over, receiver.tried, receiver.taken) == ([None], ["one", "two", "three"], ["three"])
    assert clock.getDelayedCalls() == []


def test_closing_a_line_where_nothing_waits_returns_at_once() -> None:
    """Nearly every stop of a master is one of these."""

    line, clock, _ = a_line(Scripted())
    over: list[None] = []
    Deferred.fromCoroutine(line.close(2)).addCallback(over.append)
    assert (over, clock.getDelayedCalls()) == ([None], [])

"""When a downtime may begin."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from downtime.settings import Windows
from downtime.windows import has_passed, next_opening, seconds_until_open

WORKDAYS = Windows(cron=("30 8 * * mon-fri",), minutes=30)


@pytest.mark.parametrize(("at", "seconds"), [
    (datetime(2026, 1, 5, 8, 30, tzinfo=UTC), 0),           # a Monday, the very start
    (datetime(2026, 1, 5, 8, 59, 59, tzinfo=UTC), 0),
    (datetime(2026, 1, 5, 9, 0, tzinfo=UTC), 23.5 * 3600),  # over: tomorrow
    (datetime(2026, 1, 5, 8, 0, tzinfo=UTC), 1800),
    (datetime(2026, 1, 2, 9, 0, tzinfo=UTC), 71.5 * 3600),  # a Friday: not before Monday
])
def test_it_waits_for_the_next_start_unless_a_window_is_open(at: datetime, seconds: float) -> None:
    """The end of a window does not belong to it."""

    assert seconds_until_open(WORKDAYS, at) == seconds


def test_windows_are_read_in_their_own_time_zone() -> None:
    """Half past eight in Berlin is half past seven in London."""

    berlin = Windows(cron=("30 8 * * *",), minutes=30, timezone="Europe/Berlin")
    assert seconds_until_open(berlin, datetime(2026, 1, 5, 7, 30, tzinfo=UTC)) == 0
    assert seconds_until_open(berlin, datetime(2026, 1, 5, 7, 0, tzinfo=UTC)) == 1800


def test_without_windows_any_time_is_right() -> None:
    """An operator who names none decides by approving."""

    assert seconds_until_open(None, datetime(2026, 1, 5, tzinfo=UTC)) == 0


@pytest.mark.parametrize(("at", "passed"), [
    (datetime(2026, 1, 5, 8, 29, 59, tzinfo=UTC), False),  # a timer that has rung a little early
    (datetime(2026, 1, 5, 8, 45, tzinfo=UTC), False),
    (datetime(2026, 1, 5, 9, 0, 1, tzinfo=UTC), True),
])
def test_what_comes_after_the_end_has_missed_its_window(at: datetime, passed: bool) -> None:
    """Quiescing may take minutes, and so may the deployment before: nothing begins outside the window for that."""

    assert has_passed(WORKDAYS, at) is passed


HOLIDAYS = Windows(cron=("30 8 * * mon-fri",), minutes=30, timezone="Europe/Berlin",
                   blackout=("2026-12-24/2027-01-01", "2026-12-22"))


@pytest.mark.parametrize(("at", "opening"), [
    (datetime(2026, 12, 22, 7, 40, tzinfo=UTC), datetime(2026, 12, 23, 7, 30, tzinfo=UTC)),  # inside a window
    (datetime(2026, 12, 23, 7, 40, tzinfo=UTC), datetime(2026, 12, 23, 7, 40, tzinfo=UTC)),
    (datetime(2026, 12, 23, 9, 0, tzinfo=UTC), datetime(2027, 1, 4, 7, 30, tzinfo=UTC)),     # and a weekend behind
])
def test_no_downtime_begins_on_a_blackout_day(at: datetime, opening: datetime) -> None:
    """Both ends of a span belong to it, in the time zone of the windows."""

    assert next_opening(HOLIDAYS, at) == opening


def test_what_is_prepared_for_an_hour_begins_in_a_window() -> None:
    """At 8:00 the next one is half an hour away, which is too near."""
    at = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)

    assert next_opening(WORKDAYS, at, lead_seconds=3600) == datetime(2026, 1, 6, 8, 30, tzinfo=UTC)


def test_a_blackout_without_an_end_is_found_out() -> None:
    """It does not look for ever."""
    never = Windows(cron=("30 8 * * *",), minutes=30, blackout=("2026-01-01/2090-01-01",))

    assert seconds_until_open(never, datetime(2026, 1, 5, tzinfo=UTC)) > 4 * 365 * 86400


NIGHTLY = Windows(cron=("30 8 * * *",), minutes=30, timezone="Europe/Berlin")


@pytest.mark.parametrize(("at", "opening"), [
    (datetime(2026, 3, 28, 19, 0, tzinfo=UTC), datetime(2026, 3, 29, 6, 30, tzinfo=UTC)),    # a night of 23 hours
    (datetime(2026, 10, 24, 18, 0, tzinfo=UTC), datetime(2026, 10, 25, 7, 30, tzinfo=UTC)),  # and one of 25
])
def test_the_night_in_which_the_clocks_change_moves_no_window(at: datetime, opening: datetime) -> None:
    """Whoever waited for an hour too long would find the window closed."""

    assert next_opening(NIGHTLY, at) == opening
    assert seconds_until_open(NIGHTLY, at) == (opening - at).total_seconds()


def test_a_window_is_as_long_as_it_says_when_the_clocks_go_back() -> None:
    """From 1:00 for 90 minutes: when it is 2:15 for the second time it has been over for 45 minutes."""

    before_dawn = Windows(cron=("0 1 * * *",), minutes=90, timezone="Europe/Berlin")
    assert seconds_until_open(before_dawn, datetime(2026, 10, 25, 0, 29, tzinfo=UTC)) == 0
    assert has_passed(before_dawn, datetime(2026, 10, 25, 1, 15, tzinfo=UTC))

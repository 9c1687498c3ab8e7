"""When a downtime may begin: the windows of the settings. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import croniter

from downtime.settings import Windows

TOO_EARLY_SECONDS = 60.0  # timers and clocks differ by less; a window that has passed opens again much later
MOST_AHEAD = timedelta(days=4 * 366)  # a window on 29 February comes up in them
A_SECOND = timedelta(seconds=1)  # croniter looks strictly before and after; the very start is in the window


def has_passed(windows: Windows | None, at: datetime) -> bool:
    """Whether what was planned for a window comes too late for it at `at` (aware)."""
    return seconds_until_open(windows, at) > TOO_EARLY_SECONDS


def seconds_until_open(windows: Windows | None, at: datetime) -> float:
    """How long after `at` (aware) a downtime may begin; 0 where it may at once, or where there are no windows.

    A blackout day (of the windows' time zone) ends what was open at its midnight. Where the next four years have no
    window that is in no blackout, it is after them.
    """
    if windows is None:
        return 0.0
    # times of one zone are subtracted by their clock, which jumps twice a year: how long something lasts UTC says
    zone, at = ZoneInfo(windows.timezone), at.astimezone(UTC)
    local, after = at.astimezone(zone), (at + A_SECOND).astimezone(zone)
    began = max(croniter(line, after).get_prev(datetime).astimezone(UTC) for line in windows.cron)
    if at < began + timedelta(minutes=windows.minutes) and not _is_blacked_out(windows, local):
        return 0.0
    return float((_next_opening(windows, local).astimezone(UTC) - at).total_seconds())


def next_opening(windows: Windows | None, at: datetime, *, lead_seconds: float = 0.0) -> datetime:
    """The first instant from `at` on at which a downtime may begin that is prepared for `lead_seconds` before."""
    ready = at + timedelta(seconds=lead_seconds)
    return ready + timedelta(seconds=seconds_until_open(windows, ready))


def _next_opening(windows: Windows, local: datetime) -> datetime:
    """The next start of a window on a day that is not blacked out."""
    latest = local + MOST_AHEAD
    openings = [croniter(line, local) for line in windows.cron]
    upcoming = [opening.get_next(datetime) for opening in openings]
    while True:
        begins: datetime = min(upcoming)
        if not _is_blacked_out(windows, begins) or begins > latest:
            return begins
        place = upcoming.index(begins)
        upcoming[place] = openings[place].get_next(datetime)


def _is_blacked_out(windows: Windows, local: datetime) -> bool:
    return any(local.date() in span for span in windows.blackout)

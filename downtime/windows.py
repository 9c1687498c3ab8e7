"""When a downtime may begin: the windows of the settings. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import croniter

from downtime.settings import Windows

TOO_EARLY_SECONDS = 60.0  # timers and clocks differ by less; a window that has passed opens again much later
A_SECOND = timedelta(seconds=1)  # croniter looks strictly before and after; the very start is in the window


def has_passed(windows: Windows | None, at: datetime) -> bool:
    """Whether what was planned for a window comes too late for it at `at` (aware)."""
    return seconds_until_open(windows, at) > TOO_EARLY_SECONDS


def seconds_until_open(windows: Windows | None, at: datetime) -> float:
    """How long after `at` (aware) a downtime may begin; 0 where it may at once, or where there are no windows."""
    if windows is None:
        return 0.0
    local = at.astimezone(ZoneInfo(windows.timezone))
    began = max(croniter(line, local + A_SECOND).get_prev(datetime) for line in windows.cron)
    if local < began + timedelta(minutes=windows.minutes):
        return 0.0
    begins = min(croniter(line, local).get_next(datetime) for line in windows.cron)
    return float((begins - local).total_seconds())

"""What is stopped, what still has work, and since when: for whoever looks at a deployment that quiesces. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from downtime.quiescing.tasks import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a task is. Instants are aware."""

    task: Task
    stopped_at: datetime | None = None  # when its `stop` had succeeded
    quiet_at: datetime | None = None    # when it was first found quiet; None: not yet, not any more, or never asked
    why_not: str = ""                   # what speaks against it, where it was asked

    @property
    def is_stopped(self) -> bool:
        return self.stopped_at is not None

    @property
    def has_work(self) -> bool:
        """It is stopped, can be asked, and does not say that it is quiet."""
        return self.is_stopped and self.task.can_be_asked and self.quiet_at is None

    @property
    def is_quiet(self) -> bool:
        return self.quiet_at is not None


def at_work(standings: Sequence[Standing]) -> tuple[Standing, ...]:
    return tuple(each for each in standings if each.has_work)


def sentence(standings: Sequence[Standing], now: datetime) -> str:
    """`2 of 3 background tasks are stopped; nightly import still has work (12 min)`."""
    stopped = sum(each.is_stopped for each in standings)
    number = f"{stopped} of {len(standings)}" if stopped < len(standings) else f"all {stopped}"
    said = f"{number} background tasks are stopped" if len(standings) > 1 else (
        "the background task is stopped" if stopped else "the background task is being stopped")
    return "; ".join([said, *(f"{each.task.name} still has work ({_since(each, now)})" for each in at_work(standings))])


def table(standings: Sequence[Standing]) -> str:
    """A line for each task, for a log."""
    return "\n".join(f"{each.task.name}: {_in_words(each)}" for each in standings)


def _in_words(each: Standing) -> str:
    if each.stopped_at is None:
        return "not stopped yet"
    stopped = f"stopped at {each.stopped_at:%H:%M:%S %Z}"
    if each.quiet_at is not None:
        return f"{stopped}, quiet since {each.quiet_at:%H:%M:%S %Z}"
    if not each.task.can_be_asked:
        return f"{stopped}; nothing in the settings tells whether it is quiet"
    return f"{stopped}, still has work{f': {each.why_not}' if each.why_not else ''}"


def _since(each: Standing, now: datetime) -> str:
    assert each.stopped_at is not None, "it has work since it was stopped"
    seconds = (now - each.stopped_at).total_seconds()
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.0f} min"

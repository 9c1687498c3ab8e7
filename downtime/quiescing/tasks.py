"""The tasks of an environment in the order in which they are stopped, and what is owed of them afterwards. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from downtime.quiescing.kinds import commands_of
from downtime.settings.quiesce import Quiesce


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A shell command and how long it may take."""

    command: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """A task that was stopped, or perhaps was: to be resumed by this command, whatever the settings say by then."""

    task: str
    command: str
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Owed:
        return cls(**document)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A background task, whatever its kind."""

    name: str
    lead_seconds: float      # before the downtime
    stop: Action
    stopped: Action | None   # ends with status 0 when it is quiet
    users: tuple[str, ...]   # without a session of them in the database it is quiet
    owed: Owed

    @property
    def can_be_asked(self) -> bool:
        """Whether anything tells that it is quiet."""
        return self.stopped is not None or bool(self.users)


def tasks_of(quiesce: Quiesce) -> tuple[Task, ...]:
    """The longest lead first, and as they are listed where it is the same."""
    tasks = []
    for each in quiesce.tasks:
        commands = commands_of(each)
        tasks.append(Task(
            name=each.name, lead_seconds=quiesce.lead_minutes_of(each) * 60.0, users=each.users,
            stop=Action(command=commands.stop, seconds=each.stop_seconds),
            stopped=(Action(command=commands.stopped, seconds=each.stopped_seconds)
                     if commands.stopped is not None else None),
            owed=Owed(task=each.name, command=commands.resume, seconds=each.resume_seconds)))
    return tuple(sorted(tasks, key=lambda task: -task.lead_seconds))


def names(owed: Iterable[Owed]) -> str:
    """The tasks, for a sentence."""
    return ", ".join(each.task for each in owed)

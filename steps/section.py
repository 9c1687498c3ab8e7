"""The critical section as the steps watch it."""

from __future__ import annotations

from downtime import sessions
from downtime.apply import AppliedStatement
from downtime.outage import Outage


class Section(Outage):
    """An outage that also says what it has done so far: a step's log should not wait for a long patch to end."""

    @property
    def kicked(self) -> tuple[sessions.Session, ...]:
        return tuple(self._kick.kicked.values())

    @property
    def statements(self) -> tuple[AppliedStatement, ...]:
        return tuple(self._course.statements)

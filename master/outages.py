"""The service that owns what is under way on databases: outages, live applications, rehearsals.

Not the build's steps: a build may lose its worker, be stopped, or end in an exception, and none of that may decide
how an outage ends. The build's class releases what its build holds, `stopService` what the master holds. Neither asks
Buildbot's state database anything. A database of which nobody knows how it was left is handed to `master.recovery`.
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from buildbot.util.service import BuildbotService
from twisted.internet.defer import Deferred, DeferredList, DeferredLock
from twisted.logger import Logger
from twisted.python.failure import Failure

from downtime import errors
from downtime.failover import LivesElsewhere
from downtime.fleet.report import FleetReport
from downtime.outage import Outage
from downtime.phases import Report
from master.recovery import Recovery
from steps.shared.names import ServiceName
from steps.shared.services import Course

LOG = Logger()

T = TypeVar("T")


@dataclass(slots=True)
class _Held:
    """What one build holds."""

    turn: DeferredLock
    database: str
    course: Course | None = None
    work: Deferred[Any] | None = None


class Outages(BuildbotService):  # type: ignore[misc]
    """See `steps.shared.services.Outages` for what steps may ask of it."""

    name = ServiceName.OUTAGES.value

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._turns: dict[str, DeferredLock] = {}
        self._held: dict[int, _Held] = {}

    async def take_turn(self, build_id: int, database: str) -> None:
        turn = self._turns.setdefault(database, DeferredLock())
        await turn.acquire()
        self._held[build_id] = _Held(turn, database)

    def hold(self, build_id: int, course: Course) -> None:
        held = self._held[build_id]
        held.course, held.work = course, None

    def supervise(self, build_id: int, work: Coroutine[Any, Any, T]) -> Deferred[T]:
        held = self._held[build_id]
        held.work = Deferred.fromCoroutine(work).addBoth(self._look_after, held.database)
        outcome = self.outcome(build_id)
        assert outcome is not None, "it was put there just now"
        return outcome

    def course_of(self, build_id: int) -> Course | None:
        held = self._held.get(build_id)
        return held.course if held is not None else None

    def outcome(self, build_id: int) -> Deferred[Any] | None:
        held = self._held.get(build_id)
        if held is None or held.work is None:
            return None
        waiter: Deferred[Any] = Deferred()

        def pass_on(result: Any) -> Any:
            waiter.callback(result)  # a Failure goes on as one
            return result

        held.work.addBoth(pass_on)
        return waiter

    async def release(self, build_id: int) -> None:
        held = self._held.pop(build_id, None)
        if held is None:
            return
        try:
            await _end(held, "its build has ended")
        finally:
            held.turn.release()

    async def stopService(self) -> None:
        """Ends everything and waits until it has ended: databases are open when the master is gone."""
        # beside each other: one that does not end must not keep another database closed
        await DeferredList([Deferred.fromCoroutine(_end(held, "the buildmaster is stopping")).addErrback(_note)
                            for held in list(self._held.values())])
        await super().stopService()

    def _look_after(self, result: Any, database: str) -> Any:
        error = result.value if isinstance(result, Failure) else result.error if isinstance(result, Report) else None
        # what lives elsewhere now must not be opened where it was: there would be two
        unsure = isinstance(error, errors.NeedsOperator) and not isinstance(error, LivesElsewhere)
        in_doubt = [database] if unsure else []
        if isinstance(result, FleetReport):
            in_doubt += [row.database for row in result.to_look_after]
        if self.master is not None:
            for each in in_doubt:
                self.master.service_manager.namedServices[Recovery.name].look_after(each)
        return result


async def _end(held: _Held, reason: str) -> None:
    if held.course is not None:
        held.course.abort(reason)  # without effect on what has ended
    if held.work is not None:
        held.work.addErrback(lambda _: None)  # whoever watched it was told
        finished: Deferred[None] = Deferred()
        held.work.addBoth(lambda _: finished.callback(None))
        await finished
    if isinstance(held.course, Outage):
        await held.course.close()


def _note(failure: Failure) -> None:
    LOG.failure("ending what is under way", failure=failure)

"""Deploys a patch to the databases behind the canary, so many at a time, until all have it or one speaks against it.

* No more are begun after the first that fails, takes longer than it may, or when somebody says so. Those under way
  come to their own end: each opens by itself.
* Gate "hold" closes a whole server, and `serve_reads` pauses a whole standby: of the databases there only one is
  under way at a time, beside those of other servers.
* It remembers nothing. What a database has, its own ledger knows: a second run goes on where the first has ended,
  whatever ended it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from downtime import errors
from downtime.errors import Left
from downtime.fleet.matrix import Matrix, Result, Row, State, changed
from downtime.lanes import Lane
from downtime.settings import Environment, Gate

LOG = Logger()


class Stopped(errors.DowntimeError):
    """Some databases have the patch and some lack it; each is open, and has it whole or not at all."""

    happened = "{patch}: {sentence}"
    next_step = ("put right what it names, and deploy the patch again: databases that have it are passed over, and the"
                 " others get it")
    left = Left.REOPENED


class StoppedInDoubt(Stopped):
    """Of one of them nobody knows that it is open."""

    next_step = ("python -m downtime status, then python -m downtime reopen --environment NAME; then deploy the patch"
                 " again")
    exit_status = errors.ExitStatus.NEEDS_OPERATOR
    left = Left.UNKNOWN


class StoppedForOperator(Stopped):
    """All are open. What stands around one of them, or that one itself, does not come right by itself."""

    next_step = ("do what its line of the table says; python -m downtime status shows what is left; then deploy the"
                 " patch again, if some lack it")
    exit_status = errors.ExitStatus.NEEDS_OPERATOR


def stopped(patch: str, matrix: Matrix) -> Stopped | None:
    """What to raise of a rollout that has ended; None where every database has the patch and all is well. Pure."""
    if any(row.result.left in (Left.CLOSED, Left.UNKNOWN) for row in matrix.rows):
        return StoppedInDoubt(patch=patch, sentence=matrix.sentence)
    if any(row.result.needs_operator for row in matrix.rows):
        return StoppedForOperator(patch=patch, sentence=matrix.sentence,
                                  left=Left.APPLIED if matrix.complete else Left.REOPENED)
    return None if matrix.complete else Stopped(patch=patch, sentence=matrix.sentence)


class Course(Protocol):
    """The deployment to one database."""

    async def run(self) -> Result:
        """Raises nothing but for mistakes in this program; its database is open when it returns."""

    def abort(self, reason: str) -> None:
        """Come to an end soon: rolled back and open."""


def to_begin(waiting: Sequence[Environment], under_way: Sequence[Environment], *, at_once: int, lane: Lane
             ) -> tuple[Environment, ...]:
    """Whose turn it is. Pure."""
    closed = {server for member in under_way for server in _closes(member, lane)}
    found: list[Environment] = []
    for member in waiting:
        if len(under_way) + len(found) >= at_once:
            break
        servers = _closes(member, lane)
        if not servers & closed:
            found.append(member)
            closed |= servers
    return tuple(found)


def _closes(member: Environment, lane: Lane) -> set[str]:
    """The servers on which its outage is felt by other databases: closed with gate "hold", or with replay paused."""
    if lane is not Lane.COLD:
        return set()
    paused = {standby.server for standby in member.replicas.targets} if member.replicas.serve_reads else set()
    return paused | ({member.target.server} if member.gate is Gate.HOLD else set())


class Rollout:
    """One patch on its way through the databases of an environment. `await run()`, and `abort(reason)` to end it."""

    def __init__(self, members: Sequence[Environment], begin: Callable[[Environment], Course], *, at_once: int,
                 lane: Lane, known: Mapping[str, Result], may_begin: Callable[[], str] = lambda: "",
                 told: Callable[[Row, Matrix], None] = lambda row, matrix: None) -> None:
        """`known` is what has become of some members already: of the canary, which is not begun here.

        `may_begin` says why no other is to be begun now, or nothing. `told` is told of every database that begins or
        ends.
        """
        self._begin, self._at_once, self._lane = begin, at_once, lane
        self._may_begin, self._told = may_begin, told
        self._waiting = [member for member in members if member.member not in known]
        self._under_way: dict[str, tuple[Environment, Course]] = {}
        self._rows = tuple(
            Row(name=member.member, database=member.target.label,
                result=known.get(member.member, Result(state=State.NOT_REACHED))) for member in members)
        self._stopped = ""
        self._one_ended: Deferred[None] = Deferred()
        for name, result in known.items():
            self._judge(name, result)

    @property
    def matrix(self) -> Matrix:
        """How far it is now."""
        return Matrix(rows=self._rows, stopped=self._stopped)

    async def run(self) -> Matrix:
        """Returns when nothing is under way any more. Raises nothing."""
        while self._under_way or (self._waiting and not self._stopped):
            self._one_ended = Deferred()
            for member in self._next():
                self._start(member)
            if self._under_way:
                await self._one_ended
        return self.matrix

    def abort(self, reason: str) -> None:
        """End what is under way and begin no other."""
        self._stop(reason)
        for _, course in list(self._under_way.values()):
            course.abort(reason)

    def _next(self) -> tuple[Environment, ...]:
        if self._waiting and not self._stopped and (reason := self._may_begin()):
            self._stop(reason)
        if self._stopped:
            return ()
        under_way = [member for member, _ in self._under_way.values()]
        return to_begin(self._waiting, under_way, at_once=self._at_once, lane=self._lane)

    def _start(self, member: Environment) -> None:
        self._waiting.remove(member)
        course = self._begin(member)
        self._under_way[member.member] = (member, course)
        self._note(member.member, Result(state=State.UNDER_WAY))
        Deferred.fromCoroutine(course.run()).addErrback(_internal_error).addCallback(self._ended, member)

    def _ended(self, result: Result, member: Environment) -> None:
        del self._under_way[member.member]
        self._judge(member.member, result)
        self._note(member.member, result)
        if not self._one_ended.called:
            self._one_ended.callback(None)

    def _judge(self, name: str, result: Result) -> None:
        if result.stops:
            what = "took too long" if result.over_budget else "needs a look"
            self._stop(f"{name} {'failed' if result.state is State.FAILED else what}")

    def _stop(self, reason: str) -> None:
        self._stopped = self._stopped or f"no more were begun: {reason}"

    def _note(self, name: str, result: Result) -> None:
        self._rows = changed(self._rows, name, result)
        row = next(row for row in self._rows if row.name == name)
        try:
            self._told(row, self.matrix)
        except Exception:  # who only listens does not decide how it goes on
            LOG.failure("telling of {name}", name=name)


def _internal_error(failure: Failure) -> Result:
    LOG.failure("deploying to one of several databases", failure=failure)
    return Result(state=State.FAILED, left=Left.UNKNOWN,
                  said=f"internal error: {type(failure.value).__name__}: {failure.getErrorMessage()}")

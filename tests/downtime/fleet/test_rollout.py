"""Whose turn it is among several databases, and when no more are begun: with databases that are none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred

from downtime import errors
from downtime.fleet.matrix import Matrix, Result, Row, State
from downtime.fleet.rollout import Rollout, Stopped, StoppedForOperator, StoppedInDoubt, stopped, to_begin
from downtime.lanes import Lane
from downtime.settings import Environment
from tests.downtime.fleet.fleets import a_fleet

DONE = Result(state=State.DONE, outage_seconds=0.1, patch_seconds=0.05)
FAILED = Result(state=State.FAILED, said="it has failed", left=errors.Left.REOPENED)


class Course:
    """A deployment that ends when the test says so, or when it is aborted."""

    def __init__(self) -> None:
        self.outcome: Deferred[Result] = Deferred()
        self.aborted = ""

    async def run(self) -> Result:
        return await self.outcome

    def abort(self, reason: str) -> None:
        self.aborted = reason
        self.outcome.callback(Result(state=State.FAILED, said=reason, left=errors.Left.REOPENED))


class Stage:
    """A rollout over a fleet, and the courses it has begun by name, in order."""

    def __init__(self, environment: Environment, *, at_once: int, lane: Lane = Lane.COLD,
                 known: Mapping[str, Result] | None = None, may_begin: Callable[[], str] = lambda: "",
                 told: Callable[[Row, Matrix], None] = lambda row, matrix: None) -> None:
        self.courses: dict[str, Course] = {}
        self.rollout = Rollout(environment.members(), self._begin, at_once=at_once, lane=lane,
                               known={"canary": DONE} if known is None else known, may_begin=may_begin, told=told)
        self.running: Deferred[Matrix] = Deferred.fromCoroutine(self.rollout.run())

    def _begin(self, member: Environment) -> Course:
        return self.courses.setdefault(member.member, Course())

    def end(self, name: str, result: Result = DONE) -> None:
        self.courses[name].outcome.callback(result)

    @property
    def result(self) -> Any:
        found: list[Matrix] = []
        self.running.addCallback(lambda matrix: found.append(matrix) or matrix)
        return found[0] if found else None


def _states(matrix: Matrix) -> dict[str, State]:
    return {row.name: row.result.state for row in matrix.rows}


def test_no_more_are_under_way_than_was_asked() -> None:
    """The next begins as soon as one has ended, not when all of a wave have; the canary is not begun again."""
    stage = Stage(a_fleet(4), at_once=2)
    assert list(stage.courses) == ["tenant-1", "tenant-2"]

    stage.end("tenant-2")
    assert list(stage.courses) == ["tenant-1", "tenant-2", "tenant-3"]
    assert stage.rollout.matrix.progress == "2 of 5 done, 2 under way"

    for name in ("tenant-1", "tenant-3", "tenant-4"):
        assert stage.result is None
        stage.end(name)
    assert stage.result.complete
    assert stage.result.sentence == "all 5 databases have it"


def test_a_failure_lets_those_under_way_end_and_begins_no_other() -> None:
    """What is under way is open again by itself; what was not begun reads "not reached"."""
    stage = Stage(a_fleet(4), at_once=2)

    stage.end("tenant-1", FAILED)
    assert list(stage.courses) == ["tenant-1", "tenant-2"]
    assert stage.result is None
    stage.end("tenant-2")

    assert _states(stage.result) == {
        "canary": State.DONE, "tenant-1": State.FAILED, "tenant-2": State.DONE, "tenant-3": State.NOT_REACHED,
        "tenant-4": State.NOT_REACHED}
    assert stage.result.sentence == ("2 of 5 databases have it; without it: tenant-1, tenant-3, tenant-4;"
                                     " no more were begun: tenant-1 failed")


def test_one_that_took_too_long_stops_like_a_failure_though_it_has_the_patch() -> None:
    """Forty more outages like that one are somebody's decision; the canary's own counts as well."""
    late = Result(state=State.DONE, outage_seconds=20.0, patch_seconds=20.0, over_budget=True, said="too long")
    stage = Stage(a_fleet(3), at_once=1)
    stage.end("tenant-1", late)
    after_canary = Stage(a_fleet(3), at_once=1, known={"canary": late})

    assert stage.result.stopped == "no more were begun: tenant-1 took too long"
    assert (list(after_canary.courses), after_canary.result.stopped) == ([], "no more were begun: canary took too long")


def test_what_has_it_already_is_passed_over() -> None:
    """A second run goes on behind the first; nothing stops at a database that has the patch."""
    stage = Stage(a_fleet(2), at_once=1, known={"canary": Result(state=State.HAS_IT)})

    stage.end("tenant-1", Result(state=State.HAS_IT))
    stage.end("tenant-2")

    assert stage.result.complete


def test_stop_aborts_what_is_under_way_and_reaches_no_other() -> None:
    """Each under way comes to its own end, which is awaited."""
    stage = Stage(a_fleet(3), at_once=2)

    stage.rollout.abort("stopped (enough)")

    assert [course.aborted for course in stage.courses.values()] == ["stopped (enough)"] * 2
    assert list(stage.courses) == ["tenant-1", "tenant-2"]
    assert stage.result.stopped == "no more were begun: stopped (enough)"


def test_none_is_begun_when_no_downtime_may_begin_any_more() -> None:
    """The window is asked before each."""
    reasons = iter(["", "the window has passed"])
    stage = Stage(a_fleet(3), at_once=1, may_begin=lambda: next(reasons))

    stage.end("tenant-1")

    assert stage.result.stopped == "no more were begun: the window has passed"
    assert list(stage.courses) == ["tenant-1"]


def test_gate_hold_never_has_two_databases_of_a_server_under_way() -> None:
    """It closes the whole server: the second would wait at the door of the first. Other servers go on beside."""
    members = a_fleet(6, servers=2, gate="hold").members()[1:]  # tenants 1, 3, 5 on one, 2, 4, 6 on the other

    begun = to_begin(members, (), at_once=5, lane=Lane.COLD)
    assert [each.member for each in begun] == ["tenant-1", "tenant-2"]
    assert [each.member for each in to_begin(members[2:], begun[:1], at_once=5, lane=Lane.COLD)] == ["tenant-4"]
    assert len(to_begin(members, (), at_once=5, lane=Lane.LIVE)) == 5  # which closes nothing


def test_a_standby_whose_replay_is_paused_is_in_one_outage_at_a_time() -> None:
    """With serve_reads: an outage that ends resumes replay for all databases of the standby, another's among them."""
    replicas = {number: {"servers": [f"postgresql://patcher@standby.example:5432/tenant{number}"],
                         "serve_reads": True} for number in (1, 2)}
    members = a_fleet(3, servers=3, replicas=replicas).members()[1:]

    assert [each.member for each in to_begin(members, (), at_once=3, lane=Lane.COLD)] == ["tenant-1", "tenant-3"]
    assert len(to_begin(members, (), at_once=3, lane=Lane.LIVE)) == 3


def test_a_mistake_of_this_program_in_one_is_a_failure_of_that_one() -> None:
    """Nobody waits for ever for what has died, and nobody says that its database is open."""
    stage = Stage(a_fleet(2), at_once=1)

    stage.courses["tenant-1"].outcome.errback(RuntimeError("a mistake"))

    (failed,) = stage.result.failed
    assert (failed.name, failed.result.left) == ("tenant-1", errors.Left.UNKNOWN)
    assert isinstance(stopped("patch-1", stage.result), StoppedInDoubt)


def test_who_only_listens_does_not_decide_how_it_goes_on() -> None:
    """A log that cannot be written is no reason to leave half of the databases behind."""
    def told(row: Row, matrix: Matrix) -> None:
        raise RuntimeError("no room on the disk")

    stage = Stage(a_fleet(1), at_once=1, told=told)
    stage.end("tenant-1")

    assert stage.result.complete


def test_an_end_is_an_error_unless_all_have_it() -> None:
    """What to type next depends on whether every database is known to be open."""
    row = Row(name="one", database="db/one", result=DONE)
    closed = Row(name="two", database="db/two", result=Result(state=State.DONE, left=errors.Left.CLOSED))

    assert stopped("patch-1", Matrix(rows=(row,))) is None
    failure = stopped("patch-1", Matrix(rows=(row, Row(name="two", database="db/two", result=FAILED))))
    assert (type(failure), failure.left if failure else "") == (Stopped, errors.Left.REOPENED)
    assert isinstance(stopped("patch-1", Matrix(rows=(row, closed))), StoppedInDoubt)


def test_a_database_with_the_patch_that_needs_an_operator_is_an_error_too() -> None:
    """All have it, and replay of a standby is paused for good: whoever calls must not read "done"."""
    needing = Row(name="two", database="db/two", result=Result(
        state=State.DONE, said="replay stays paused; next: resume it", left=errors.Left.APPLIED, needs_operator=True))
    matrix = Matrix(rows=(Row(name="one", database="db/one", result=DONE), needing))

    failure = stopped("patch-1", matrix)

    assert matrix.complete
    assert isinstance(failure, StoppedForOperator)
    assert (failure.exit_status, failure.left) == (errors.ExitStatus.NEEDS_OPERATOR, errors.Left.APPLIED)
    assert "all 2 databases have it; two needs a look: replay stays paused; next: resume it" in str(failure)

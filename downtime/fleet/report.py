"""How a deployment to several databases went: the canary's own report, and what became of each. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from downtime import errors, live, phases
from downtime.fleet.matrix import Matrix, Result, Row, State
from downtime.fleet.member import result_of
from downtime.fleet.rollout import Stopped, stopped
from downtime.settings import Settings
from downtime.settings.sections import Budget

Canary = phases.Report | live.Report | errors.DowntimeError | None  # None: it had the patch already


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetReport:
    """`canary` is an error where a live application was not applied."""

    patch: str
    canary: Canary
    matrix: Matrix
    reports: Mapping[str, phases.Report | live.Report]  # of the others that were begun, by name

    @property
    def applied(self) -> bool:
        """Whether every database has it."""
        return self.matrix.complete

    @property
    def stopped(self) -> Stopped | None:
        return stopped(self.patch, self.matrix)

    @property
    def kicked(self) -> int:
        """Clients' sessions on all of them."""
        return sum(row.result.kicked for row in self.matrix.rows)

    @property
    def in_doubt(self) -> tuple[Row, ...]:
        """Databases of which nobody knows that they are open."""
        doubtful = (errors.Left.CLOSED, errors.Left.UNKNOWN)
        return tuple(row for row in self.matrix.rows if row.result.left in doubtful)

    @property
    def to_look_after(self) -> tuple[Row, ...]:
        """Databases that may be closed, or with something around them that is paused still."""
        doubtful = self.in_doubt
        return tuple(row for row in self.matrix.rows if row in doubtful or row.result.needs_operator)


def canary_alone(patch: str, canary: phases.Report | live.Report, settings: Settings) -> FleetReport:
    """Where whoever deploys has come to an end before the others had their turn."""
    first, *others = settings.environment("production").members()
    rows = (Row(name=first.member, database=first.target.label, result=of_canary(canary, settings.budget, None)),
            *(Row(name=each.member, database=each.target.label, result=Result(state=State.NOT_REACHED))
              for each in others))
    return FleetReport(patch=patch, canary=canary, reports={}, matrix=Matrix(
        rows=rows, stopped="no more were begun: the build has ended before"))


def of_canary(canary: Canary, budget: Budget, foretold_seconds: float | None) -> Result:
    """Its row of the matrix."""
    if canary is None:
        return Result(state=State.HAS_IT)
    if isinstance(canary, errors.DowntimeError):
        return Result.failed(canary)
    return result_of(canary, budget, foretold_seconds)

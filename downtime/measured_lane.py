"""A live patch on staging, measured before it counts: what would keep clients waiting is refused, and leaves nothing.

First as many statements as fit one transaction are tried out and rolled back; then each is measured again in the
transaction of its own that it has in the live lane, and looked at before its COMMIT.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from downtime import dividing, errors, lane_safety, statement_kinds, trial
from downtime.apply import AppliedStatement, Deployment
from downtime.lanes import Lane
from downtime.settings.sections import Live
from downtime.statements import Statement
from downtime.target import Target


class MeasuredCold(errors.Refused):
    """A patch that is to be applied live has a statement that keeps clients waiting."""

    happened = "{path} is to be applied live, but was measured cold: {obstacles}{finished}"
    next_step = "{advice}"


class Measured:
    """Judges one live application of a rehearsal."""

    def __init__(self, deployment: Deployment, *, rules: Live) -> None:
        self._deployment = deployment
        self._rules = rules

    async def try_out(self, target: Target, *, without: frozenset[int], go_on: Callable[[], None], reactor: Any
                      ) -> None:
        """All that fits one transaction, rolled back. Raises MeasuredCold, or what `go_on` raises.

        `without` are the places of statements that an earlier run has finished; what they have set counts.
        """
        rest = tuple(each for number, each in enumerate(self._deployment.statements, start=1)
                     if number not in without or each.kind == statement_kinds.SET)
        tried = await trial.try_out(
            target, replace(self._deployment, statements=rest), whole=False, go_on=go_on,
            limit_seconds=self._rules.concurrently_hours * 3600, reactor=reactor)
        self._refuse(tried.statements, finished=len(without))

    def judge(self, applied: AppliedStatement, *, finished: int) -> None:
        """One statement, before its COMMIT. Raises MeasuredCold."""
        self._refuse([applied], finished=finished)

    def _refuse(self, applied: Sequence[AppliedStatement], *, finished: int) -> None:
        found = [(each.statement, obstacle) for each in applied
                 if (obstacle := lane_safety.obstacle(each, moment_seconds=self._rules.moment_seconds))]
        if not found:
            return
        patch, count = self._deployment.patch, len(self._deployment.statements)
        raise MeasuredCold(
            path=patch.path, obstacles="; ".join(obstacle for _, obstacle in found),
            finished=f"; {finished} of {count} statements are in and stay" if finished else "",
            advice=advice(self._deployment.statements, {statement.offset for statement, _ in found}, finished=finished),
            left=errors.Left.OPEN if finished else errors.Left.UNTOUCHED)


def advice(statements: Sequence[Statement], cold: set[int], *, finished: int) -> str:
    """What the author does: the cold lane for the file, or the lines to split it at. `cold` are offsets."""
    lanes: list[Lane | None] = []
    for number, each in enumerate(statements):
        if each.kind == statement_kinds.SET:
            lanes.append(None)
        elif each.offset in cold:
            lanes.append(Lane.COLD)
        else:
            lanes.append(Lane.LIVE if number < finished or not each.transactional else None)
    divided = dividing.parts(lanes)
    return "; ".join(dividing.advice(statements, divided, part) for part in divided if part.lane is Lane.COLD)

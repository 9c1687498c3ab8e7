"""Apply one patch to several databases: the canary as a single one, then the others, and what became of each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from downtime import errors, live, phases, preflight
from downtime.commands.context import Context
from downtime.fleet import ledgers
from downtime.fleet.matrix import Matrix, Result, Row, State
from downtime.fleet.member import Errand, MemberDeployment, result_of
from downtime.fleet.rollout import Rollout, stopped
from downtime.settings import Environment

ToCanary = Callable[[], Awaitable[phases.Report | live.Report]]


def others(environment: Environment) -> str:
    """What is deployed to behind the canary, as part of a question; empty where there is nothing."""
    fleet = environment.fleet
    count = len(fleet.databases)
    return f", then {count} other{'s' if count > 1 else ''}, {fleet.at_once} at a time" if count else ""


async def apply(context: Context, environment: Environment, errand: Errand, to_canary: ToCanary) -> None:
    """Raises Refused before anything is touched, the canary's own error, or Stopped."""
    patch = errand.deployment.patch
    had = await ledgers.read(environment, reactor=context.reactor)
    if reasons := ledgers.objections(had, errand.inventory, patch):
        raise preflight.PreflightRefused(reasons)
    if any(entry.id == patch.id for entry in had[environment.member]):
        context.output.progress(f"{environment.member} has it already")
        await _to_others(context, environment, errand, Result(state=State.HAS_IT))
        return
    try:
        report = await to_canary()
    except errors.DowntimeError as error:
        _show(context, _rollout(context, environment, errand, Result.failed(error)).matrix)
        raise
    result = result_of(report, context.settings.budget, errand.deployment.origin.forecast_seconds)
    await _to_others(context, environment, errand, result,
                     error=report.error if isinstance(report, phases.Report) else None)


async def _to_others(context: Context, environment: Environment, errand: Errand, canary: Result, *,
                     error: errors.DowntimeError | None = None) -> None:
    rollout = _rollout(context, environment, errand, canary)
    if context.interruption.asked:
        rollout.abort("interrupted")
    with context.interruption.aborting(rollout.abort, awaiting="the databases under way to open"):
        matrix = await rollout.run()
    _show(context, matrix)
    if failure := error or stopped(errand.deployment.patch.id, matrix):
        raise failure


def _rollout(context: Context, environment: Environment, errand: Errand, canary: Result) -> Rollout:
    def told(row: Row, matrix: Matrix) -> None:
        context.output.progress(f"{row.sentence} ({matrix.progress})")

    def begin(member: Environment) -> MemberDeployment:
        return MemberDeployment(
            member, errand, say=lambda line: context.output.progress(f"{member.member}: {line}"))

    return Rollout(environment.members(), begin, at_once=environment.fleet.at_once,
                   lane=errand.deployment.patch.lane, known={environment.member: canary}, told=told)


def _show(context: Context, matrix: Matrix) -> None:
    context.output.answer("\n".join(["", *matrix.lines(), "", matrix.sentence]), fleet=matrix.to_json())

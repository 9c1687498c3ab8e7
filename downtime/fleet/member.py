"""The deployment to one of several databases: the outage, or the live application, that a single one has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from downtime import deployment_lock, deployments, errors, ledger, live, phases, sessions
from downtime.apply import Deployment
from downtime.fleet.matrix import Result, State, said_of
from downtime.live import LiveApplication
from downtime.outage import Outage
from downtime.patches import Inventory, Lane
from downtime.printable import printable
from downtime.settings import Environment, Settings
from downtime.settings.sections import Budget

SIGNED_OFF_MARGIN = 1.5  # a patch that is signed off to take longer than the limit may take so many times what was said

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What all of them get."""

    deployment: Deployment
    inventory: Inventory
    settings: Settings
    reactor: Any


class MemberDeployment:
    """See `downtime.fleet.rollout.Course`. Knows its whole story when it has ended."""

    def __init__(self, environment: Environment, errand: Errand, *, say: Say) -> None:
        """`say` is told, line by line, what is worth watching."""
        self.environment = environment
        self.report: phases.Report | live.Report | None = None
        self.error: errors.DowntimeError | None = None
        self._errand = errand
        self._say = say
        self._course: Outage | LiveApplication | None = None
        self._abort_reason = ""

    async def run(self) -> Result:
        try:
            if await self._has_it():
                return Result(state=State.HAS_IT)
            return self._not_reached() or await self._deploy()
        except errors.DowntimeError as error:
            self.error = error
            return Result.failed(error)

    def abort(self, reason: str) -> None:
        self._abort_reason = self._abort_reason or reason
        if self._course is not None:
            self._course.abort(reason)

    @property
    def story(self) -> str:
        """What happened, for a log."""
        parts = [f"{self.environment.title} ({self.environment.target.label})"]
        report, error = self.report, self.error
        if error is not None:
            parts.append(error.explain())
        if isinstance(report, phases.Report):
            parts += [phases.timeline(report.phases), "sessions that were ended:",
                      sessions.report((*report.kicked, *report.drained))]
        return printable("\n\n".join(parts))

    async def _has_it(self) -> bool:
        """Whether it has these very bytes; others are told by the outage's own preflight."""
        patch = self._errand.deployment.patch
        node = await deployment_lock.session(self.environment.target, application_name="fastdowntime looking",
                                             reactor=self._errand.reactor)
        try:
            return any((entry.id, entry.sha256) == (patch.id, patch.sha256) for entry in await ledger.read(node))
        finally:
            node.close()

    async def _deploy(self) -> Result:
        errand = self._errand
        objections = deployments.objections(errand.inventory, errand.deployment.patch)
        if errand.deployment.patch.lane is Lane.LIVE:
            application = LiveApplication(self.environment.target, errand.deployment, progress=self._say,
                                          rules=errand.settings.live, reactor=errand.reactor)
            self._course = application
            self.report = await application.run(objections)
            return result_of(self.report, errand.settings.budget)
        outage = Outage(self.environment.target, errand.deployment, deployments.outage_rules(
            errand.settings, self.environment), say=self._say, reactor=errand.reactor)
        self._course = outage
        try:
            await outage.prepare(objections)
            if (stopped := self._not_reached()) is not None:
                return stopped
            self.report = await outage.run()
        finally:
            await outage.close()
        self.error = self.report.error
        return result_of(self.report, errand.settings.budget, errand.deployment.origin.forecast_seconds)

    def _not_reached(self) -> Result | None:
        return Result(state=State.NOT_REACHED, said=self._abort_reason) if self._abort_reason else None


def result_of(report: phases.Report | live.Report, budget: Budget, foretold_seconds: float | None = None) -> Result:
    """What the matrix says of it. Pure."""
    if isinstance(report, live.Report):
        return Result(state=State.DONE, started_at=report.started_at, patch_seconds=report.seconds)
    known: dict[str, Any] = {"started_at": report.started_at, "outage_seconds": report.outage_seconds,
                             "patch_seconds": report.patch_seconds, "kicked": len(report.kicked_clients)}
    excess = over_budget(report, budget, foretold_seconds)
    if not report.applied:
        assert report.error is not None, "a deployment keeps what it has applied"
        return Result.failed(report.error, **known)
    if report.error is not None:
        return Result(state=State.DONE, said=said_of(report.error), left=report.error.left, needs_operator=True,
                      **known)
    return Result(state=State.DONE, said=excess, over_budget=bool(excess), **known)


def over_budget(report: phases.Report, budget: Budget, foretold_seconds: float | None) -> str:
    """In which way the outage took longer than it may; empty where it did not. Pure."""
    limit = budget.limit_seconds
    if foretold_seconds is not None and foretold_seconds > limit:
        limit = foretold_seconds * SIGNED_OFF_MARGIN
    if report.patch_seconds > limit:
        return f"the patch took {report.patch_seconds:.3f} s, and {limit:g} s are allowed"
    if report.outage_seconds > budget.outage_limit_seconds:
        return (f"the outage took {report.outage_seconds:.3f} s, and {budget.outage_limit_seconds:g} s are allowed"
                " (budget.outage_limit_seconds)")
    return ""

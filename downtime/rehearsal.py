"""Rehearse one patch on staging with the phases of production, and make the evidence of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from downtime import deployments, live, phases
from downtime.apply import AppliedStatement, Deployment
from downtime.evidence import Evidence, of_statements, signoff_reasons
from downtime.outage import Outage
from downtime.patches import Lane
from downtime.ready import Objections
from downtime.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """One patch, rehearsed: the evidence, and the report of the lane it took (the other one is None)."""

    evidence: Evidence
    outage: phases.Report | None
    live: live.Report | None


class Rehearsing:
    """A rehearsal that can be stopped: `await run()`, `abort(reason)`."""

    def __init__(self, settings: Settings, deployment: Deployment, *, progress: Callable[[str], None],
                 keep: bool = True, reactor: Any = None) -> None:
        """`keep=False` applies the patch and rolls it back, ledger row and all; only what fits a transaction."""
        environment = settings.environment("staging")
        self._settings = settings
        self._deployment = deployment
        self._server = environment.target.label
        self._outage: Outage | None = None
        self._live: live.LiveApplication | None = None
        if deployment.patch.lane is Lane.COLD or not keep:
            rules = deployments.outage_rules(settings, environment)
            self._outage = Outage(environment.target, deployment, replace(rules, prove_gate=True, keep=keep),
                                  reactor=reactor)
        else:
            self._live = live.LiveApplication(environment.target, deployment, progress=progress, reactor=reactor)
        self._progress = progress

    def abort(self, reason: str) -> None:
        for course in (self._outage, self._live):
            if course is not None:
                course.abort(reason)

    async def run(self, objections: Objections, *, reasons: Sequence[str] = ()) -> Rehearsal:
        """Rehearse. `reasons` for a sign-off beside the time (a mixed landing). Raises DowntimeError."""
        if self._live is not None:
            report = await self._live.run(objections)
            if report.resumed:  # nobody may take the time of the rest for the time of the whole
                done = "1 statement was" if report.resumed == 1 else f"{report.resumed} statements were"
                whose = "its" if report.resumed == 1 else "their"
                reasons = (*reasons, f"{done} finished by an earlier run, and {whose} time is not in these figures")
            evidence = self._evidence(report.started_at, report.seconds, 0.0, report.statements, reasons)
            return Rehearsal(evidence=evidence, outage=None, live=report)
        assert self._outage is not None
        try:
            for line in await self._outage.prepare(objections):
                self._progress(line)
            outage = await self._outage.run()
        finally:
            await self._outage.close()
        if outage.error is not None:
            self._progress(phases.timeline(outage.phases))
            raise outage.error
        evidence = self._evidence(outage.started_at, outage.patch_seconds,
                                  outage.outage_seconds - outage.proof_seconds, outage.statements, reasons)
        return Rehearsal(evidence=evidence, outage=outage, live=None)

    def _evidence(self, rehearsed_at: datetime, seconds: float, outage_seconds: float,
                  applied: Sequence[AppliedStatement], reasons: Sequence[str]) -> Evidence:
        patch, budget = self._deployment.patch, self._settings.budget
        return Evidence(
            patch_id=patch.id, path=patch.path, sha256=patch.sha256, lane=patch.lane, commit=patch.commit,
            server=self._server, rehearsed_at=rehearsed_at, seconds=seconds, outage_seconds=outage_seconds,
            **of_statements(applied), target_seconds=budget.target_seconds, limit_seconds=budget.limit_seconds,
            signoff_reasons=(*reasons, *signoff_reasons(seconds, budget)))

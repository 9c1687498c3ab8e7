"""Rehearse one patch on staging with the phases of production, measured, and make the evidence of it.

The linter speaks first, before anything is run. A patch may be run several times: all runs but the last are rolled
back, and the slowest one counts. Production is asked at the end: see `downtime.opinions`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from downtime import deployment_lock, deployments, errors, ledger, live, opinions, phases, preflight, runs, trial
from downtime.apply import Deployment
from downtime.evidence import Evidence
from downtime.findings import Finding
from downtime.outage import Outage
from downtime.patches import Lane
from downtime.ready import Objections
from downtime.runs import Circumstances, Measured
from downtime.settings import Settings
from downtime.statements import Statement
from downtime.traits import Traits


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """One patch, rehearsed: the evidence, and the report of the last run's lane (the other one is None)."""

    evidence: Evidence
    outage: phases.Report | None
    live: live.Report | None


class _Course(Protocol):
    """What is under way and can be told to end."""

    def abort(self, reason: str) -> None: ...


@dataclass(slots=True)
class _Found:
    """What is learnt on the way beside the runs."""

    server_version: int = 0
    findings: tuple[Finding, ...] = ()
    remarks: list[str] = field(default_factory=list)  # complete sentences
    reasons: list[str] = field(default_factory=list)  # for a sign-off


class Rehearsing:
    """A rehearsal that can be stopped: `await run()`, `abort(reason)`."""

    def __init__(self, settings: Settings, deployment: Deployment, *, progress: Callable[[str], None],
                 keep: bool = True, repeat: int | None = None, reactor: Any = None) -> None:
        """`keep=False` applies the patch and rolls it back, ledger row and all; only what fits a transaction.

        `repeat` is the number of runs, by default the settings'. A patch with a statement that does not fit a
        transaction runs once, and its evidence says so.
        """
        if reactor is None:
            from twisted.internet import reactor
        self._settings = settings
        self._deployment = deployment
        self._progress = progress
        self._keep = keep
        self._repeat = settings.rehearsal.repeat if repeat is None else repeat
        self._reactor = reactor
        self._staging = settings.environment("staging")
        self._course: _Course | None = None
        self._abort_reason: str | None = None
        self._measured: list[Measured] = []
        self._found = _Found()

    def abort(self, reason: str) -> None:
        """End the run under way; without effect once the last one has ended."""
        if self._abort_reason is None:
            self._abort_reason = reason
        if self._course is not None:
            self._course.abort(reason)

    async def run(self, objections: Objections, *, reasons: Sequence[str] = (), signed_off: str = "") -> Rehearsal:
        """Rehearse. Raises DowntimeError.

        `reasons` for a sign-off beside the time: why the landing was rejected. `signed_off` says who has let the
        patch onto staging all the same: then the linter refuses nothing, and what it would have refused is a reason.
        """
        self._found.reasons += reasons
        await self._lint(signed_off)
        before = await opinions.look_at_staging(self._settings, reactor=self._reactor)
        outage: phases.Report | None = None
        applied: live.Report | None = None
        if self._deployment.patch.lane is Lane.COLD or not self._keep:
            outage = await self._cold(objections)
        else:
            applied = await self._live(objections)
        return Rehearsal(evidence=await self._evidence(before), outage=outage, live=applied)

    async def _lint(self, signed_off: str) -> None:
        """Raises LintRefused, or what keeps staging's version from being asked."""
        node = await deployment_lock.session(self._staging.target, application_name="fastdowntime rehearsal",
                                             reactor=self._reactor)
        self._found.server_version = node.server_version
        node.close()
        patch = self._deployment.patch
        self._found.findings = await opinions.of_linter(
            patch, self._settings.lint, server_version=self._found.server_version, reactor=self._reactor)
        refusing = [finding for finding in self._found.findings if finding.refuses]
        if refusing and not signed_off:
            raise opinions.LintRefused.over(patch, refusing)
        if refusing:
            rules = ", ".join(dict.fromkeys(finding.rule for finding in refusing))
            self._found.reasons.append(f"the linter refuses the patch: {rules} ({signed_off})")

    # -- the runs ------------------------------------------------------------------------------------------------

    async def _cold(self, objections: Objections) -> phases.Report:
        times = self._times()
        rules = replace(deployments.outage_rules(self._settings, self._staging), prove_gate=True, measure=True)
        for number in range(1, times + 1):
            keep = self._keep and number == times
            self._tell_run(number, times)
            report = await self._outage(objections, Outage(
                self._staging.target, self._deployment, replace(rules, keep=keep), reactor=self._reactor))
            self._measured.append(runs.of_outage(report, cold=number == 1, kept=keep))
        return report

    async def _outage(self, objections: Objections, outage: Outage) -> phases.Report:
        self._begin(outage)
        try:
            for line in await outage.prepare(objections):
                self._progress(line)
            report = await outage.run()
        finally:
            await outage.close()
        if report.error is not None:
            self._progress(phases.timeline(report.phases))
            raise report.error
        return report

    async def _live(self, objections: Objections) -> live.Report:
        times = self._times()
        if times > 1:
            await self._refuse_early(objections)
            for number in range(1, times):
                self._tell_run(number, times)
                if not await self._try_out():
                    break
        self._tell_run(times, times)
        application = live.LiveApplication(
            self._staging.target, self._deployment, progress=self._progress, rules=self._settings.live, measure=True,
            reactor=self._reactor)
        self._begin(application)
        report = await application.run(objections)
        if report.resumed:  # nobody may take the time of the rest for the time of the whole
            done = "1 statement was" if report.resumed == 1 else f"{report.resumed} statements were"
            whose = "its" if report.resumed == 1 else "their"
            self._found.reasons.append(
                f"{done} finished by an earlier run, and {whose} time is not in these figures")
        self._measured.append(runs.of_live(report, cold=not self._was_tried))
        return report

    async def _refuse_early(self, objections: Objections) -> None:
        """A patch that may not have its turn is not tried out either. Raises PreflightRefused."""
        node = await deployment_lock.session(self._staging.target, application_name="fastdowntime rehearsal",
                                             reactor=self._reactor)
        try:
            if reasons := objections(await ledger.read(node)):
                raise preflight.PreflightRefused(list(reasons))
        finally:
            node.close()

    async def _try_out(self) -> bool:
        """One run of a live patch in a transaction that is rolled back; False where it does not fit into one."""
        self._go_on()
        started_at = datetime.now(UTC)
        tried = await trial.try_out(
            self._staging.target, self._deployment, limit_seconds=self._settings.budget.outage_limit_seconds,
            go_on=self._go_on, whole=False, reactor=self._reactor)
        if not tried.complete:
            self._found.remarks.append("It was run once: the patch as a whole does not fit one transaction, so it "
                                       "cannot be rolled back.")
            return False
        self._measured.append(runs.of_transaction(tried.statements, started_at=started_at, seconds=tried.seconds,
                                                  cold=not self._measured))
        return True

    @property
    def _was_tried(self) -> bool:
        """Whether a run of ours, or the trial of the live application, has read the tables before the last run."""
        return bool(self._measured) or any(each.transactional for each in self._deployment.statements[:1])

    def _times(self) -> int:
        alone = outside_transactions(self._deployment)
        if self._repeat == 1 or alone is None:
            return self._repeat
        self._found.remarks.append(f"It was run once, not {self._repeat} times: {alone.kind} in line {alone.line} "
                                   "cannot be rolled back.")
        return 1

    def _begin(self, course: _Course) -> None:
        """The next run, unless somebody has said Stop. Raises Aborted."""
        self._go_on()
        self._course = course

    def _go_on(self) -> None:
        if self._abort_reason is not None:
            left = errors.Left.REOPENED if self._measured else errors.Left.UNTOUCHED
            raise errors.Aborted(phase="rehearse", reason=self._abort_reason, left=left)

    def _tell_run(self, number: int, times: int) -> None:
        if times > 1:
            self._progress(f"run {number} of {times}{'' if number == times and self._keep else ', to be rolled back'}")

    # -- what came of them -----------------------------------------------------------------------------------------

    async def _evidence(self, before: Traits | None) -> Evidence:
        found, settings = self._found, self._settings
        statements = [statement for measured in self._measured for statement in measured.statements]
        production = await opinions.of_production(settings, runs.tables_concerned(statements), before=before,
                                                  reactor=self._reactor)
        return runs.evidence_of(
            self._deployment.patch, self._measured, budget=settings.budget,
            moment_seconds=settings.live.moment_seconds, known=Circumstances(
                environment="staging", server=self._staging.target.label, server_version=found.server_version,
                findings=found.findings, likeness=production.likeness, factor=production.factor,
                remarks=(*found.remarks, *production.remarks),
                signoff_reasons=(*found.reasons, *production.signoff_reasons)))


def outside_transactions(deployment: Deployment) -> Statement | None:
    """The first statement that cannot run inside a transaction, if there is one."""
    return next((each for each in deployment.statements if not each.transactional), None)

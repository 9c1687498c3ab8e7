"""Deploy to the other databases: what the canary has got, the others get, so many at a time, until one speaks against.

The rollout belongs to the service `outages`, like the critical section: Stop ends what is under way and begins no
other, and so does the end of the master. After kill -9 nothing goes on by itself: each database opens by itself, and
the next request passes over those that have the patch.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.python import log

from downtime import deployments, errors, windows
from downtime.fleet.matrix import Matrix, Row
from downtime.fleet.member import Errand, MemberDeployment
from downtime.fleet.report import Canary, FleetReport, of_canary
from downtime.fleet.rollout import Rollout
from downtime.history.events import Closed, Spreading
from downtime.patches import Lane
from downtime.printable import printable
from downtime.settings import Environment
from steps.shared import errands, happenings, last_words
from steps.shared.base import RunbookStep
from steps.shared.names import Property
from steps.shared.results import FAILURE, SKIPPED, SUCCESS


def has_begun(step: Any) -> bool:
    """Whether there are others, and the canary has come to an end of its own or had the patch before."""
    if not step.environment.fleet.databases:
        return False
    outcome = step.outages.outcome(step.build_id)
    if outcome is not None:
        outcome.addErrback(lambda _: None)  # how it has ended is asked in the step
    return outcome is not None or bool(step.getProperty(Property.CANARY_HAS_IT))


class DeployToOthers(RunbookStep):
    """Its summary says how far it is; each database that failed has a log of its own, and `Record` has the matrix."""

    name = "deploy to the other databases"
    alwaysRun = True
    haltOnFailure = False
    reports_its_own_end = True
    updateBuildSummaryPolicy = False  # `Record` says it for the whole build
    doStepIf: Any = staticmethod(has_begun)
    hideStepIf: Any = staticmethod(lambda result, step: result == SKIPPED)

    def __init__(self, settings: Any, **keywords: Any) -> None:
        super().__init__(settings, **keywords)
        self._rollout: Rollout | None = None
        self._begun: dict[str, MemberDeployment] = {}
        self._unkept: Matrix | None = None
        self._kept: Deferred[None] = succeed(None)

    async def act(self) -> int:
        canary = await self._canary()
        errand, objection = await self._errand()
        if canary is None and (stopped := self._stopped()):
            self.say(f"none was begun: {stopped}")
            return self.result_when_stopped()
        rollout = self._rollout = await self._prepare(canary, errand)
        self.outages.hold(self.build_id, rollout)
        await self.set_durably(Property.BEGUN, True)
        if objection := self._stopped() or objection:
            rollout.abort(objection)
        elif not rollout.matrix.stopped:
            self._note_beginning(canary, errand)
        report = await self.outages.supervise(self.build_id, self._run(canary, rollout))
        # as a single database's end is told: who waits for it need not wait for the background tasks
        await happenings.note_ended(self, self._patch, report)
        return await self._show(report)

    def stopping(self, reason: str) -> None:
        if self._rollout is not None:
            self._rollout.abort(reason)

    def _stopped(self) -> str:
        return self.stop_reason or (f"stopped ({self.build.stopped_reason})" if self.build.stopped else "")

    async def _canary(self) -> Canary:
        outcome = self.outages.outcome(self.build_id)
        if outcome is None:
            return None
        end = await last_words.end_of(outcome)
        assert not isinstance(end, FleetReport), "there is one rollout in a build"
        return end

    async def _errand(self) -> tuple[Errand | None, str]:
        """What they get, once more as it was approved; else what speaks against it."""
        try:
            errand = await errands.read_approved(self)
            deployment = await deployments.deployment(errand.patch, errand.origin(await self.build.getUrl()))
        except errors.DowntimeError as error:
            return None, " ".join(str(error).split())
        return Errand(deployment=deployment, inventory=errand.inventory, settings=self.settings,
                      reactor=self.master.reactor), ""

    async def _prepare(self, canary: Canary, errand: Errand | None) -> Rollout:
        progress = await self.addLog("progress", type="t")
        foretold = errand.deployment.origin.forecast_seconds if errand is not None else None
        lane = errand.deployment.patch.lane if errand is not None else Lane.COLD

        def write(line: str) -> None:
            progress.addContent(printable(line) + "\n").addErrback(log.err, "while writing a log")

        def told(row: Row, matrix: Matrix) -> None:
            write(f"{happenings.now():%H:%M:%S} {row.sentence}")
            self._tell(matrix)

        def begin(member: Environment) -> MemberDeployment:
            assert errand is not None, "nothing is begun without one"
            self._begun[member.member] = MemberDeployment(
                member, errand, say=lambda line: write(f"{member.member}: {line}"))
            return self._begun[member.member]

        return Rollout(
            self.environment.members(), begin, at_once=self.environment.fleet.at_once, lane=lane, told=told,
            may_begin=lambda: self._may_begin(lane),
            known={self.environment.member: of_canary(canary, self.settings.budget, foretold)})

    async def _run(self, canary: Canary, rollout: Rollout) -> FleetReport:
        matrix = await rollout.run()
        return FleetReport(patch=self._patch, canary=canary, matrix=matrix, reports={
            name: one.report for name, one in self._begun.items() if one.report is not None})

    def _note_beginning(self, canary: Canary, errand: Errand | None) -> None:
        about: dict[str, Any] = {"at": happenings.now(), "patch_id": self._patch, "request_id": self.request_id}
        if canary is None:
            expected = errand.deployment.origin.forecast_seconds if errand is not None else None
            self.journal.note(Closed(**about, expected_seconds=expected or 0.0))
        self.journal.note(Spreading(**about, databases=len(self.environment.fleet.databases)))

    def _may_begin(self, lane: Lane) -> str:
        if lane is Lane.LIVE:
            return ""  # which waits for no window either
        passed = windows.has_passed(self.environment.windows, happenings.now())
        return "the window has passed" if passed and not self.getProperty(Property.HURRIED) else ""

    def _tell(self, matrix: Matrix) -> None:
        """Now on the page of the build; into its data as soon as that can be, without ever being in the way."""
        self.say(matrix.progress)
        waiting, self._unkept = self._unkept is not None, matrix
        if not waiting:
            self._kept = Deferred.fromCoroutine(self._keep())
            self._kept.addErrback(lambda why: log.err(why, "while keeping the matrix"))

    async def _keep(self) -> None:
        kept = None
        try:
            while self._unkept is not None and kept is not self._unkept:
                kept = self._unkept
                await self.setBuildData("fleet", json.dumps(kept.to_json()).encode(), "fastdowntime")
        finally:
            self._unkept = None

    async def _show(self, report: FleetReport) -> int:
        await self._kept
        for row in report.matrix.rows:
            if row.result.stops and (one := self._begun.get(row.name)) is not None:
                await self.write(row.name, one.story)
        self.say(report.matrix.sentence)
        failure = report.stopped
        if failure is not None:
            await self.write("what happened", failure.explain())
        return SUCCESS if failure is None else FAILURE

    @property
    def _patch(self) -> str:
        return str(self.getProperty(Property.PATCH))

"""Apply live: statement by statement while clients work; nobody is kicked and nothing is closed."""

from __future__ import annotations

from typing import Any

from twisted.python import log

from downtime import deployments
from downtime.history.events import Closed
from downtime.live import LiveApplication
from downtime.printable import printable
from steps.shared import canary, errands, happenings, wording
from steps.shared.base import RunbookStep
from steps.shared.names import Property
from steps.shared.results import SUCCESS


class ApplyLive(RunbookStep):
    """Stop ends the statement under way; what was finished stays, and a later run goes on behind it."""

    name = "apply live"
    reports_its_own_end = True
    updateBuildSummaryPolicy = False  # `Record` says it for the whole build

    def __init__(self, settings: Any, **keywords: Any) -> None:
        super().__init__(settings, **keywords)
        self._course: LiveApplication | None = None

    async def act(self) -> int:
        if not await self.my_turn():
            return self.result_when_stopped()
        errand = await errands.read_approved(self)  # after the wait: what was approved may be something else by now
        if await canary.has_it(self, errand):
            return self.result_when_stopped() if self.stopped else SUCCESS
        deployment = await deployments.deployment(errand.patch, errand.origin(await self.build.getUrl()))
        progress = await self.addLog("progress", type="t")

        def note(line: str) -> None:
            self.say(line.strip())
            progress.addContent(printable(line) + "\n").addErrback(log.err, "while writing a log")

        self._course = LiveApplication(self.environment.target, deployment, progress=note, summary=self.say,
                                       rules=self.settings.live, reactor=self.master.reactor)
        self.outages.hold(self.build_id, self._course)
        await self.set_durably(Property.BEGUN, True)
        self.journal.note(Closed(at=happenings.now(), patch_id=errand.patch.id, request_id=self.request_id,
                                 expected_seconds=errand.evidence.expected_seconds))
        if self.stop_reason:
            self._course.abort(self.stop_reason)
        report = await self.outages.supervise(
            self.build_id, self._course.run(deployments.objections(errand.inventory, errand.patch)))
        await self.write("statements", wording.statements(report.statements))
        self.say(f"applied {errand.patch.id} in {report.seconds:.3f} s, {wording.count(report.retries, 'retry')}")
        return SUCCESS

    def stopping(self, reason: str) -> None:
        if self._course is not None:
            self._course.abort(reason)

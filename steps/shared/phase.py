"""A step that shows one phase of the critical section. It watches; the section belongs to the service `outages`."""

from __future__ import annotations

from typing import Any, ClassVar

from downtime.outage import Outage
from downtime.phases import Phase, PhaseReport, PhaseState
from steps.shared.base import RunbookStep
from steps.shared.names import Property
from steps.shared.results import FAILURE, SKIPPED, SUCCESS

RESULTS = {PhaseState.DONE: SUCCESS, PhaseState.FAILED: FAILURE, PhaseState.NOT_REACHED: SKIPPED}


def section_runs(step: Any) -> bool:
    """Whether the build has come as far as the critical section, and its master has lived since."""
    return bool(step.getProperty(Property.BEGUN)) and isinstance(step.outages.course_of(step.build_id), Outage)


def hidden_before_the_section(result: int, step: Any) -> bool:
    """A build that was refused before the section does not show the section's steps."""
    return result == SKIPPED and not step.getProperty(Property.BEGUN)


class PhaseStep(RunbookStep):
    """All five are shown, whichever phase fails: what came after it reads "not reached"."""

    phase: ClassVar[Phase]
    haltOnFailure = False        # the section has ended itself; the steps after this one say how
    alwaysRun = True             # Stop ends the section, not the report about it
    reports_its_own_end = True
    updateBuildSummaryPolicy = False  # `Record` says it for the whole build
    doStepIf: Any = staticmethod(section_runs)
    hideStepIf: Any = staticmethod(hidden_before_the_section)

    async def act(self) -> int:
        section = self.section
        if self.build.stopped:  # between two steps Buildbot has nobody to tell of a Stop
            section.abort(f"stopped ({self.build.stopped_reason})")
        report = await section.watch(self.phase)
        self.say(self.summary(report))
        if report.log:
            await self.write("timeline", report.log)
        if report.error is not None:
            await self.write("what happened", report.error.explain())
        if report.state is not PhaseState.NOT_REACHED:
            await self.details(section, report)
        return RESULTS[report.state]

    def stopping(self, reason: str) -> None:
        if section_runs(self):
            self.section.abort(reason)

    @property
    def section(self) -> Outage:
        section = self.outages.course_of(self.build_id)
        assert isinstance(section, Outage), "doStepIf has looked"
        return section

    def summary(self, report: PhaseReport) -> str:
        return report.summary if report.state is not PhaseState.DONE else f"{report.summary} ({report.seconds:.3f} s)"

    async def details(self, section: Outage, report: PhaseReport) -> None:
        """Logs beside the timeline."""

"""Kick connections: every other session is ended, and the log names each of them."""

from __future__ import annotations

from downtime import sessions
from downtime.outage import Outage
from downtime.phases import Phase, PhaseReport, PhaseState
from steps.shared import wording
from steps.shared.phase import PhaseStep


class KickConnections(PhaseStep):
    name = "kick connections"
    phase = Phase.KICK

    def summary(self, report: PhaseReport) -> str:
        if report.state is not PhaseState.DONE:
            return super().summary(report)
        return f"kicked {wording.count(len(self.section.kicked), 'session')} in {report.seconds * 1000:.0f} ms"

    async def details(self, section: Outage, report: PhaseReport) -> None:
        await self.write("kicked sessions", sessions.report(section.kicked))

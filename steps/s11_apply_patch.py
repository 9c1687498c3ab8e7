"""Apply patch: the patch's statements and the ledger's row, in the one transaction that also opens the gate."""

from __future__ import annotations

from downtime.outage import Outage
from downtime.phases import Phase, PhaseReport
from steps.shared import wording
from steps.shared.phase import PhaseStep


class ApplyPatch(PhaseStep):
    name = "apply patch"
    phase = Phase.APPLY

    def summary(self, report: PhaseReport) -> str:
        return report.summary

    async def details(self, section: Outage, report: PhaseReport) -> None:
        await self.write("statements", wording.statements(section.statements))
        await self.write("patch.sql", section.deployment.patch.sql)

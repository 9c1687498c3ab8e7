"""Prevent connections: the outage begins. Starts the critical section and shows its first phase."""

from __future__ import annotations

from downtime.phases import Phase
from steps.shared.names import Property
from steps.shared.phase import PhaseStep


class PreventConnections(PhaseStep):
    """Writes down first, durably, that this request has begun: no later build may repeat it."""

    name = "prevent connections"
    phase = Phase.PREVENT
    alwaysRun = False
    doStepIf = True
    hideStepIf = False

    async def act(self) -> int:
        section = self.section
        await self.set_durably(Property.BEGUN, True)
        self.outages.supervise(self.build_id, section.run())
        return await super().act()

    def stopping(self, reason: str) -> None:
        self.section.abort(reason)

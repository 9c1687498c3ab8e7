"""Prevent connections: the outage begins. Starts the critical section and shows its first phase."""

from __future__ import annotations

from downtime.history.events import Closed
from downtime.phases import Phase
from steps.shared import happenings
from steps.shared.names import Property
from steps.shared.phase import PhaseStep


class PreventConnections(PhaseStep):
    """Writes down first, durably, that this request has begun: no later build may repeat it."""

    name = "prevent connections"
    phase = Phase.PREVENT
    alwaysRun = False
    doStepIf = staticmethod(lambda step: not step.getProperty(Property.CANARY_HAS_IT))

    async def act(self) -> int:
        section = self.section
        await self.probes.mark(self.build_id)
        await self.pages.hush()
        await self.set_durably(Property.BEGUN, True)
        self.outages.supervise(self.build_id, section.run())
        expected = section.deployment.origin.forecast_seconds
        self.journal.note(Closed(at=happenings.now(), patch_id=section.deployment.patch.id,
                                 request_id=self.request_id, expected_seconds=expected or 0.0))
        return await super().act()

    def stopping(self, reason: str) -> None:
        self.section.abort(reason)

"""Prevent connections: the outage begins. Starts the critical section and shows its first phase."""

from __future__ import annotations

from downtime.apply import Deployment
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
        await self._tell_the_journal(section.deployment)
        self.outages.supervise(self.build_id, section.run())
        return await super().act()

    async def _tell_the_journal(self, deployment: Deployment) -> None:
        """Written down before the section: a thread that writes holds Python's lock for 5 ms at a time."""
        closed = Closed(at=happenings.now(), patch_id=deployment.patch.id, request_id=self.request_id,
                        expected_seconds=deployment.origin.forecast_seconds or 0.0)
        try:
            await self.journal.record(closed)
        except Exception:  # whatever the database driver raises: no deployment waits for its history
            self.journal.note(closed)

    def stopping(self, reason: str) -> None:
        self.section.abort(reason)

"""Allow connections: the outage is over, whatever came of the patch."""

from __future__ import annotations

from downtime import phases
from downtime.outage import Outage
from downtime.phases import Phase, PhaseReport, PhaseState
from steps.shared import happenings
from steps.shared.phase import PhaseStep


class AllowConnections(PhaseStep):
    name = "allow connections"
    phase = Phase.ALLOW

    async def act(self) -> int:
        self.section.listen(self.say)  # a server that cannot be reached is waited for: the page says so meanwhile
        return await super().act()

    async def details(self, section: Outage, report: PhaseReport) -> None:
        self.pages.speak()
        await self.probes.finish(self.build_id)  # the prober is a client; nobody needs it any more
        outcome = self.outages.outcome(self.build_id)
        if outcome is None:
            return
        end = await outcome
        if not (end.applied and self.environment.fleet.databases):
            # now, and not when the background tasks run again: who waits for the database is told that it is open
            await happenings.note_ended(self, section.deployment.patch.id, end)
        if report.state is PhaseState.DONE:
            self.say(opening(end))


def opening(outage: phases.Report) -> str:
    """How long the database was closed, and what of that was the patch."""
    if not outage.applied:
        return f"open again after {outage.outage_seconds:.3f} s; the patch was rolled back"
    return (f"open again after {outage.outage_seconds:.3f} s: patch {outage.patch_seconds:.3f} s,"
            f" overhead {outage.overhead_seconds:.3f} s")

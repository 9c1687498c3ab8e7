"""Preflight: opens every session, takes the deployment lock, and looks for reasons not to begin the outage."""

from __future__ import annotations

from downtime import deployments, errors, windows
from downtime.history.events import WindowMissed
from downtime.outage import Outage
from steps.shared import canary, errands, happenings
from steps.shared.base import RunbookStep
from steps.shared.names import Property
from steps.shared.results import SUCCESS


class WindowPassed(errors.Refused):
    """What came before has taken so long that no downtime may begin any more."""

    happened = "the window has passed while the deployment waited for its background tasks or for another deployment"
    next_step = "ask for the deployment again: it will wait for the next window"


class Preflight(RunbookStep):
    """What it opens belongs to the service `outages`, which closes it in any case."""

    name = "preflight"

    async def act(self) -> int:
        if not await self.my_turn():
            return self.result_when_stopped()
        now = happenings.now()
        if windows.has_passed(self.environment.windows, now) and not self.getProperty(Property.HURRIED):
            self.journal.note(WindowMissed(at=now, patch_id=str(self.getProperty(Property.PATCH)), begins_at=now,
                                           request_id=self.request_id, reason=str(WindowPassed())))
            raise WindowPassed
        errand = await errands.read_approved(self)
        if await canary.has_it(self, errand):
            return self.result_when_stopped() if self.stopped else SUCCESS
        deployment = await deployments.deployment(errand.patch, errand.origin(await self.build.getUrl()))
        section = Outage(self.environment.target, deployment,
                          deployments.outage_rules(self.settings, self.environment), reactor=self.master.reactor)
        self.outages.hold(self.build_id, section)
        await self.probes.start(self.build_id, self.environment)
        lines = await section.prepare(deployments.objections(errand.inventory, errand.patch))
        await self.write("preflight", "\n".join(lines))
        self.say("nothing speaks against it")
        return self.result_when_stopped() if self.stopped else SUCCESS

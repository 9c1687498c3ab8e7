"""Ends what a buildmaster had begun that died while it was starting, so that its requests are built again.

Buildbot 4.3.0 marks itself active at the end of its start, and its builders work before that. One that dies in between
is not marked active, so at the next start Buildbot sees nothing to clear up (`BuildMaster.startService`:
`masterStopped` acts on an active master, `expireMasters` on one that has been silent for ten minutes): its builds stay
"running" and its requests claimed for ever, and nobody would build them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from buildbot.data.resultspec import Filter
from buildbot.util.service import BuildbotService
from twisted.logger import Logger

from steps.shared.results import RETRY

LOG = Logger()


class HalfStarts(BuildbotService):  # type: ignore[misc]
    """Acts once, while its master starts: before a worker is there, no build that is not complete is a living one."""

    name = "fastdowntime-half-starts"

    async def startService(self) -> None:
        await super().startService()
        if self.master.masterHeartbeatService.parent is not None:
            return  # added to a master that runs: its builds live
        try:
            await self._end_builds()
            await self._give_back_requests()
        except Exception:  # a state database that does not answer now is Buildbot's to report
            LOG.failure("looking for what a buildmaster has left that died while it was starting")

    async def _end_builds(self) -> None:
        for build in await self.master.data.get(("builds",), filters=[
                Filter("masterid", "eq", [self.master.masterid]), Filter("complete", "eq", [False])]):
            LOG.info("build {number} of a start that was cut short is ended", number=build["number"])
            await self._end(build)

    async def _end(self, build: Mapping[str, Any]) -> None:
        updates = self.master.data.updates
        for step in await self.master.data.get(("builds", build["buildid"], "steps"),
                                               filters=[Filter("results", "eq", [None])]):
            for log in await self.master.data.get(("steps", step["stepid"], "logs"),
                                                  filters=[Filter("complete", "eq", [False])]):
                await updates.finishLog(logid=log["logid"])
            await updates.finishStep(stepid=step["stepid"], results=RETRY, hidden=False)
        await updates.finishBuild(buildid=build["buildid"], results=RETRY)

    async def _give_back_requests(self) -> None:
        claimed = await self.master.db.buildrequests.getBuildRequests(complete=False, claimed=self.master.masterid)
        await self.master.db.buildrequests.unclaimBuildRequests(brids=[each.buildrequestid for each in claimed])

"""The service that ends what no build can."""

from __future__ import annotations

from typing import Any

from buildbot.plugins import util, worker
from buildbot.test.util.integration import RunMasterBase

from downtime.history.events import Asked, Offered, Outcome
from downtime.history.stages import Stage, standing
from downtime.lanes import Lane
from master.journal import Journal
from master.loose_ends import LooseEnds
from steps.shared.happenings import now
from tests.builders import pause, until


class SomeLooseEnds(RunMasterBase):
    """A builder whose worker never comes."""

    async def start(self) -> Journal:
        await self.setup_master({
            "services": [Journal(), LooseEnds()], "workers": [worker.Worker("away", "secret")],
            "builders": [util.BuilderConfig(name="production", workernames=["away"], factory=util.BuildFactory())],
            "protocols": {"null": {}}, "multiMaster": True}, startWorker=False)
        return self.found(Journal)

    def found(self, service: type) -> Any:
        return self.master.service_manager.namedServices[service.name]  # type: ignore[attr-defined]

    async def requested(self) -> int:
        builder_id = await self.master.data.updates.findBuilderId("production")
        _, requests = await self.master.data.updates.addBuildset(
            waited_for=False, builderids=[builder_id],
            sourcestamps=[{"codebase": "", "repository": "", "branch": None, "revision": None, "project": ""}])
        return int(requests[builder_id])

    async def test_a_request_that_is_cancelled_in_the_queue_ends_its_attempt(self) -> None:
        """It has never had a build that could say so."""

        journal = await self.start()
        request_id = await self.requested()
        journal.note(Offered(at=now(), patch_id="patch-1", request_id=request_id, requested_by=("developer",)))
        await self.master.data.control("cancel", {"reason": "not now"}, ("buildrequests", request_id))
        await until(lambda: journal.journey("patch-1").attempt.ended, "the attempt to end")  # type: ignore[union-attr]
        found = journal.journey("patch-1")
        assert found is not None
        self.assertEqual(found.attempt.ended.outcome, Outcome.STOPPED)  # type: ignore[union-attr]
        self.assertIn("cancelled", standing(found).sentence)
        self.assertIs(standing(found).stage, Stage.NOT_DEPLOYED)

    async def test_what_ended_while_nobody_could_write_is_ended_at_the_start(self) -> None:
        """And what is still to be built goes on."""

        journal = await self.start()
        await self.found(LooseEnds).stopService()
        over, to_come = await self.requested(), await self.requested()
        for patch_id, request_id in (("patch-1", over), ("patch-2", to_come)):
            journal.note(Asked(
                at=now(), patch_id=patch_id, request_id=request_id, build_id=7, build_url="http://localhost/7",
                digest="d" * 64, lane=Lane.COLD, requested_by=(), needs_signoff=False, approvals_needed=1))
        await self.master.data.control("cancel", {"reason": "not now"}, ("buildrequests", over))
        while not (await self.master.data.get(("buildrequests", over)))["complete"]:
            await pause()
        await self.found(LooseEnds).startService()
        await until(lambda: journal.journey("patch-1").attempt.ended, "the attempt to end")  # type: ignore[union-attr]
        going_on = journal.journey("patch-2")
        assert going_on is not None
        self.assertIs(standing(going_on).stage, Stage.WAITING)

"""The build class of deployments, in a real master in this process."""

from __future__ import annotations

from typing import Any, ClassVar

from buildbot.plugins import schedulers, util
from buildbot.process.buildstep import BuildStep
from buildbot.process.factory import BuildFactory
from buildbot.process.results import FAILURE, RETRY, SUCCESS
from buildbot.test.util.integration import RunMasterBase

from master.approvals import Approvals
from master.builds import DeploymentBuild
from master.outages import Outages
from master.quiescence import Quiescence
from steps.shared.names import Property


class Interrupted(BuildStep):  # type: ignore[misc]
    """Ends with RETRY, as a step does whose worker is lost or whose master stops; a second build succeeds."""

    builds_begun: ClassVar[list[int]] = []

    def __init__(self, *, begun: bool, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.begun = begun

    async def run(self) -> int:
        self.builds_begun.append(self.build.buildid)
        if self.begun:
            self.setProperty(Property.BEGUN, True, "test")
        await self.master.service_manager.namedServices[Outages.name].take_turn(self.build.buildid, "db")
        return RETRY if len(self.builds_begun) == 1 else SUCCESS


class ADeploymentsBuild(RunMasterBase):
    """What becomes of a build that ends with RETRY."""

    async def results_of_builds(self, *, begun: bool) -> list[int]:
        Interrupted.builds_begun.clear()
        factory = BuildFactory([Interrupted(begun=begun)])
        factory.buildClass = DeploymentBuild
        await self.setup_master({
            "builders": [util.BuilderConfig(name="production", workernames=["local1"], factory=factory)],
            "schedulers": [schedulers.ForceScheduler(name="force", builderNames=["production"])],
            "services": [Outages(), Approvals(), Quiescence()], "multiMaster": True})
        await self.doForceBuild()
        return [build["results"] for build in await self.master.data.get(("builds",))]

    async def test_what_has_begun_is_never_built_again(self) -> None:
        """The request is over; whoever wants it repeated asks anew."""

        self.assertEqual(await self.results_of_builds(begun=True), [FAILURE])

    async def test_what_had_not_begun_is_built_again(self) -> None:
        """A deployment that waited for its approval when the master stopped is not lost. The second build gets its
        turn on the database, so the first has given it back."""

        self.assertEqual(await self.results_of_builds(begun=False), [RETRY, SUCCESS])

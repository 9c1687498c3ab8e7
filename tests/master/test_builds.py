"""The build class of deployments, in a real master in this process."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from buildbot.plugins import schedulers, util
from buildbot.process.buildstep import BuildStep
from buildbot.process.factory import BuildFactory
from buildbot.process.results import CANCELLED, FAILURE, RETRY, SUCCESS, WARNINGS
from buildbot.test.util.integration import RunMasterBase
from twisted.internet import reactor

from downtime import errors
from downtime.history.events import Offered, Outcome
from downtime.phases import Report
from downtime.quiescing.tasks import Owed
from downtime.settings import Settings
from master import builds
from master.approvals import Approvals
from master.builds import SHUTDOWN, DeploymentBuild
from master.journal import Journal
from master.outages import Outages
from master.probes import Probes
from master.quiescence import Quiescence
from master.turns import Turns
from steps.shared.names import Property
from tests.master.settings_for_tests import a_settings


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


class Lost(BuildStep):  # type: ignore[misc]
    """Ends as a step does whose worker is lost while the service has brought the outage to its end; no step follows."""

    def __init__(self, *, applied: bool, settings: Settings | None = None, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.applied, self.settings = applied, settings

    async def run(self) -> int:
        self.build.settings = self.settings
        outages = self.master.service_manager.namedServices[Outages.name]
        self.setProperty(Property.BEGUN, True, "test")
        self.setProperty(Property.PATCH, "patch-1", "test")
        await outages.take_turn(self.build.buildid, "db")
        outages.supervise(self.build.buildid, an_outage(applied=self.applied))
        return RETRY


class Away(BuildStep):  # type: ignore[misc]
    """Ends while the state database is away, which answers again a moment later; the outage has come to its end."""

    def __init__(self, resume: str, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.resume = resume

    async def run(self) -> int:
        services, pool = self.master.service_manager.namedServices, self.master.db.pool
        self.setProperty(Property.BEGUN, True, "test")
        self.setProperty(Property.PATCH, "patch-1", "test")
        await services[Quiescence.name].remember(
            self.build.buildid, [Owed(task="import", command=self.resume, seconds=5)])
        await services[Outages.name].take_turn(self.build.buildid, "db")
        services[Outages.name].supervise(self.build.buildid, an_outage(applied=True))
        there = pool.do

        def fail(*_: Any, **__: Any) -> Any:
            raise OSError("the server closed the connection")

        pool.do = fail
        reactor.callLater(0.3, setattr, pool, "do", there)  # type: ignore[attr-defined]
        return SUCCESS


class Stopped(BuildStep):  # type: ignore[misc]
    """Somebody says Stop when the outage has come to its end, and that is known."""

    def __init__(self, *, applied: bool, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.applied = applied

    async def run(self) -> int:
        self.setProperty(Property.BEGUN, True, "test")
        self.setProperty(Property.APPLIED, self.applied, "test")
        await self.build.stopBuild("enough of it")
        return SUCCESS


class ShutDown(BuildStep):  # type: ignore[misc]
    """The master is stopped when the step has hardly begun; a second build succeeds."""

    builds_begun: ClassVar[list[int]] = []

    async def run(self) -> int:
        self.builds_begun.append(self.build.buildid)
        if len(self.builds_begun) == 1:
            await self.build.stopBuild(SHUTDOWN)
        return SUCCESS


class RolledBack(BuildStep):  # type: ignore[misc]
    """An attempt that a later build has found rolled back; when it was closed nobody has written down."""

    async def run(self) -> int:
        journal = self.master.service_manager.namedServices[Journal.name]
        await journal.record(Offered(at=datetime(2022, 11, 1, 8, 30, tzinfo=UTC), patch_id="patch-1",
                                     request_id=self.build.requests[0].id, requested_by=("developer",)))
        self.setProperty(Property.PATCH, "patch-1", "test")
        self.setProperty(Property.BEGUN, True, "test")
        self.setProperty(Property.APPLIED, False, "test")
        return FAILURE


async def an_outage(*, applied: bool) -> Report:
    error = None if applied else errors.Aborted(phase="apply patch", reason="stopped", left=errors.Left.REOPENED)
    return Report(phases=(), started_at=datetime(2022, 11, 1, 8, 30, tzinfo=UTC), outage_seconds=0.25,
                  patch_seconds=0.125, proof_seconds=0.0, applied=applied, statements=(), kicked=(), drained=(),
                  error=error)


class ADeploymentsBuild(RunMasterBase):
    """What becomes of a build that ends with RETRY."""

    async def build_that_is(self, *, applied: bool) -> dict[str, Any]:
        return await self.build_of(Lost(applied=applied))

    async def build_of(self, step: BuildStep) -> dict[str, Any]:
        await self.set_up(step)
        await self.doForceBuild()
        (build,) = await self.master.data.get(("builds",))
        return dict(build)

    async def set_up(self, step: BuildStep) -> None:
        factory = BuildFactory([step])
        factory.buildClass = DeploymentBuild
        settings = a_settings(Path.cwd())
        await self.setup_master({
            "builders": [util.BuilderConfig(name="production", workernames=["local1"], factory=factory)],
            "schedulers": [schedulers.ForceScheduler(name="force", builderNames=["production"])],
            "services": [Outages(), Journal(), Approvals(settings=settings), Turns(), Probes(), Quiescence()],
            "multiMaster": True})

    async def results_of_builds(self, *, begun: bool) -> list[int]:
        Interrupted.builds_begun.clear()
        await self.set_up(Interrupted(begun=begun))
        await self.doForceBuild()
        return [build["results"] for build in await self.master.data.get(("builds",))]

    async def test_a_step_that_ends_while_the_state_is_away_does_not_keep_the_build_for_ever(self) -> None:
        """Buildbot left it as it was: the tasks rested, and nobody else was deployed, until the next start."""
        self.patch(builds, "AGAIN_SECONDS", 0.05)
        mended = Path("resumed").absolute()
        build = await self.build_of(Away(f"touch {mended}"))

        self.assertEqual(build["results"], WARNINGS)
        self.assertIn("patch-1 deployed: outage 0.250 s", build["state_string"])
        self.assertTrue(mended.exists())
        self.assertTrue(self.flushLoggedErrors(OSError))

    async def test_what_has_begun_is_never_built_again(self) -> None:
        """The request is over; whoever wants it repeated asks anew."""

        self.assertEqual(await self.results_of_builds(begun=True), [FAILURE])

    async def test_what_had_not_begun_is_built_again(self) -> None:
        """A deployment that waited for its approval when the master stopped is not lost. The second build gets its
        turn on the database, so the first has given it back."""

        self.assertEqual(await self.results_of_builds(begun=False), [RETRY, SUCCESS])

    async def test_what_had_hardly_begun_when_the_master_stopped_is_built_again(self) -> None:
        """Buildbot calls it cancelled, and nobody has cancelled it."""
        ShutDown.builds_begun.clear()
        await self.set_up(ShutDown())
        await self.doForceBuild()

        self.assertEqual([build["results"] for build in await self.master.data.get(("builds",))], [RETRY, SUCCESS])

    async def test_what_is_known_to_be_rolled_back_was_aborted(self) -> None:
        """Not "unknown": an operator would look for a database that is left closed."""
        await self.build_of(RolledBack())
        journey = self.master.service_manager.namedServices[Journal.name].journey("patch-1")
        (attempt,) = journey.attempts

        self.assertEqual(attempt.ended.outcome, Outcome.ABORTED)

    async def test_a_build_that_lost_its_worker_says_what_came_of_the_patch(self) -> None:
        """Not "lost connection": the outage went on in the service, and its report is the build's last word."""
        build = await self.build_that_is(applied=False)

        self.assertEqual(build["results"], FAILURE)
        self.assertIn("patch-1 not deployed: aborted", build["state_string"])

    async def test_a_build_that_lost_its_worker_is_not_red_where_the_patch_is_in(self) -> None:
        """The result agrees with the ledger; the warning says that somebody should look."""
        build = await self.build_that_is(applied=True)

        self.assertEqual(build["results"], WARNINGS)
        self.assertIn("patch-1 deployed: outage 0.250 s", build["state_string"])

    async def test_a_build_of_several_databases_that_has_ended_behind_the_canary_has_not_deployed(self) -> None:
        """The others lack the patch: who needs it must not read that it is in production."""
        north = {"name": "north", "database": "postgresql://patcher@north.example/app"}
        settings = a_settings(Path(self.mktemp()).resolve(), environments={
            "staging": {"database": "postgresql://patcher@localhost:1/app"},
            "production": {"database": "postgresql://patcher@localhost:2/app", "fleet": {"databases": [north]}}})
        build = await self.build_of(Lost(applied=True, settings=settings))

        self.assertEqual(build["results"], FAILURE)
        self.assertIn("patch-1 not deployed everywhere: 1 of 2 databases have it; without it: north",
                      build["state_string"])

    async def test_a_stop_that_came_too_late_is_no_cancellation(self) -> None:
        """The patch is in: the history agrees with the ledger, and the warning says that somebody should look."""
        self.assertEqual((await self.build_of(Stopped(applied=True)))["results"], WARNINGS)

    async def test_a_stop_in_time_is_a_cancellation(self) -> None:
        """The patch was rolled back."""
        self.assertEqual((await self.build_of(Stopped(applied=False)))["results"], CANCELLED)

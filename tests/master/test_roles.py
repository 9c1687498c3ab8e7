"""Who may do what, asked of a real master in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from buildbot.plugins import schedulers, util, worker
from buildbot.process.factory import BuildFactory
from buildbot.test.util.integration import RunMasterBase
from buildbot.www.authz import Forbidden

from master.assembly import extend
from steps.shared.names import FORCED_BY, BuilderName
from tests.master.settings_for_tests import a_settings, user

NO_SOURCE = {"codebase": "", "repository": "", "branch": None, "revision": None, "project": ""}
EVERYBODY = ("anonymous", "developer", "operator", "approver", "architect")


class RolesOnAMaster(RunMasterBase):
    """Asks the master's own rules, as its web pages do."""

    async def start(self, **before_us: Any) -> None:
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        config = extend({**before_us}, a_settings(folder.resolve()))
        config["change_source"] = []  # there is no repository here to look at
        config.pop("db", None)
        await self.setup_master(config, startWorker=False)

    async def may(self, name: str, path: tuple[Any, ...], action: str, **options: Any) -> bool:
        try:
            await self.master.www.authz.assertUserAllowed(path, action, options, user(name))
        except Forbidden:
            return False
        return True

    async def who_may(self, path: tuple[Any, ...], action: str, **options: Any) -> list[str]:
        return [name for name in EVERYBODY if await self.may(name, path, action, **options)]

    async def builder_id(self, name: str) -> int:
        found: int = await self.master.data.updates.findBuilderId(name)
        return found

    async def a_request(self, builder: str) -> int:
        """A build request that nothing will build."""
        builder_id = await self.builder_id(builder)
        _, requests = await self.master.db.buildsets.addBuildset(
            sourcestamps=[NO_SOURCE], reason="", properties={}, builderids=[builder_id], waited_for=False)
        found: int = requests[builder_id]
        return found

    async def a_build(self, builder: str) -> int:
        worker_id = await self.master.db.workers.findWorkerId("somewhere")
        build_id, _ = await self.master.db.builds.addBuild(
            builderid=await self.builder_id(builder), buildrequestid=await self.a_request(builder),
            workerid=worker_id, masterid=self.master.masterid, state_string="")
        return int(build_id)


class OnAMasterOfOurOwn(RolesOnAMaster):
    """Nothing was configured before us: whoever has no role may change nothing."""

    async def test_each_form_is_for_those_who_have_its_role(self) -> None:
        """A role is found by user name as well as by e-mail address."""

        await self.start()
        allowed = {builder: await self.who_may(("forceschedulers", FORCED_BY[builder]), "force")
                   for builder in BuilderName}
        self.assertEqual(allowed, {
            BuilderName.STAGING: ["operator", "architect"], BuilderName.PRODUCTION: ["operator"],
            BuilderName.LIVE: ["operator"], BuilderName.APPROVE: ["approver", "architect"],
            BuilderName.BEGIN_NOW: ["operator"], BuilderName.REOPEN: ["operator"]})

    async def test_another_builders_id_does_not_open_its_door(self) -> None:
        """Buildbot lets any form build any builder: an approver may not deploy with the form of decisions."""

        await self.start()
        production = await self.builder_id(BuilderName.PRODUCTION.value)
        form = ("forceschedulers", FORCED_BY[BuilderName.APPROVE])
        self.assertEqual(await self.who_may(form, "force", builderid=production), ["operator"])
        self.assertEqual(await self.who_may(form, "force", builderid=str(production)), ["operator"])

    async def test_a_builder_that_is_not_there_is_nobodys(self) -> None:
        """What cannot be looked up is refused, and not waved through."""

        await self.start()
        form = ("forceschedulers", FORCED_BY[BuilderName.APPROVE])
        self.assertEqual(await self.who_may(form, "force", builderid=4711), [])

    async def test_nobody_repeats_a_deployment_or_a_decision(self) -> None:
        """A rebuild carries the name of whoever asked first."""

        await self.start()
        for builder in BuilderName:
            build_id = await self.a_build(builder.value)
            self.assertEqual(await self.who_may(("builds", build_id), "rebuild"), [], builder)

    async def test_operators_stop_and_cancel(self) -> None:
        """Whatever is under way or waits in the queue."""

        await self.start()
        build_id = await self.a_build(BuilderName.PRODUCTION.value)
        request_id = await self.a_request(BuilderName.PRODUCTION.value)
        self.assertEqual(await self.who_may(("builds", build_id), "stop"), ["operator"])
        self.assertEqual(await self.who_may(("buildrequests", request_id), "cancel"), ["operator"])
        self.assertEqual(await self.who_may(("buildrequests", request_id), "set_priority"), [])

    async def test_everybody_may_look(self) -> None:
        """Logs are for developers and script owners."""

        await self.start()
        build_id = await self.a_build(BuilderName.PRODUCTION.value)
        self.assertEqual(await self.who_may(("builds", build_id), "get"), list(EVERYBODY))

    async def test_an_action_that_buildbot_may_yet_get_is_denied(self) -> None:
        """New versions bring new actions."""

        await self.start()
        build_id = await self.a_build(BuilderName.PRODUCTION.value)
        self.assertEqual(await self.who_may(("builds", build_id), "republish"), [])


class OnAMasterThatWasThereBefore(RolesOnAMaster):
    """A foreign configuration's rules go on to hold, for what is its own."""

    async def start_among_others(self) -> None:
        await self.start(
            workers=[worker.LocalWorker("their-worker", missing_timeout=0)],
            builders=[util.BuilderConfig(name="unit", workernames=["their-worker"], factory=BuildFactory())],
            schedulers=[schedulers.ForceScheduler(name="their-form", builderNames=["unit"])],
            www={"port": "tcp:0:interface=127.0.0.1", "authz": util.Authz(
                allowRules=[util.AnyControlEndpointMatcher(role="everybody")],
                roleMatchers=[util.RolesFromUsername(["everybody", "operators"], list(EVERYBODY))])})

    async def test_their_builders_obey_their_rules(self) -> None:
        """We decide nothing about what is not ours."""

        await self.start_among_others()
        self.assertEqual(await self.who_may(("forceschedulers", "their-form"), "force"), list(EVERYBODY[1:]))
        build_id = await self.a_build("unit")
        self.assertEqual(await self.who_may(("builds", build_id), "rebuild"), list(EVERYBODY[1:]))

    async def test_their_rules_open_none_of_our_doors(self) -> None:
        """Not by a rule for everything, not by a role of the same name as ours, not by their form with our builder."""

        await self.start_among_others()
        production = await self.builder_id(BuilderName.PRODUCTION.value)
        form = FORCED_BY[BuilderName.PRODUCTION]
        self.assertEqual(await self.who_may(("forceschedulers", form), "force"), ["operator"])
        self.assertEqual(await self.who_may(("forceschedulers", "their-form"), "force", builderid=production),
                         ["operator"])
        self.assertEqual(await self.who_may(("builds", await self.a_build("production")), "rebuild"), [])

    async def test_our_schedulers_and_workers_are_the_operators(self) -> None:
        """Switching off the scheduler of landings, or pausing our workers, is no developer's business."""

        await self.start_among_others()
        scheduler = next(each for each in await self.master.data.get(("schedulers",)) if each["name"] == "landings")
        workers = {each["name"]: each["workerid"] for each in await self.master.data.get(("workers",))}
        self.assertEqual(await self.who_may(("schedulers", scheduler["schedulerid"]), "enable"), ["operator"])
        roundabout = ("masters", 4711, "schedulers", scheduler["schedulerid"])  # Buildbot obeys it all the same
        self.assertEqual(await self.who_may(roundabout, "enable"), ["operator"])
        self.assertEqual(await self.who_may(("workers", workers["fastdowntime-staging"]), "pause"), ["operator"])
        self.assertEqual(await self.who_may(("workers", workers["fastdowntime-staging"]), "kill"), [])
        self.assertEqual(await self.who_may(("workers", workers["their-worker"]), "pause"), list(EVERYBODY[1:]))

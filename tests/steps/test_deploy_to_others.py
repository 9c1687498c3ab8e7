"""Production of several databases: the canary through the phases as ever, then the others, in a real master."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from buildbot.process.results import FAILURE, SUCCESS

from demo.servers import Server
from downtime import errors, ledger, marker
from downtime.fleet.matrix import Matrix, Result, Row, State
from downtime.fleet.report import FleetReport
from downtime.history.events import Outcome
from steps.shared.names import BuilderName, Property, ServiceName
from tests.builders import a_node
from tests.databases import Database, MakeDatabase
from tests.steps import runbook

COLD = {"database__schema__patch-1_dot_sql": "-- apply: cold\nALTER TABLE account ADD COLUMN note text;"}
LIVE = {"database__schema__patch-1_dot_sql": (
    "-- apply: live\nCREATE INDEX CONCURRENTLY account_name ON account (name);")}
SLOW = {"database__schema__patch-1_dot_sql": (
    "-- apply: cold\nALTER TABLE account ADD COLUMN note text;\n"
    "SELECT pg_sleep(600) WHERE EXISTS (SELECT FROM pg_tables WHERE tablename = 'slow');")}


async def written(database: Database, patch_id: str, sha256: str) -> None:
    """The row that a deployment has written that nobody could tell of."""
    node = await a_node(database.target)
    try:
        await ledger.write(node, patch_id=patch_id, sha256=sha256, lane="cold", commit="c" * 40,
                           started_at=datetime.now(UTC), seconds=1.25, origin=ledger.Origin())
    finally:
        node.close()


async def died_of(self: runbook.ARunbook, build: dict[str, Any]) -> int:
    """Makes the request of a waiting build look as if its master had died in the middle of deploying; the build's id
    that is put there for that.
    """
    worker_id = await self.master.db.workers.findWorkerId("worker-that-died")
    died, _ = await self.master.db.builds.addBuild(
        builderid=build["builderid"], buildrequestid=build["buildrequestid"], workerid=worker_id,
        masterid=self.master.masterid, state_string="")
    for name, value in ((Property.BEGUN, True), (Property.PATCH, "patch-1")):
        await self.master.db.builds.setBuildProperty(died, name, value, "test")
    self.master.botmaster.shuttingDown = True
    self.master.service_manager.namedServices[ServiceName.APPROVALS].withdraw(build["buildid"])
    await self.ended(build)
    self.master.botmaster.shuttingDown = False
    return int(died)


class ARollout(runbook.ARunbook):
    """Tenants 1 to 3 behind the canary."""

    @pytest.fixture(autouse=True)
    def _give_others(self, server: Server, make_database: MakeDatabase) -> None:
        self.others: list[Database] = [make_database(server, gate="refuse") for _ in range(3)]

    async def start_with_others(self, *, at_once: int = 2, **sections: Any) -> None:
        await self.start(fleet={"at_once": at_once, "databases": [
            {"name": f"tenant-{number}", "database": each.target.dsn}
            for number, each in enumerate(self.others, start=1)]}, **sections)

    async def deploy(self) -> dict[str, Any]:
        """What landed, approved; as it has ended."""
        build = await self.latest(BuilderName.PRODUCTION, self.waits)
        await self.decide(build)
        return await self.ended(build)

    async def again(self) -> dict[str, Any]:
        build = await self.force(BuilderName.PRODUCTION, "operator", patch="patch-1")
        self.assertFalse(build["complete"], build["state_string"])
        await self.decide(build)
        return await self.ended(build)

    async def kept(self, build: dict[str, Any], name: str) -> Any:
        found = await self.master.data.get(("builds", build["buildid"], "data", name, "value"))
        return json.loads(found["raw"])

    async def states(self, build: dict[str, Any]) -> list[str]:
        return [each["state"] for each in (await self.kept(build, "fleet"))["databases"]]

    def journey(self) -> Any:
        return self.master.service_manager.namedServices[ServiceName.JOURNAL].journey("patch-1")

    def have(self) -> list[bool]:
        return [bool(each.admin_sql("SELECT id FROM fastdowntime.ledger")) for each in (self.production, *self.others)]

    async def test_every_database_gets_it_behind_the_canary(self) -> None:
        """Each has its own outage, ledger row and document; the patch is in production when the last one has it."""

        await self.start_with_others()
        self.others[1].connect("app").cursor().execute("SELECT 1")
        await self.land(**COLD)
        build = await self.deploy()
        said = await self.summaries(build)

        self.assertEqual(build["results"], SUCCESS, said)
        self.assertRegex(build["state_string"],
                         r"^patch-1 deployed: all 4 databases have it; longest outage 0\.\d{3} s, 1 session kicked$")
        self.assertEqual(said["deploy to the other databases"], "all 4 databases have it")
        self.assertRegex(said["allow connections"], "^open again after")
        self.assertEqual(self.have(), [True] * 4)
        self.assertEqual(await self.states(build), ["done"] * 4)
        self.assertEqual((await self.kept(build, "outage-tenant-2"))["kicked"], 1)
        self.assertEqual((await self.kept(build, "outage"))["kicked"], 0)
        journey = self.journey()
        self.assertEqual((journey.deployed.outcome, journey.deployed.kicked), (Outcome.DEPLOYED, 1))
        self.assertEqual(journey.attempt.spreading.databases, 3)

    async def test_a_failure_stops_and_who_asks_again_goes_on_with_the_others(self) -> None:
        """Not in production until all have it; the second build leaves the canary and what is done alone."""

        await self.start_with_others(at_once=1)
        self.others[1].admin_sql("ALTER TABLE account ADD COLUMN note text")
        await self.land(**COLD)
        build = await self.deploy()
        said = await self.summaries(build)

        self.assertEqual(build["results"], FAILURE)
        self.assertEqual(await self.states(build), ["done", "done", "failed", "not reached"])
        self.assertIn("2 of 4 databases have it; without it: tenant-2, tenant-3", build["state_string"])
        self.assertIn("tenant-2 failed", said["deploy to the other databases"])
        self.assertIn("tenant-2", await self.logs(build, "deploy to the other databases"))
        journey = self.journey()
        self.assertEqual((journey.in_production_at, journey.attempt.ended.outcome), (None, Outcome.ABORTED))

        self.others[1].admin_sql("ALTER TABLE account DROP COLUMN note")
        build = await self.again()
        said = await self.summaries(build)

        self.assertEqual(build["results"], SUCCESS, said)
        self.assertEqual(await self.states(build), ["has it already", "has it already", "done", "done"])
        self.assertEqual(said["preflight"], "canary has it already: it goes on with the others")
        self.assertNotIn("prevent connections", said)
        self.assertEqual(self.have(), [True] * 4)
        self.assertIsNotNone(self.journey().in_production_at)

    async def test_stop_ends_the_outages_under_way_and_begins_no_other(self) -> None:
        """They are rolled back and open, the canary keeps the patch, and the build says what is where."""

        await self.start_with_others()
        for each in self.others[:2]:
            each.admin_sql("CREATE TABLE slow (id int)")
        await self.land(**SLOW)
        build = await self.latest(BuilderName.PRODUCTION, self.waits)
        await self.decide(build)
        await self.until(lambda: self._asleep(2), "two outages under way")
        await self.master.data.control("stop", {"reason": "enough"}, ("builds", build["buildid"]))
        build = await self.ended(build)

        self.assertEqual(await self.states(build), ["done", "failed", "failed", "not reached"])
        self.assertIn("no more were begun: stopped (enough)", build["state_string"])
        self.assertEqual(self.have(), [True, False, False, False])
        for each in self.others:
            each.connect("app").cursor().execute("SELECT 1")

    async def test_a_canary_that_fails_keeps_it_from_all_others(self) -> None:
        """The matrix says that they were not reached, and the headline is the canary's."""

        await self.start_with_others()
        self.production.admin_sql("ALTER TABLE account ADD COLUMN note text")
        await self.land(**COLD)
        build = await self.deploy()

        self.assertEqual(build["results"], FAILURE)
        self.assertEqual(await self.states(build), ["failed", *["not reached"] * 3])
        self.assertRegex(build["state_string"], r"^patch-1 not deployed: .*; 3 other databases not reached$")
        self.assertEqual((self.have(), self.journey().attempt.ended.outcome), ([False] * 4, Outcome.FAILED))

    async def test_a_live_patch_goes_through_all_of_them(self) -> None:
        """Without an outage anywhere."""

        await self.start_with_others()
        await self.land(**LIVE)
        build = await self.latest(BuilderName.LIVE, self.waits)
        await self.decide(build)
        build = await self.ended(build)

        self.assertEqual(build["results"], SUCCESS, await self.summaries(build))
        self.assertEqual(build["state_string"], "patch-1 deployed: all 4 databases have it; without an outage")
        self.assertEqual(self.have(), [True] * 4)

    async def test_a_live_patch_waits_for_no_window_anywhere(self) -> None:
        """A window is for downtimes: the canary did not wait for it, and the others do not either."""

        await self.start_with_others(windows={"cron": ["0 0 29 2 *"], "minutes": 1})
        await self.land(**LIVE)
        build = await self.latest(BuilderName.LIVE, self.waits)
        await self.decide(build)
        build = await self.ended(build)

        self.assertEqual((build["results"], self.have()), (SUCCESS, [True] * 4), await self.summaries(build))

    async def test_all_are_asked_once_more_when_the_background_tasks_are_stopped(self) -> None:
        """That may have taken an hour: one that cannot take the patch now keeps it from the canary too."""

        go = self.folder / "go"
        stop = f"while ! test -e {go}; do sleep 0.05; done"
        await self.start_with_others(quiesce={"lead_minutes": 0, "tasks": [
            {"name": "batch", "command": {"stop": stop, "resume": "true"}}]})
        await self.land(**COLD)
        build = await self.latest(BuilderName.PRODUCTION, self.waits)
        await self.decide(build)
        await self.until(lambda: self._quiescing(build), "the background tasks being stopped")
        await written(self.others[2], "patch-1", "0" * 64)
        go.touch()
        build = await self.ended(build)
        said = await self.summaries(build)

        self.assertEqual(build["results"], FAILURE)
        self.assertIn("tenant-3: patch-1 was changed after it was applied", said["preflight"])
        self.assertEqual(self.have(), [False, False, False, True])

    async def test_its_end_is_told_before_the_background_tasks_are_resumed(self) -> None:
        """Who waits for the databases need not wait for a task that takes its time."""

        go = self.folder / "go"
        resume = f"while ! test -e {go}; do sleep 0.05; done"
        await self.start_with_others(quiesce={"lead_minutes": 0, "tasks": [
            {"name": "batch", "command": {"stop": "true", "resume": resume}}]})
        await self.land(**COLD)
        build = await self.latest(BuilderName.PRODUCTION, self.waits)
        await self.decide(build)
        await self.until(lambda: self._told_of_the_end(), "the end being told")
        self.assertFalse((await self.master.data.get(("builds", build["buildid"])))["complete"])
        go.touch()

        self.assertEqual((await self.ended(build))["results"], SUCCESS)

    async def test_a_request_that_was_half_way_when_its_master_died_deploys_nothing(self) -> None:
        """It says which databases lack the patch; who asks anew goes on with those."""

        await self.start_with_others()
        await self.land(**COLD)
        build = await self.latest(BuilderName.PRODUCTION, self.waits)
        (patch,) = (await self.master.service_manager.namedServices[ServiceName.PATCHES].tip()).inventory.patches
        for each in (self.production, self.others[2]):
            each.admin_sql("ALTER TABLE account ADD COLUMN note text")
            await written(each, patch.id, patch.sha256)
        died = await died_of(self, build)
        again = await self.latest(BuilderName.PRODUCTION, lambda each: each["complete"] and each["buildid"] not in (
            build["buildid"], died))
        said = (await self.summaries(again))["admit"]

        self.assertEqual(again["results"], FAILURE)
        self.assertIn("2 of 4 databases have patch-1; without it: tenant-1, tenant-2", said)
        self.assertEqual(self.have(), [True, False, False, True])
        build = await self.again()
        self.assertEqual(await self.states(build), ["has it already", "done", "done", "has it already"])
        self.assertEqual(self.have(), [True] * 4)

    async def test_one_that_nobody_knows_to_be_open_is_looked_after(self) -> None:
        """The service that opens what a deployment has left closed is told of that very database."""

        await self.start_with_others()
        left = self.others[1]
        node = await a_node(left.target.with_database("postgres"))
        async with node.transaction():
            await node.execute(marker.closing(left.name, by="by a test"))
        node.close()
        report = FleetReport(patch="patch-1", canary=None, reports={}, matrix=Matrix(rows=(
            Row(name="tenant-2", database=left.target.label, result=Result(
                state=State.FAILED, left=errors.Left.UNKNOWN)),)))

        async def ended() -> FleetReport:
            return report

        outages = self.master.service_manager.namedServices[ServiceName.OUTAGES]
        await outages.take_turn(4711, "a database")
        self.assertIs(await outages.supervise(4711, ended()), report)
        await outages.release(4711)
        await self.until(lambda: self._accepts(left), "the database being opened")

    async def _quiescing(self, build: dict[str, Any]) -> dict[str, Any] | None:
        steps = await self.master.data.get(("builds", build["buildid"], "steps"))
        return next((each for each in steps if "quiesce" in each["name"] and each["started_at"]), None)

    async def _told_of_the_end(self) -> dict[str, Any] | None:
        return {"told": True} if self.journey().in_production_at is not None else None

    async def _accepts(self, database: Database) -> dict[str, bool] | None:
        found = database.server.admin_sql("SELECT datallowconn FROM pg_database WHERE datname = %s", (database.name,))
        return {"open": True} if found == [(True,)] else None

    async def logs(self, build: dict[str, Any], step: str) -> list[str]:
        steps = await self.master.data.get(("builds", build["buildid"], "steps"))
        (step_id,) = [each["stepid"] for each in steps if each["name"] == step]
        return [log["name"] for log in await self.master.data.get(("steps", step_id, "logs"))]

    async def _asleep(self, count: int) -> dict[str, Any] | None:
        found = self.production.server.admin_sql(
            "SELECT pid FROM pg_stat_activity WHERE datname = ANY(%s) AND query LIKE '%%pg_sleep(600)%%'"
            " AND state = 'active'", ([each.name for each in self.others],))
        return {"asleep": count} if len(found) == count else None

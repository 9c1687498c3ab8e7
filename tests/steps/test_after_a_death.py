"""What a master makes, when it starts, of what another one has begun and could not end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from buildbot.process.results import FAILURE, WARNINGS
from twisted.internet import reactor, task

from downtime import deployment_lock, ledger, marker
from downtime.quiescing.tasks import Owed
from steps.shared.names import BuilderName, Property, ServiceName
from tests.builders import a_node
from tests.databases import Database
from tests.steps import runbook


class AfterADeath(runbook.ARunbook):
    """Nothing is deployed again unasked; what was left is told, opened and resumed."""

    async def built_again_after_its_master_died(self, builder: BuilderName) -> dict[str, Any]:
        """The build that a restarted master makes of a request whose first build had begun to deploy; ended."""
        build = await self.latest(builder, self.waits)
        worker_id = await self.master.db.workers.findWorkerId("worker-that-died")
        died, _ = await self.master.db.builds.addBuild(
            builderid=build["builderid"], buildrequestid=build["buildrequestid"], workerid=worker_id,
            masterid=self.master.masterid, state_string="")
        for name, value in ((Property.BEGUN, True), (Property.PATCH, "patch-1")):
            await self.master.db.builds.setBuildProperty(died, name, value, "test")
        # the build under way ends as a stopping master ends it, and is built again
        self.master.botmaster.shuttingDown = True
        self.master.service_manager.namedServices[ServiceName.APPROVALS].withdraw(build["buildid"])
        await self.ended(build)
        self.master.botmaster.shuttingDown = False
        return await self.latest(builder, lambda each: each["complete"] and each["buildid"] not in (
            build["buildid"], died))

    async def committed_by_a_dead_master(self) -> None:
        """The row of patch-1, as its transaction has written it."""
        node = await a_node(self.production.target)
        try:
            await ledger.write(node, patch_id="patch-1", sha256="0" * 64, lane="cold", commit="c" * 40,
                               started_at=datetime.now(UTC), seconds=1.25, origin=ledger.Origin())
        finally:
            node.close()

    def is_open(self, database: Database) -> bool:
        ((is_open,),) = database.server.admin_sql(
            "SELECT datallowconn FROM pg_database WHERE datname = %s", (database.name,))
        return bool(is_open)

    async def opened(self, database: Database) -> None:
        async def look() -> dict[str, bool] | None:
            return {"open": True} if self.is_open(database) else None

        await self.until(look, f"{database.name} to be opened")

    async def close(self, database: Database) -> None:
        """As a deployment with gate "refuse" leaves it whose server has crashed."""
        node = await a_node(database.target.with_database("postgres"))
        try:
            async with node.transaction():
                await node.execute(marker.closing(database.name, by="by a test"))
        finally:
            node.close()

    async def test_a_request_that_has_begun_is_not_deployed_again(self) -> None:
        """After a crash Buildbot builds the same request again: it says what came of it, and touches nothing."""

        await self.start()
        await self.land(**{"database__schema__patch-1_dot_sql": "ALTER TABLE account ADD COLUMN note text;"})
        again = await self.built_again_after_its_master_died(BuilderName.PRODUCTION)
        said = (await self.summaries(again))["admit"]
        self.assertEqual(again["results"], FAILURE)
        self.assertIn("has begun to deploy already", said)
        self.assertIn("production does not have patch-1; it was rolled back", said)
        self.assertNotIn("note", self.columns(self.production))

    async def test_a_request_whose_patch_is_in_is_not_red(self) -> None:
        """The master died between the commit and its own record: nothing has failed, and the ledger says when."""

        await self.start()
        await self.land(**{"database__schema__patch-1_dot_sql": "ALTER TABLE account ADD COLUMN note text;"})
        await self.latest(BuilderName.PRODUCTION, self.waits)
        await self.committed_by_a_dead_master()
        again = await self.built_again_after_its_master_died(BuilderName.PRODUCTION)
        self.assertEqual(again["results"], WARNINGS, await self.summaries(again))
        self.assertRegex(again["state_string"], r"^patch-1 is deployed: production has it since \d{4}-\d\d-\d\d "
                                                r"\d\d:\d\d:\d\d UTC, applied in 1\.250 s; the master died before ")
        self.assertEqual(list(await self.summaries(again)), ["worker_preparation", "admit"])

    async def test_a_live_patch_that_has_begun_tells_how_far_it_came(self) -> None:
        """Finished statements of a live patch stay."""

        await self.start()
        await self.land(**{"database__schema__patch-1_dot_sql":
                           "-- apply: live\nALTER TABLE account ADD COLUMN note text;\nSELECT 1;"})
        await self.latest(BuilderName.LIVE, self.waits)
        self.production.admin_sql("INSERT INTO fastdowntime.live_journal (id, sha256, statement) VALUES"
                                  " ('patch-1', '', 1)")
        again = await self.built_again_after_its_master_died(BuilderName.LIVE)
        self.assertIn("of its statements 1 are done and stay", (await self.summaries(again))["admit"])

    async def test_a_deployer_that_may_commit_yet_is_named(self) -> None:
        """What a session that is still there will do is not known before it is gone."""

        await self.start()
        await self.land(**{"database__schema__patch-1_dot_sql": "ALTER TABLE account ADD COLUMN note text;"})
        await self.latest(BuilderName.PRODUCTION, self.waits)
        other = await a_node(self.production.target)
        await deployment_lock.take(other)
        again = await self.built_again_after_its_master_died(BuilderName.PRODUCTION)
        other.close()
        self.assertIn("is being deployed to: test of patcher", (await self.summaries(again))["admit"])

    async def test_a_server_that_cannot_be_asked_is_named(self) -> None:
        """"It failed" would be a guess."""

        await self.start()
        await self.land(**{"database__schema__patch-1_dot_sql": "ALTER TABLE account ADD COLUMN note text;"})
        await self.latest(BuilderName.PRODUCTION, self.waits)
        self.production.server.admin_sql(f"ALTER DATABASE {self.production.name} ALLOW_CONNECTIONS false")
        again = await self.built_again_after_its_master_died(BuilderName.PRODUCTION)
        self.production.server.admin_sql(f"ALTER DATABASE {self.production.name} ALLOW_CONNECTIONS true")
        self.assertIn("production cannot be asked whether it has patch-1", (await self.summaries(again))["admit"])

    async def test_what_a_dead_deployment_left_closed_is_opened_when_the_master_starts(self) -> None:
        """A crash of the server takes its guard too: the mark on the database is what is left."""

        await self.close(self.production)
        await self.start()
        await self.opened(self.production)

    async def test_what_an_administrator_closed_stays_closed_when_the_master_starts(self) -> None:
        """Only what carries our mark is ours to open."""

        server = self.production.server
        server.admin_sql(f"ALTER DATABASE {self.production.name} ALLOW_CONNECTIONS false")
        await self.close(self.staging)
        await self.start()
        await self.opened(self.staging)  # the same service looks at both
        await task.deferLater(reactor, 0.3, lambda: None)
        is_open = self.is_open(self.production)
        server.admin_sql(f"ALTER DATABASE {self.production.name} ALLOW_CONNECTIONS true")
        self.assertFalse(is_open)

    async def test_what_a_dead_build_owes_is_resumed_once(self) -> None:
        """The note outlives the build that made it, and is gone when it was settled."""

        await self.start()
        diary = self.folder / "diary"
        quiescence = self.master.service_manager.namedServices[ServiceName.QUIESCENCE]
        await quiescence.remember(999, [Owed(task="import", command=f"echo resumed >> {diary}", seconds=60)])
        await quiescence.settle(999)
        await quiescence.settle(999)
        self.assertEqual(diary.read_text().split(), ["resumed"])

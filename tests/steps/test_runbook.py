"""The whole runbook: a real master in this process, real databases, a real repository."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from buildbot.process.results import FAILURE, SUCCESS, WARNINGS
from buildbot.test.util.integration import RunMasterBase
from twisted.internet import reactor, task
from twisted.internet.defer import Deferred

from demo import application
from demo.gitrepo import Repository
from demo.servers import Server
from downtime import deployment_lock, ledger, marker
from downtime.patches import Lane
from downtime.settings import load
from master.assembly import extend
from master.schedulers import POLLER
from steps.shared.names import FORCED_BY, BuilderName, Property, ServiceName
from tests.builders import a_node
from tests.databases import Database, MakeDatabase
from tests.master.settings_for_tests import PEOPLE, user, write_settings

PATIENCE_SECONDS = 30.0
PATCH = "database/schema/patch-1.sql"


class ARunbook(RunMasterBase):
    """Pushes, asks and decides as people do, below the web pages' sign-in."""

    timeout = 120

    @pytest.fixture(autouse=True)
    def _give_databases(self, server: Server, make_database: MakeDatabase, tmp_path: Path) -> None:
        # gate "refuse" closes one database: staging and production may be on the same server
        self.staging: Database = make_database(server, gate="refuse")
        self.production: Database = make_database(server, gate="refuse")
        self.folder = tmp_path

    async def start(self, *, quiesce: dict[str, Any] | None = None, **sections: Any) -> None:
        (self.folder / "secret").write_text(application.password_of(application.PATCHER))
        (self.folder / "secret").chmod(0o600)
        self.repository = Repository.create(self.folder / "git")
        self.repository.land({"README": "the application"}, "begin")
        environments: dict[str, dict[str, Any]] = {
            name: {"database": database.target.dsn, "password_file": "secret", "gate": "refuse"}
            for name, database in (("staging", self.staging), ("production", self.production))}
        if quiesce is not None:
            environments["production"]["quiesce"] = quiesce
        settings = load(write_settings(self.folder, **{
            "repository": {"url": self.repository.url, "poll_seconds": 3600}, "environments": environments,
            "users": {"fragile": [application.FRAGILE]}, "landing": {"code": ["**/*.py"]},
            "people": PEOPLE, **sections}), {})
        config = extend({}, settings)
        config.pop("db", None)
        await self.setup_master(config, startWorker=False)
        await self.poll()

    async def land(self, **files: str) -> None:
        self.repository.land({path.replace("__", "/").replace("_dot_", "."): text for path, text in files.items()},
                             "a landing")
        await self.poll()

    async def poll(self) -> None:
        (poller,) = [source for source in self.master.change_svc if source.name == POLLER]
        await poller.poll()

    async def force(self, builder: BuilderName, who: str, **fields: Any) -> dict[str, Any]:
        """Press the builder's button; the build when it has ended, of a deployment when it waits or has ended."""
        self.master.service_manager.namedServices[ServiceName.VISITORS].note(user(who))
        _, requests = await self.master.data.control(
            "force", {"owner": f"{who}@example.org", **fields}, ("forceschedulers", FORCED_BY[builder]))
        (request_id,) = requests.values()

        async def look() -> dict[str, Any] | None:
            builds = await self.master.data.get(("buildrequests", request_id, "builds"))
            return builds[0] if builds and (builds[0]["complete"] or self.waits(builds[0])) else None

        return await self.until(look, f"a build of {builder}")

    async def decide(self, build: dict[str, Any], who: str = "approver", decision: str = "approve",
                     reason: str = "") -> dict[str, Any]:
        request = self.master.service_manager.namedServices[ServiceName.APPROVALS].waiting(build["buildid"])
        return await self.force(BuilderName.APPROVE, who, build=str(build["buildid"]), digest=request.digest,
                                decision=decision, reason=reason)

    def waits(self, build: dict[str, Any]) -> bool:
        approvals = self.master.service_manager.namedServices[ServiceName.APPROVALS]
        return approvals.waiting(build["buildid"]) is not None

    async def latest(self, builder: BuilderName, ready: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        builder_id = await self.master.data.updates.findBuilderId(builder.value)

        async def look() -> dict[str, Any] | None:
            builds = await self.master.data.get(("builders", builder_id, "builds"))
            return next((build for build in reversed(builds) if ready(build)), None)

        return await self.until(look, f"a build of {builder}")

    async def ended(self, build: dict[str, Any]) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            found = await self.master.data.get(("builds", build["buildid"]))
            return found if found["complete"] else None

        return await self.until(look, "the build to end")

    async def until(self, look: Callable[[], Any], what: str) -> dict[str, Any]:
        deadline = reactor.seconds() + PATIENCE_SECONDS  # type: ignore[attr-defined]
        while (found := await look()) is None:
            self.assertLess(reactor.seconds(), deadline, f"waited in vain for {what}")  # type: ignore[attr-defined]
            await task.deferLater(reactor, 0.02, lambda: None)
        return dict(found)

    async def summaries(self, build: dict[str, Any]) -> dict[str, str]:
        """What each visible step of a build says."""
        steps = await self.master.data.get(("builds", build["buildid"], "steps"))
        return {step["name"]: step["state_string"] for step in steps if not step["hidden"]}

    def columns(self, database: Database) -> set[str]:
        return {name for (name,) in database.admin_sql(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'account'::regclass AND attnum > 0")}

    async def test_a_landed_patch_reaches_production_after_an_approval(self) -> None:
        """Push, rehearsal, approval, downtime: the headline has the outage, both databases have the column."""

        await self.start()
        client = self.production.connect("app")
        await self.land(**{"database__schema__patch-1_dot_sql": "ALTER TABLE account ADD COLUMN note text;"})
        rehearsal = await self.latest(BuilderName.STAGING, lambda build: build["complete"])
        self.assertEqual(rehearsal["results"], SUCCESS, await self.summaries(rehearsal))
        build = await self.latest(BuilderName.PRODUCTION, self.waits)
        self.assertNotIn("note", self.columns(self.production))
        decision = await self.decide(build)
        self.assertEqual(decision["state_string"], "patch-1 approved by approver")
        build = await self.ended(build)
        self.assertEqual(build["results"], SUCCESS, await self.summaries(build))
        self.assertRegex(build["state_string"], r"^patch-1 deployed: outage 0\.\d{3} s, 1 session kicked$")
        self.assertIn("note", self.columns(self.production))
        with self.assertRaises(psycopg2.Error):
            client.cursor().execute("SELECT 1")

    async def test_a_failing_patch_leaves_production_open_and_as_it_was(self) -> None:
        """The step is red with the file's line, what follows reads "not reached", the database is open."""

        await self.start()
        self.production.admin_sql("INSERT INTO account (name) VALUES ('twice'), ('twice')")
        await self.land(**{"database__schema__patch-1_dot_sql": "ALTER TABLE account ADD COLUMN note text;\n"
                                                                "ALTER TABLE account ADD UNIQUE (name);"})
        build = await self.latest(BuilderName.PRODUCTION, self.waits)
        await self.decide(build)
        build = await self.ended(build)
        said = await self.summaries(build)
        self.assertEqual(build["results"], FAILURE)
        self.assertIn(f"{PATCH}, line 2:", said["apply patch"])
        self.assertRegex(said["allow connections"], r"^open again after")
        self.assertNotIn("note", self.columns(self.production))
        self.production.connect("app").cursor().execute("SELECT 1")

    async def test_a_fragile_user_in_a_transaction_stops_it_before_anything_is_closed(self) -> None:
        """The refusal costs no outage, and the deployment succeeds when it is asked for again."""

        await self.start()
        await self.land(**{"database__schema__patch-1_dot_sql": "ALTER TABLE account ADD COLUMN note text;"})
        build = await self.latest(BuilderName.PRODUCTION, self.waits)
        upload = self.production.connect(application.FRAGILE)
        upload.cursor().execute("SELECT 1")
        await self.decide(build)
        build = await self.ended(build)
        self.assertEqual(build["results"], FAILURE)
        self.assertIn("a fragile user is in the middle of a transaction", (await self.summaries(build))["preflight"])
        upload.rollback()
        build = await self.force(BuilderName.PRODUCTION, "operator", patch="patch-1")
        await self.decide(build)
        self.assertEqual((await self.ended(build))["results"], SUCCESS)

    async def test_who_asked_or_wrote_it_may_not_approve_it(self) -> None:
        """Four eyes, under whichever of their names they are listed; the deployment goes on waiting."""

        await self.start(people={**PEOPLE, "approvers": ["operator", "developer"]})
        await self.land(**{"database__schema__patch-1_dot_sql": "ALTER TABLE account ADD COLUMN note text;"})
        build = await self.latest(BuilderName.PRODUCTION, self.waits)
        self.assertEqual((await self.decide(build, "developer"))["results"], FAILURE)
        await self.decide(build, "operator", "reject", "asking for it myself")
        await self.ended(build)
        build = await self.force(BuilderName.PRODUCTION, "operator", patch="patch-1")
        self.assertEqual((await self.decide(build, "operator"))["results"], FAILURE)
        self.assertTrue(self.waits(build))

    async def test_a_mixed_landing_is_held_back_until_it_is_signed_off(self) -> None:
        """Nobody but a sign-off person frees it, and production needs their kind again."""

        await self.start()
        await self.land(**{"database__schema__patch-1_dot_sql": "ALTER TABLE account ADD COLUMN note text;",
                           "app__main_dot_py": "print()"})
        rehearsal = await self.latest(BuilderName.STAGING, lambda build: build["complete"])
        self.assertEqual(rehearsal["results"], FAILURE)
        self.assertIn("app/main.py", (await self.summaries(rehearsal))["judge the landing"])
        ask = {"signoff_patch": "patch-1", "reason": "the code is inert"}
        refused = await self.force(BuilderName.STAGING, "operator", **ask)
        self.assertEqual(refused["results"], FAILURE)
        self.assertNotIn("note", self.columns(self.staging))
        freed = await self.force(BuilderName.STAGING, "architect", **ask)
        self.assertEqual(freed["results"], WARNINGS, await self.summaries(freed))
        build = await self.latest(BuilderName.PRODUCTION, self.waits)
        self.assertIn("needs a sign-off", (await self.decide(build))["state_string"])

    async def test_a_change_cannot_bring_its_own_sign_off(self) -> None:
        """The hooks of a foreign configuration let in changes with any property; ours are earned, not brought."""

        await self.start()
        commit = self.repository.land({PATCH: "ALTER TABLE account ADD COLUMN note text;", "app.py": ""}, "mixed")
        await self.master.data.updates.addChange(
            files=[PATCH, "app.py"], author="developer", branch="devel", repository=self.repository.url,
            revision=commit, properties={Property.SIGNED_OFF: "patch-1"})
        build = await self.latest(BuilderName.STAGING, lambda build: build["complete"])
        self.assertEqual(build["results"], FAILURE)
        self.assertIn("the build came with what only its own steps may say of it: signed_off",
                      (await self.summaries(build))["judge the landing"])
        self.assertNotIn("note", self.columns(self.staging))

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

    async def test_background_tasks_stop_before_the_outage_and_are_resumed_after_it(self) -> None:
        """In this order: what was stopped last is resumed first."""

        diary = self.folder / "diary"
        lines = {name: f"echo {name} >> {diary}" for name in ("stop-cron", "stop-queue", "resume-cron", "resume-queue")}
        await self.start(quiesce={
            "lead_minutes": 0, "stop": [lines["stop-cron"], lines["stop-queue"]],
            "resume": [lines["resume-cron"], lines["resume-queue"]]})
        await self.land(**{"database__schema__patch-1_dot_sql": "ALTER TABLE account ADD COLUMN note text;"})
        build = await self.latest(BuilderName.PRODUCTION, self.waits)
        self.assertFalse(diary.exists())
        await self.decide(build)
        build = await self.ended(build)
        self.assertEqual(build["results"], SUCCESS, await self.summaries(build))
        self.assertEqual(diary.read_text().split(), ["stop-cron", "stop-queue", "resume-queue", "resume-cron"])

    async def test_what_a_dead_build_owes_is_resumed_once(self) -> None:
        """The note outlives the build that made it, and is gone when it was settled."""

        await self.start()
        diary = self.folder / "diary"
        quiescence = self.master.service_manager.namedServices[ServiceName.QUIESCENCE]
        await quiescence.remember(999, [f"echo resumed >> {diary}"])
        await quiescence.settle()
        await quiescence.settle()
        self.assertEqual(diary.read_text().split(), ["resumed"])

    async def test_a_background_task_that_does_not_start_again_stays_owed(self) -> None:
        """The step is red and says that it goes on trying; the patch is in all the same."""

        mended, diary = self.folder / "mended", self.folder / "diary"
        broken = f"test -e {mended} && echo resumed >> {diary}"
        await self.start(quiesce={"lead_minutes": 0, "stop": ["true"], "resume": [broken, "true"]})
        await self.land(**{"database__schema__patch-1_dot_sql": "ALTER TABLE account ADD COLUMN note text;"})
        build = await self.latest(BuilderName.PRODUCTION, self.waits)
        await self.decide(build)
        build = await self.ended(build)
        quiescence = self.master.service_manager.namedServices[ServiceName.QUIESCENCE]
        owed = await quiescence.owed(build["buildid"])
        mended.touch()
        await quiescence.settle()
        self.assertEqual(build["results"], FAILURE)
        self.assertIn("tried again every minute", (await self.summaries(build))["resume background tasks"])
        self.assertEqual(owed, (broken,))
        self.assertEqual(await quiescence.owed(build["buildid"]), ())
        self.assertEqual(diary.read_text().split(), ["resumed"])

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

    async def test_a_stop_between_two_steps_ends_the_downtime(self) -> None:
        """Buildbot has no step to tell of it then; the patch went in, in a build that was stopped."""

        await self.start()
        await self.land(**{"database__schema__patch-1_dot_sql": "ALTER TABLE account ADD COLUMN note text;\n"
                                                                "SELECT pg_sleep(3);"})
        build = await self.latest(BuilderName.PRODUCTION, self.waits)
        (running,) = self.master.botmaster.builders[BuilderName.PRODUCTION.value].building
        decision = Deferred.fromCoroutine(self.decide(build))

        outages = self.master.service_manager.namedServices[ServiceName.OUTAGES]

        async def begun() -> dict[str, Any] | None:
            return {} if outages.outcome(build["buildid"]) is not None else None

        await self.until(begun, "the outage to begin")
        running.stopped, running.stopped_reason = True, "by a test"  # what stopBuild() does where no step is at work
        build = await self.ended(build)
        await decision
        self.assertIn("by a test", " ".join((await self.summaries(build)).values()))
        self.assertNotIn("note", self.columns(self.production))
        self.production.connect("app").cursor().execute("SELECT 1")

    async def test_a_stopped_rehearsal_gives_its_turn_back(self) -> None:
        """Also one that was stopped before its turn came: every later rehearsal waited for ever."""

        await self.start()
        admin = psycopg2.connect(self.staging.superuser_dsn)
        admin.cursor().execute("LOCK TABLE fastdowntime.ledger")
        first = Deferred.fromCoroutine(self.force(BuilderName.STAGING, "operator"))
        builder = self.master.botmaster.builders[BuilderName.STAGING.value]

        async def reads() -> dict[str, Any] | None:
            names = [build.currentStep.name for build in builder.building if build.currentStep]
            return {} if names == ["rehearse on staging"] else None

        await self.until(reads, "the rehearsal to begin")
        await builder.building[0].stopBuild("by a test")
        admin.close()
        await first
        again = await self.force(BuilderName.STAGING, "operator")
        self.assertEqual(again["results"], SUCCESS, await self.summaries(again))

    async def test_a_build_that_no_scheduler_made_is_refused(self) -> None:
        """Another program's build set names no scheduler; it was taken for one that `staging` has offered."""

        await self.start()
        builder_id = await self.master.data.updates.findBuilderId(BuilderName.PRODUCTION.value)
        await self.master.data.updates.addBuildset(
            waited_for=False, scheduler="somebody", builderids=[builder_id], properties={}, reason="",
            sourcestamps=[{"codebase": "", "repository": "", "project": "", "branch": None, "revision": None}])
        build = await self.latest(BuilderName.PRODUCTION, lambda build: build["complete"])
        self.assertIn("may not build production", (await self.summaries(build))["admit"])

    async def test_a_patch_is_deployed_in_the_lane_it_was_rehearsed_in(self) -> None:
        """The settings' `undeclared_lane` was changed in between: nobody has seen how it goes in the other lane."""

        await self.start()
        await self.land(**{"database__schema__patch-1_dot_sql": "ALTER TABLE account ADD COLUMN note text;"})
        build = await self.latest(BuilderName.PRODUCTION, self.waits)
        await self.decide(build, decision="reject", reason="not yet")
        await self.ended(build)
        store = self.master.service_manager.namedServices[ServiceName.EVIDENCE]
        (entry,) = self.staging.admin_sql("SELECT sha256 FROM fastdowntime.ledger")
        evidence = await store.find("patch-1", entry[0])
        await store.keep(replace(evidence, lane=Lane.LIVE))
        build = await self.force(BuilderName.PRODUCTION, "operator", patch="patch-1")
        self.assertIn("patch-1 was rehearsed as a live patch", (await self.summaries(build))["admit"])

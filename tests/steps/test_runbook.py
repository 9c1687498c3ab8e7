"""The whole runbook: a real master in this process, real databases, a real repository."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg2
from buildbot.process.results import FAILURE, SUCCESS, WARNINGS
from twisted.internet.defer import Deferred

from demo import application
from downtime.patches import Lane
from steps.shared.names import BuilderName, Property, ServiceName
from tests.builders import pause
from tests.master.settings_for_tests import PEOPLE
from tests.steps import runbook

PATCH = "database/schema/patch-1.sql"


class ARunbook(runbook.ARunbook):
    """From a landing to the end of its deployment, and what may not be deployed."""

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
        self.assertRegex((await self.summaries(build))["record"],
                         r"1 session kicked; forecast \d+\.\d{3} s, took \d+\.\d{3} s$")
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

    async def test_background_tasks_stop_before_the_outage_and_are_resumed_after_it(self) -> None:
        """In this order: what was stopped last is resumed first."""

        diary = self.folder / "diary"
        lines = {name: f"echo {name} >> {diary}" for name in ("stop-cron", "stop-queue", "resume-cron", "resume-queue")}
        await self.start(quiesce={"lead_minutes": 0, "tasks": [
            {"name": name, "command": {"stop": lines[f"stop-{name}"], "resume": lines[f"resume-{name}"]}}
            for name in ("cron", "queue")]})
        await self.land(**{"database__schema__patch-1_dot_sql": "ALTER TABLE account ADD COLUMN note text;"})
        build = await self.latest(BuilderName.PRODUCTION, self.waits)
        self.assertFalse(diary.exists())
        await self.decide(build)
        build = await self.ended(build)
        self.assertEqual(build["results"], SUCCESS, await self.summaries(build))
        self.assertEqual(diary.read_text().split(), ["stop-cron", "stop-queue", "resume-queue", "resume-cron"])

    async def test_a_background_task_that_does_not_start_again_stays_owed(self) -> None:
        """The step is red and says that it goes on trying; the patch is in all the same."""

        mended, diary = self.folder / "mended", self.folder / "diary"
        broken = f"test -e {mended} && echo resumed >> {diary}"
        await self.start(quiesce={"lead_minutes": 0, "tasks": [
            {"name": "import", "command": {"stop": "true", "resume": broken}},
            {"name": "mail", "command": {"stop": "true", "resume": "true"}}]})
        await self.land(**{"database__schema__patch-1_dot_sql": "ALTER TABLE account ADD COLUMN note text;"})
        quiescence = self.master.service_manager.namedServices[ServiceName.QUIESCENCE]
        quiescence.retry_seconds = 0.1
        build = await self.latest(BuilderName.PRODUCTION, self.waits)
        await self.decide(build)
        build = await self.ended(build)
        owed = await quiescence.owed(build["buildid"])
        mended.touch()
        while await quiescence.owed(build["buildid"]):
            await pause()
        self.assertEqual(build["results"], FAILURE)
        self.assertIn("tried again every minute", (await self.summaries(build))["resume background tasks"])
        self.assertEqual([each.command for each in owed], [broken])
        self.assertEqual(diary.read_text().split(), ["resumed"])

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

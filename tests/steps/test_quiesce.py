"""Background tasks rest for a downtime: stopped in time, looked at, resumed in reverse order, kept for a follower."""

from __future__ import annotations

from typing import Any

import psycopg2
from buildbot.process.results import CANCELLED, FAILURE, SUCCESS, WARNINGS

from downtime.history.stages import Stage, standing
from steps.shared.names import BuilderName, ServiceName
from tests.steps.runbook import PATCH, ARunbook

FIRST, SECOND = "database/schema/patch-1.sql", "database/schema/patch-2.sql"
QUIESCE, RESUME = "quiesce background tasks", "resume background tasks"


class Quiescing(ARunbook):
    """Tasks that write into a diary what is done to them."""

    def a_task(self, name: str, *, stop: str = "true", stopped: str | None = None, **keys: Any) -> dict[str, Any]:
        command = {"stop": f"echo stop-{name} >> {self.folder}/diary; {stop}",
                   "resume": f"echo resume-{name} >> {self.folder}/diary"}
        return {"name": name, "command": {**command, **({"stopped": stopped} if stopped else {})}, **keys}

    @property
    def diary(self) -> list[str]:
        path = self.folder / "diary"
        return path.read_text().split() if path.exists() else []

    async def approved(self, *tasks: dict[str, Any], lead_minutes: int = 0, **sections: Any) -> dict[str, Any]:
        await self.start(quiesce={"lead_minutes": lead_minutes, "tasks": list(tasks)}, **sections)
        self.repository.land({PATCH: "ALTER TABLE account ADD COLUMN note text;"}, "one")
        await self.poll()
        build = await self.latest(BuilderName.PRODUCTION, self.waits)
        await self.decide(build)
        return build

    async def says(self, build: dict[str, Any], *words: str) -> str:
        """The step's summary, as soon as it has these words."""
        async def look() -> dict[str, Any] | None:
            said = (await self.summaries(build)).get(QUIESCE, "")
            return {"said": said} if all(word in said for word in words) else None

        return str((await self.until(look, f"the step to say {words}"))["said"])

    def look_again(self) -> None:
        """Before its time, which is every few seconds."""
        self.master.service_manager.namedServices[ServiceName.TURNS].wake()

    async def begin_now(self, build: dict[str, Any]) -> None:
        await self.force(BuilderName.BEGIN_NOW, "operator", build=str(build["buildid"]), reason="now")

    async def log(self, build: dict[str, Any], name: str) -> str:
        for step in await self.master.data.get(("builds", build["buildid"], "steps")):
            for log in await self.master.data.get(("steps", step["stepid"], "logs")):
                if log["name"] == name:
                    return str((await self.master.data.get(("logs", log["logid"], "contents")))["content"])
        raise AssertionError(f"no log is called {name}")

    async def test_each_is_stopped_in_its_time_and_what_still_has_work_is_a_warning(self) -> None:
        """The longest lead first, the one without a lead right before the downtime, and back in reverse order."""

        quiet = self.folder / "quiet"
        build = await self.approved(
            self.a_task("patroni", lead_minutes=0), self.a_task("mail", stopped=f"test -e {quiet}"),
            self.a_task("import", lead_minutes=90, stopped="echo 3 jobs are left; false"), lead_minutes=90)
        said = await self.says(build, "mail still has work", "import still has work")
        self.assertRegex(said, r"^2 of 3 background tasks are stopped; .* \(\d+ s\);"
                               r" the downtime begins at \d\d:\d\d UTC$")
        self.assertEqual(self.diary, ["stop-mail", "stop-import"])
        quiet.touch()
        self.look_again()
        said = await self.says(build, "2 of 3", "import still has work")
        self.assertNotIn("mail", await self.says(build, "stopped; import still has work"))
        await self.begin_now(build)
        build = await self.ended(build)
        steps = await self.master.data.get(("builds", build["buildid"], "steps"))
        results = {step["name"]: step["results"] for step in steps}

        self.assertEqual(self.diary, ["stop-mail", "stop-import", "stop-patroni",
                                      "resume-patroni", "resume-import", "resume-mail"])
        self.assertEqual((results[QUIESCE], results[RESUME]), (WARNINGS, SUCCESS))
        self.assertIn(build["results"], (SUCCESS, WARNINGS), await self.summaries(build))
        self.assertIn("note", self.columns(self.production))
        summaries = await self.summaries(build)
        self.assertEqual(summaries[QUIESCE],
                         "import still had work when the downtime was to begin (3 background tasks stopped)")
        self.assertEqual(summaries[RESUME], "3 background tasks resumed: patroni, import, mail")
        progress = await self.log(build, "progress")
        self.assertIn("still has work: 3 jobs are left", progress)
        self.assertRegex(progress, r"mail: stopped at .*, quiet since")
        self.assertIn("patroni: not stopped yet", progress)

    async def test_a_task_is_quiet_when_its_users_have_no_session(self) -> None:
        """Production is asked, with the role that patches it."""

        user = psycopg2.extensions.parse_dsn(self.production.target.dsn)["user"]
        session = psycopg2.connect(self.production.server.superuser_dsn(self.production.name))
        other = session.info.user
        build = await self.approved(self.a_task("import", users=[other, "nobody of that name"]), lead_minutes=60)
        await self.says(build, "import still has work")
        self.assertIn(f'"{other}" has 1 session', await self.log(build, "progress"))
        self.assertNotEqual(user, other)
        session.close()

        async def quiet() -> dict[str, Any] | None:
            self.look_again()
            return {} if "quiet since" in await self.log(build, "progress") else None

        await self.until(quiet, "the session to be gone")
        await self.begin_now(build)
        build = await self.ended(build)
        self.assertEqual(build["results"], SUCCESS, await self.summaries(build))
        self.assertEqual((await self.summaries(build))[QUIESCE], "quiesced: 1 background task")

    async def test_a_stop_that_fails_refuses_the_deployment(self) -> None:
        """What was stopped before it is resumed, and so is what it may have stopped itself; nothing else is touched."""

        build = await self.approved(self.a_task("cron"), self.a_task("import", stop="echo no such queue; exit 3"),
                                    self.a_task("mail"))
        build = await self.ended(build)
        summaries = await self.summaries(build)
        self.assertEqual(build["results"], FAILURE)
        self.assertIn("import was not stopped", summaries[QUIESCE])
        self.assertIn("ended with status 3", summaries[QUIESCE])
        self.assertEqual(self.diary, ["stop-cron", "stop-import", "resume-import", "resume-cron"])
        self.assertIn("no such queue", await self.log(build, "stop import"))
        self.assertIn("environments.production.quiesce", await self.log(build, "what happened"))
        self.assertNotIn("note", self.columns(self.production))

    async def test_a_stop_that_hangs_is_ended_at_its_limit(self) -> None:
        """And its task is resumed: nobody knows how far it had come."""

        build = await self.approved(self.a_task("import", stop="sleep 300", stop_seconds=0.3))
        build = await self.ended(build)
        self.assertIn("was not done within 0.3 s", (await self.summaries(build))[QUIESCE])
        self.assertEqual(self.diary, ["stop-import", "resume-import"])

    async def test_a_check_that_hangs_is_not_quiet_and_holds_nothing_up(self) -> None:
        """It is asked within its limit; an operator who begins now does not wait for it."""

        build = await self.approved(self.a_task("import", stopped="sleep 300", stopped_seconds=0.3))
        build = await self.ended(build)
        self.assertIn("import still had work", (await self.summaries(build))[QUIESCE])
        self.assertIn("was not done within 0.3 s", await self.log(build, "progress"))
        self.assertIn("note", self.columns(self.production))

    async def test_stop_while_tasks_are_being_quiesced_resumes_them(self) -> None:
        """Nobody waits for the downtime that will not come, nor for a command that hangs."""

        build = await self.approved(self.a_task("cron"), self.a_task("import", stop="sleep 300"), lead_minutes=60)

        async def stopping() -> dict[str, Any] | None:
            return {} if "stop-import" in self.diary else None

        await self.until(stopping, "the second task to be stopped")
        await self.master.data.control("stop", {"reason": "not today"}, ("builds", build["buildid"]))
        build = await self.ended(build)
        self.assertEqual(build["results"], CANCELLED)
        self.assertEqual(self.diary, ["stop-cron", "stop-import", "resume-import", "resume-cron"])

    async def both_approved(self, first: str = "ALTER TABLE account ADD COLUMN first text;") -> list[dict[str, Any]]:
        """Two patches, the second waiting for the first, whose tasks are stopped an hour before its downtime."""
        await self.start(quiesce={"lead_minutes": 60, "tasks": [self.a_task("cron"), self.a_task("import")]})
        self.repository.land({FIRST: first}, "one")
        self.repository.land({SECOND: "ALTER TABLE account ADD COLUMN second text;"}, "two")
        await self.poll()
        approvals = self.master.service_manager.namedServices[ServiceName.APPROVALS]
        builds = []
        for patch in ("patch-1", "patch-2"):
            def waits(build: dict[str, Any], patch: str = patch) -> bool:
                request = approvals.waiting(build["buildid"])
                return request is not None and request.patch_id == patch
            builds.append(await self.latest(BuilderName.PRODUCTION, waits))
        for build in builds:
            await self.decide(build)
        await self.says(builds[0], "all 2 background tasks are stopped")
        await self.reaches("patch-2", Stage.WAITING_TURN)
        return builds

    async def reaches(self, patch: str, stage: Stage) -> None:
        journal = self.master.service_manager.namedServices[ServiceName.JOURNAL]

        async def look() -> dict[str, Any] | None:
            journey = journal.journey(patch)
            return {} if journey is not None and standing(journey).stage is stage else None

        await self.until(look, f"{patch} to be {stage}")

    async def test_for_the_deployment_that_follows_they_stay_stopped(self) -> None:
        """It does not wait its hour again, and one that nobody follows resumes them."""

        first, second = await self.both_approved()
        await self.begin_now(first)
        ended = [await self.ended(build) for build in (first, second)]
        self.assertEqual([build["results"] for build in ended], [SUCCESS, SUCCESS], await self.summaries(ended[1]))
        self.assertEqual(self.diary, ["stop-cron", "stop-import", "resume-import", "resume-cron"])
        self.assertEqual((await self.summaries(first))[RESUME],
                         "left stopped for the deployment that follows: import, cron")
        self.assertEqual((await self.summaries(second))[RESUME], "2 background tasks resumed: import, cron")
        self.assertLessEqual({"first", "second"}, self.columns(self.production))
        self.assertFalse(self.master.service_manager.namedServices[ServiceName.QUIESCENCE].kept)

    async def test_behind_a_patch_that_was_not_applied_nobody_follows(self) -> None:
        """The second must wait for the first: the tasks are resumed at once."""

        first, second = await self.both_approved()
        self.production.admin_sql("ALTER TABLE account ADD COLUMN first text")  # so that the patch fails
        await self.begin_now(first)
        first = await self.ended(first)
        self.assertEqual(first["results"], FAILURE)
        self.assertEqual((await self.summaries(first))[RESUME], "2 background tasks resumed: import, cron")
        self.assertEqual(self.diary, ["stop-cron", "stop-import", "resume-import", "resume-cron"])
        await self.reaches("patch-2", Stage.WAITING_TURN)
        await self.master.data.control("stop", {"reason": "enough"}, ("builds", second["buildid"]))
        await self.ended(second)

"""The linter on the staging build: what it refuses is held back, told with its line, and freed by a reason."""

from __future__ import annotations

from typing import Any

from buildbot.process.results import FAILURE, WARNINGS

from steps.shared.names import BuilderName
from tests.steps import runbook

COLUMN = "ALTER TABLE account DROP COLUMN name;"


class ALintedLanding(runbook.ARunbook):
    """With a rule that is to refuse patches."""

    async def logs_of(self, build: dict[str, Any], step: str) -> dict[str, str]:
        steps = {each["name"]: each["stepid"] for each in await self.master.data.get(
            ("builds", build["buildid"], "steps"))}
        logs = await self.master.data.get(("steps", steps[step], "logs"))
        return {log["name"]: (await self.master.data.get(("logs", log["logid"], "contents")))["content"]
                for log in logs}

    async def test_what_the_linter_refuses_is_held_back_until_it_gives_a_reason(self) -> None:
        """File, line and rule are in the log; a correction in a later landing is enough."""

        await self.start(lint={"block": ["ban-drop-column"]})
        await self.land(**{"database__schema__patch-1_dot_sql": f"SELECT 1;\n{COLUMN}"})
        rejected = await self.latest(BuilderName.STAGING, lambda build: build["complete"])
        logs = await self.logs_of(rejected, "judge the landing")
        said = await self.summaries(rejected)
        self.assertEqual(rejected["results"], FAILURE, said)
        self.assertIn("is refused by the linter (ban-drop-column in line 2)", said["judge the landing"])
        self.assertIn("the linter refuses", said["rehearse on staging"])
        self.assertIn("Next: correct the patch, or give the reasons in it", logs["what happened"])
        self.assertIn(f"{runbook.PATCH}:2: ban-drop-column: ", logs["lint"])
        self.assertIn("name", self.columns(self.staging))

        await self.land(**{"database__schema__patch-1_dot_sql":
                           f"SELECT 1;\n-- waive ban-drop-column: nobody reads it\n{COLUMN}"})
        accepted = await self.latest(
            BuilderName.STAGING, lambda build: build["complete"] and build["buildid"] > rejected["buildid"])
        logs = await self.logs_of(accepted, "judge the landing")
        self.assertNotIn("name", self.columns(self.staging), await self.summaries(accepted))
        self.assertIn("[waived: nobody reads it]", logs["lint"])

    async def test_a_sign_off_frees_what_the_linter_refuses(self) -> None:
        """As with other rejected landings, production needs a sign-off person again."""

        await self.start(lint={"block": ["ban-drop-column"]})
        await self.land(**{"database__schema__patch-1_dot_sql": COLUMN})
        rejected = await self.latest(BuilderName.STAGING, lambda build: build["complete"])
        freed = await self.force(BuilderName.STAGING, "architect", signoff_patch="patch-1", reason="it is unused")
        self.assertEqual(rejected["results"], FAILURE)
        self.assertEqual(freed["results"], WARNINGS, await self.summaries(freed))
        self.assertNotIn("name", self.columns(self.staging))

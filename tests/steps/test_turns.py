"""Approved deployments wait for patches before them and for their window, and the journal tells the way of each."""

from __future__ import annotations

from typing import Any

from downtime.history.events import Outcome
from downtime.history.journey import Journey
from downtime.history.stages import Stage, standing
from steps.shared.names import BuilderName, ServiceName
from tests.steps.runbook import ARunbook

FIRST, SECOND = "database/schema/patch-1.sql", "database/schema/patch-2.sql"
CLOSED = {"cron": ["0 0 29 2 *"], "minutes": 1}  # unless the tests run on a leap day at midnight


class Turns(ARunbook):
    """Two patches, and a window that is years away."""

    async def landed(self) -> list[dict[str, Any]]:
        """The builds that wait for the approval of both."""
        await self.start(windows=CLOSED)
        self.repository.land({FIRST: "ALTER TABLE account ADD COLUMN first text;"}, "one")
        self.repository.land({SECOND: "ALTER TABLE account ADD COLUMN second text;"}, "two")
        await self.poll()
        return [await self.latest(BuilderName.PRODUCTION, lambda build, patch=patch: self.waits_for(build, patch))
                for patch in ("patch-1", "patch-2")]

    def waits_for(self, build: dict[str, Any], patch: str) -> bool:
        approvals = self.master.service_manager.namedServices[ServiceName.APPROVALS]
        request = approvals.waiting(build["buildid"])
        return request is not None and request.patch_id == patch

    def journey(self, patch: str) -> Journey:
        found = self.master.service_manager.namedServices[ServiceName.JOURNAL].journey(patch)
        assert found is not None
        return found

    async def reaches(self, patch: str, stage: Stage, saying: str = "") -> str:
        """What the patch's standing says once it has got there."""
        async def look() -> dict[str, Any] | None:
            here = standing(self.journey(patch))
            return {"sentence": here.sentence} if here.stage is stage and saying in here.sentence else None

        return str((await self.until(look, f"{patch} to be {stage}"))["sentence"])

    async def test_two_are_approved_ahead_and_run_in_order_on_an_operators_word(self) -> None:
        """The second does not overtake the first, however it is hurried, and nobody approves it again."""

        first, second = await self.landed()
        early = await self.decide(second)
        self.assertIn("patch-1 must be approved before patch-2", (await self.summaries(early))["decide"])
        for build in (first, second):
            await self.decide(build)
        window = await self.reaches("patch-1", Stage.WAITING_WINDOW)
        await self.reaches("patch-2", Stage.WAITING_TURN, "follows patch-1")
        untouched = self.columns(self.production) & {"first", "second"}
        hurried = await self.force(BuilderName.BEGIN_NOW, "operator", build=str(second["buildid"]), reason="now")
        still_behind = await self.reaches("patch-2", Stage.WAITING_TURN)
        await self.force(BuilderName.BEGIN_NOW, "operator", build=str(first["buildid"]), reason="now")
        ended = [await self.ended(build) for build in (first, second)]

        self.assertIn("window", window)
        self.assertEqual(untouched, set())
        self.assertEqual(hurried["results"], 0)
        self.assertIn("follows patch-1", still_behind)
        self.assertEqual([build["results"] for build in ended], [0, 0])
        self.assertLessEqual({"first", "second"}, self.columns(self.production))
        self.assertEqual([self.journey(patch).deployed is not None for patch in ("patch-1", "patch-2")], [True, True])

    async def test_who_is_no_operator_cannot_hurry_anything(self) -> None:
        """And what does not wait for a time cannot be hurried."""

        first, _ = await self.landed()
        too_early = await self.force(BuilderName.BEGIN_NOW, "operator", build=str(first["buildid"]))
        await self.decide(first)
        await self.reaches("patch-1", Stage.WAITING_WINDOW)
        approver = await self.force(BuilderName.BEGIN_NOW, "approver", build=str(first["buildid"]))
        self.assertIn("no approved deployment waits", (await self.summaries(too_early))["begin now"])
        self.assertIn("may not ask for this", (await self.summaries(approver))["begin now"])
        await self.reaches("patch-1", Stage.WAITING_WINDOW)

    async def test_stop_ends_the_wait_and_the_next_one_goes_on_waiting(self) -> None:
        """It is not in production, so the patch behind it still may not begin."""

        first, second = await self.landed()
        for build in (first, second):
            await self.decide(build)
        await self.reaches("patch-1", Stage.WAITING_WINDOW)
        await self.reaches("patch-2", Stage.WAITING_TURN)
        await self.master.data.control("stop", {"reason": "not today"}, ("builds", first["buildid"]))
        await self.ended(first)
        said = await self.reaches("patch-1", Stage.NOT_DEPLOYED)
        self.assertIn("not today", said)
        attempt = self.journey("patch-1").attempt
        assert attempt is not None
        assert attempt.ended is not None
        self.assertEqual(attempt.ended.outcome, Outcome.STOPPED)
        self.assertEqual(standing(self.journey("patch-2")).stage, Stage.WAITING_TURN)

    async def test_another_rehearsal_voids_what_waits_for_its_window(self) -> None:
        """What was approved is not what would run: it is said at once, not when the window opens."""

        first, _ = await self.landed()
        await self.decide(first)
        await self.reaches("patch-1", Stage.WAITING_WINDOW)
        self.staging.admin_sql("DELETE FROM fastdowntime.ledger;"
                               " ALTER TABLE account DROP COLUMN first, DROP COLUMN second")
        await self.force(BuilderName.STAGING, "operator")
        ended = await self.ended(first)
        self.assertEqual(ended["results"], 2)
        attempt = next(each for each in self.journey("patch-1").attempts if each.asked
                       and each.asked.build_id == first["buildid"])
        assert attempt.voided is not None
        self.assertIn("the approval was for evidence", attempt.voided.reason)

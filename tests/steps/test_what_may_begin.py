"""What was approved begins only while nothing speaks against it, and what is no reason to give up is waited for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from downtime import ledger
from downtime.history.events import Outcome
from downtime.history.journey import Journey
from downtime.history.stages import Stage, standing
from steps import s05_await_turn
from steps.shared.names import BuilderName, Property, ServiceName
from tests.builders import a_node
from tests.steps.runbook import PATCH, ARunbook

CLOSED = {"cron": ["0 0 29 2 *"], "minutes": 1}  # unless the tests run on a leap day at midnight


class Beginning(ARunbook):
    """One patch that was approved and waits for a window that is years away."""

    async def approved(self, **sections: Any) -> dict[str, Any]:
        await self.start(windows=CLOSED, **sections)
        self.repository.land({PATCH: "ALTER TABLE account ADD COLUMN note text;"}, "one")
        await self.poll()
        build = await self.latest(BuilderName.PRODUCTION, self.waits)
        await self.decide(build)
        await self.reaches(Stage.WAITING_WINDOW)
        return build

    def journey(self) -> Journey:
        found = self.master.service_manager.namedServices[ServiceName.JOURNAL].journey("patch-1")
        assert found is not None
        return found

    async def reaches(self, stage: Stage) -> None:
        async def look() -> dict[str, Any] | None:
            return {"stage": stage} if standing(self.journey()).stage is stage else None

        await self.until(look, f"patch-1 to be {stage}")

    async def begin_now(self, build: dict[str, Any]) -> None:
        await self.force(BuilderName.BEGIN_NOW, "operator", build=str(build["buildid"]), reason="now")

    async def test_for_what_is_applied_already_no_task_is_stopped(self) -> None:
        """Somebody has applied it from a terminal: an hour without background tasks would be for nothing."""

        diary = self.folder / "diary"
        build = await self.approved(quiesce={"lead_minutes": 0, "tasks": [
            {"name": "import", "command": {"stop": f"echo stopped >> {diary}", "resume": f"echo resumed >> {diary}"}}]})
        node = await a_node(self.production.target)
        await ledger.write(node, patch_id="patch-1", sha256="0" * 64, lane="cold", commit="c" * 40,
                           started_at=datetime.now(UTC), seconds=1.25, origin=ledger.Origin())
        node.close()
        await self.begin_now(build)
        await self.ended(build)
        self.assertIn("is applied already", (await self.summaries(build))["await turn"])
        self.assertFalse(diary.exists())
        self.assertEqual(standing(self.journey()).stage, Stage.DEPLOYED)

    async def test_what_was_recorded_as_a_baseline_is_not_waited_for(self) -> None:
        """The pages would show it as pending for ever, and keep a place for it."""

        build = await self.approved()
        node = await a_node(self.production.target)
        await ledger.write(node, patch_id="patch-1", sha256="0" * 64, lane=ledger.BASELINE, commit="c" * 40,
                           started_at=datetime.now(UTC), seconds=0.0, origin=ledger.Origin())
        node.close()
        await self.begin_now(build)
        await self.ended(build)
        self.assertIsNotNone(self.journey().in_production_at)

    async def test_what_cannot_be_written_down_as_begun_does_not_begin(self) -> None:
        """The state database failed for a moment: the build ends, and no step watches an outage that never comes."""

        build = await self.approved()
        put = self.master.data.updates.setBuildProperty

        async def fail_once(build_id: int, name: str, value: object, source: str) -> None:
            if name == Property.BEGUN:
                raise OSError("disk full")
            await put(build_id, name, value, source)

        self.master.data.updates.setBuildProperty = fail_once
        await self.begin_now(build)
        ended = await self.ended(build)
        self.master.data.updates.setBuildProperty = put
        self.flushLoggedErrors(OSError)
        self.assertEqual(ended["results"], 2)
        self.assertNotIn("note", self.columns(self.production))
        attempt = self.journey().attempt
        assert attempt is not None
        assert attempt.ended is not None
        self.assertEqual(attempt.ended.outcome, Outcome.REFUSED)

    async def test_a_repository_that_is_gone_for_a_moment_costs_no_approval(self) -> None:
        """What waits for days must outlast a git server that is restarted."""

        self.patch(s05_await_turn, "AGAIN_SECONDS", 0.1)
        build = await self.approved()
        here, away = self.folder / "git", self.folder / "away"
        here.rename(away)
        self.master.service_manager.namedServices[ServiceName.TURNS].wake()

        async def cannot_be_asked() -> dict[str, str] | None:
            said = await self.summaries(build)
            return said if "the repository cannot be asked" in said["await turn"] else None

        await self.until(cannot_be_asked, "the step to miss the repository")
        away.rename(here)

        async def waits_again() -> dict[str, str] | None:
            said = await self.summaries(build)
            return said if "waiting for the window" in said["await turn"] else None

        await self.until(waits_again, "the step to wait for its window")
        await self.begin_now(build)
        self.assertEqual((await self.ended(build))["results"], 0)
        self.assertIn("note", self.columns(self.production))

    async def test_nobody_is_asked_about_what_is_on_its_way(self) -> None:
        """Whoever rejected the second request would believe that the patch is not deployed."""

        build = await self.approved()
        again = await self.force(BuilderName.PRODUCTION, "operator", patch="patch-1")
        self.assertTrue(again["complete"], "it waits for a second approval")
        self.assertIn("is approved already", (await self.summaries(again))["admit"])
        self.assertEqual(standing(self.journey()).stage, Stage.WAITING_WINDOW)
        await self.begin_now(build)
        self.assertEqual((await self.ended(build))["results"], 0)

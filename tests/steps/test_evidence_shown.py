"""The evidence at a real buildmaster: what the pages of the rehearsal and of the waiting build show a person."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from buildbot.process.results import SUCCESS

from downtime.evidence import Evidence
from steps.s02_rehearse_on_staging import data_name
from steps.shared.names import BuilderName, ServiceName
from tests.steps import runbook

SQL = """\
-- waive ban-drop-table: nobody reads it
ALTER TABLE account ADD COLUMN note text;
DROP TABLE upload;
UPDATE account SET note = name;
"""


class TheEvidence(runbook.ARunbook):
    """A patch with something to say in every part of its evidence."""

    async def log_of(self, build: dict[str, Any], step: str, log: str) -> str:
        steps = await self.master.data.get(("builds", build["buildid"], "steps"))
        (found,) = [each for each in steps if each["name"] == step]
        logs = await self.master.data.get(("steps", found["stepid"], "logs"))
        (log_id,) = [each["logid"] for each in logs if each["name"] == log]
        contents = await self.master.data.get(("logs", log_id, "contents"))
        return str(contents["content"])

    async def test_both_builds_show_it_and_the_digest_is_that_of_the_document(self) -> None:
        """Locks, rows, lane, waiver and staging's likeness, to who has landed it and to who approves it."""
        await self.start(lint={"block": ["ban-drop-table"]})
        await self.land(**{"database__schema__patch-1_dot_sql": SQL})
        rehearsal = await self.latest(BuilderName.STAGING, lambda build: build["complete"])
        said = (await self.summaries(rehearsal))["rehearse on staging"]
        self.assertEqual(rehearsal["results"], SUCCESS, said)
        self.assertRegex(said, r"^1 patch rehearsed: \d+\.\d{3} s, within target, cold$")
        waiting = await self.latest(BuilderName.PRODUCTION, self.waits)

        for text in (await self.log_of(rehearsal, "rehearse on staging", "patch-1"),
                     await self.log_of(waiting, "await approval", "evidence")):
            for part in ("patch-1 (cold) took", "! ACCESS EXCLUSIVE on table public.account",
                         "rows of public.account: 10 updated", "What costs most:", "Lane: It declares no lane",
                         "Waived: nobody reads it", "Staging is"):
                self.assertIn(part, " ".join(text.split()))

        document = await self.master.data.get(
            ("builds", rehearsal["buildid"], "data", "evidence-patch-1", "value"))
        request = self.master.service_manager.namedServices[ServiceName.APPROVALS].waiting(waiting["buildid"])
        self.assertEqual(hashlib.sha256(document["raw"]).hexdigest(), request.digest)
        self.assertEqual(Evidence.from_json(document["raw"].decode()).patch_id, "patch-1")

    async def test_what_the_linter_refuses_is_told_and_not_run(self) -> None:
        """The landing is held back, or its rehearsal refused; in either case the table stays."""
        await self.start(lint={"block": ["ban-drop-table"]})
        await self.land(**{"database__schema__patch-1_dot_sql": "DROP TABLE upload;"})
        rehearsal = await self.latest(BuilderName.STAGING, lambda build: build["complete"])

        self.assertIn("ban-drop-table", " ".join((await self.summaries(rehearsal)).values()))
        self.assertEqual(self.staging.admin_sql("SELECT to_regclass('upload') IS NOT NULL"), [(True,)])


@pytest.mark.parametrize(("patch_id", "name"), [
    ("patch-2211-03-0", "evidence-patch-2211-03-0"), ("V2.1__x", "evidence-V2.1__x"),
    ("2024/up", "evidence-2024-up-6b12a0da"), ("2024-up", "evidence-2024-up")])
def test_evidence_has_a_name_that_a_path_can_have(patch_id: str, name: str) -> None:
    """Buildbot serves build data by name, and knows letters, digits and few other characters."""
    assert data_name(patch_id) == name


def test_very_long_ids_keep_their_evidence_apart() -> None:
    """Two that begin alike."""
    one, other = data_name(f"{'a' * 300}1"), data_name(f"{'a' * 300}2")

    assert one != other
    assert len(one) <= 256

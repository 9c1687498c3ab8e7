"""The pages in a real buildmaster: served by it, and reading out of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from buildbot.test.util.integration import RunMasterBase
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.web.client import Agent, readBody

from demo.gitrepo import Repository
from downtime.history.journey import Journey
from master.branch import Branch
from master.evidence_store import EvidenceStore
from master.journal import Journal
from master.pages.source import LONGEST_DIFF, MasterSource
from master.recovery import Recovery
from master.web import add_web
from tests.downtime.evidences import EVIDENCE
from tests.downtime.history.histories import a_patch
from tests.master.settings_for_tests import a_settings

PATCH = "database/schema/patch-1.sql"


class ThePages(RunMasterBase):
    """In a real master: the pages are asked over HTTP, and from threads."""

    async def start(self) -> None:
        settings = a_settings(Path.cwd())
        self.repository = Repository(Path.cwd() / "repository")
        config: dict[str, Any] = {"services": [Journal(), EvidenceStore(), Branch(settings=settings)],
                                  "multiMaster": True, "www": {}}
        add_web(config, settings)
        await self.setup_master(config, startWorker=False)
        self.journal: Journal = self.master.service_manager.namedServices[Journal.name]
        self.source = MasterSource(settings, lambda: self.master)

    async def fetch(self, path: str) -> tuple[int, str]:
        port = self.master.www.getPortnum()
        address = f"http://127.0.0.1:{port}/plugins/wsgi_dashboards/deployments/{path}"
        answer = await Agent(reactor).request(b"GET", address.encode())
        return answer.code, (await readBody(answer)).decode()

    def journey(self) -> Journey:
        found = self.journal.journey("patch-1")
        assert found is not None
        return found

    async def test_the_board_is_served_by_the_buildmaster(self) -> None:
        """What the journal has is on it, at the address that Buildbot's own page asks for."""

        await self.start()
        for event in a_patch("waiting", "patch-1"):
            self.journal.note(event)
        status, page = await self.fetch("board")
        self.assertEqual(status, 200)
        self.assertIn('href="deployment?patch=patch-1"', page)
        self.assertEqual((await self.fetch("version"))[1].strip(), json.dumps({"version": "4"}, separators=(",", ":")))
        status, frame = await self.fetch("index.html")
        self.assertEqual((status, "<iframe" in frame), (200, True))

    async def test_a_database_that_is_looked_after_is_in_doubt(self) -> None:
        """Until it answers: the recovery is the only one who knows. Without one nothing is in doubt."""

        await self.start()
        self.assertFalse(self.source.in_doubt())
        recovery = Recovery(settings=self.source.settings)  # nobody listens at the address of these settings
        await recovery.setServiceParent(self.master.service_manager)
        self.assertTrue(self.source.in_doubt())
        self.assertIn("Nobody knows whether production is open", (await self.fetch("board"))[1])

    async def test_the_page_of_a_deployment_reads_evidence_and_patch(self) -> None:
        """From the evidence store and from git; a build without an outage document has none."""

        await self.start()
        commit = self.repository.land({PATCH: "SELECT 1;\n"}, "patch-1")
        commit = self.repository.land({PATCH: "SELECT 2;\n"}, "patch-1 anew")
        await self.master.service_manager.namedServices[Branch.name].tip()
        await self.master.service_manager.namedServices[EvidenceStore.name].keep(EVIDENCE)
        for event in a_patch("deployed", "patch-1"):
            self.journal.note(replace(event, commit=commit) if event.kind == "rehearsed" else event)
        status, page = await self.fetch("deployment?patch=patch-1")
        self.assertEqual(status, 200)
        self.assertIn('<span class="removed">-SELECT 1;', page)
        self.assertIn('<span class="added">+SELECT 2;', page)
        self.assertIn("change the rows in batches", page)
        self.assertEqual(await deferToThread(self.source.outage, 4711), {})

    async def test_a_commit_that_is_gone_is_told(self) -> None:
        """The page is shown all the same."""

        await self.start()
        await self.master.service_manager.namedServices[Branch.name].tip()
        for event in a_patch("queued", "patch-1"):
            self.journal.note(event)
        said = await deferToThread(self.source.patch_diff, self.journey())
        self.assertIn("The repository does not show it", said)

    async def test_a_huge_patch_is_cut(self) -> None:
        """And says how long it is; nobody's browser stands still for it."""

        await self.start()
        commit = self.repository.land({PATCH: "-- x\n" * LONGEST_DIFF}, "patch-1")
        await self.master.service_manager.namedServices[Branch.name].tip()
        for event in a_patch("queued", "patch-1"):
            self.journal.note(replace(event, commit=commit) if event.kind == "rehearsed" else event)
        said = await deferToThread(self.source.patch_diff, self.journey())
        self.assertLess(len(said), LONGEST_DIFF + 100)
        self.assertRegex(said[-60:], r"1,2\d\d,\d\d\d characters in all")

    async def test_the_outage_document_of_a_build_is_read(self) -> None:
        """As the step left it."""

        await self.start()
        database = self.master.db
        builder = await database.builders.findBuilderId("production")
        worker = await database.workers.findWorkerId("worker")
        _, requests = await database.buildsets.addBuildset(
            sourcestamps=[{"codebase": "", "repository": "", "branch": None, "revision": None, "project": ""}],
            reason="", properties={}, builderids=[builder], waited_for=False)
        build_id, _ = await database.builds.addBuild(builder, requests[builder], worker, self.master.masterid, "begins")
        await database.build_data.setBuildData(build_id, "outage", b'{"outage_seconds": 0.2}', "test")
        await database.build_data.setBuildData(build_id, "fleet", b'{"databases": []}', "test")
        self.assertEqual(await deferToThread(self.source.outage, build_id), {"outage_seconds": 0.2})
        self.assertEqual(await deferToThread(self.source.fleet, build_id), {"databases": []})

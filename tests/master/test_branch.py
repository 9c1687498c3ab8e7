"""The service that reads the patches of the branch: who asks together shares a look, and nobody sees an old branch."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from buildbot.test.util.integration import RunMasterBase
from twisted.internet.defer import Deferred, gatherResults

from demo.gitrepo import Repository
from downtime.git import RepositoryError
from master.branch import Branch
from tests.master.settings_for_tests import a_settings

PATCH = "database/schema/patch-{}.sql"


class TheBranch(RunMasterBase):
    """In a real master, of a real repository."""

    async def start(self) -> Branch:
        settings = a_settings(Path.cwd())
        self.repository = Repository(Path.cwd() / "repository")
        await self.setup_master({"services": [Branch(settings=settings)], "multiMaster": True}, startWorker=False)
        found: Branch = self.master.service_manager.namedServices[Branch.name]
        return found

    def count_git(self) -> Path:
        """From here on each git command leaves a line in a file."""
        folder, git = Path.cwd() / "counting", shutil.which("git")
        folder.mkdir()
        (folder / "git").write_text(f'#!/bin/sh\necho "$*" >> {folder}/commands\nexec {git} "$@"\n')
        (folder / "git").chmod(0o755)
        path = os.environ["PATH"]
        self.addCleanup(os.environ.__setitem__, "PATH", path)
        os.environ["PATH"] = f"{folder}:{path}"
        return folder / "commands"

    async def test_ten_who_ask_at_once_share_a_look(self) -> None:
        """Ten deployments that wait for each other look whenever one of them ends: each look was a git command."""

        branch = await self.start()
        commit, commands = self.repository.land({PATCH.format(1): "SELECT 1;\n"}, "the first"), self.count_git()
        tips = await gatherResults([Deferred.fromCoroutine(branch.tip()) for _ in range(10)])
        self.assertEqual({tip.commit for tip in tips}, {commit})
        fetches = [line for line in commands.read_text().splitlines() if " fetch " in line]
        self.assertEqual(len(fetches), 2)  # the first one's, and one that began after the others had asked

    async def test_who_asks_during_a_look_sees_what_has_landed_before(self) -> None:
        """A look that began earlier may have missed it."""

        branch = await self.start()
        first = self.repository.land({PATCH.format(1): "SELECT 1;\n"}, "the first")
        early = Deferred.fromCoroutine(branch.tip())
        second = self.repository.land({PATCH.format(2): "SELECT 2;\n"}, "the second")
        late = await branch.tip()
        self.assertEqual(late.commit, second)
        self.assertIn((await early).commit, {first, second})

    async def test_a_look_that_fails_fails_for_all_and_the_next_one_looks_anew(self) -> None:
        """Nobody waits for ever, and nobody is told an old answer."""

        branch = await self.start()
        self.repository.bare.rename(Path.cwd() / "away")
        asked = [Deferred.fromCoroutine(branch.tip()) for _ in range(3)]
        for each in asked:
            with self.assertRaises(RepositoryError):
                await each
        (Path.cwd() / "away").rename(self.repository.bare)
        commit = self.repository.land({PATCH.format(1): "SELECT 1;\n"}, "the first")
        self.assertEqual((await branch.tip()).commit, commit)

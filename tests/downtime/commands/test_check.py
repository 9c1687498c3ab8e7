"""`python -m downtime check`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.downtime.commands.conftest import DIRECTORY, Project, ended, start, write_settings

IDENTITY = {f"GIT_{role}_{part}": "developer@example.org" for role in ("AUTHOR", "COMMITTER")
            for part in ("NAME", "EMAIL")}


class WorkingTree:
    """What a developer has: a repository with one commit on `devel`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=devel")
        self.write("app.py", "print('hello')\n")
        self.commit()

    def write(self, path: str, text: str) -> None:
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "work")

    def git(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self.folder, check=True, env={**os.environ, **IDENTITY})


@pytest.fixture
def tree(tmp_path: Path) -> WorkingTree:
    write_settings(tmp_path)
    return WorkingTree(tmp_path / "work")


def test_uncommitted_work_is_judged(tree: WorkingTree, tmp_path: Path) -> None:
    """A patch alone is accepted, together with code it is rejected and both are named; production need not be up."""
    check = ("check", "--base", "devel", "--repository", str(tree.folder))
    nothing = ended(start(tmp_path, *check))
    tree.write(f"{DIRECTORY}/patch-1.sql", "-- apply: live\nSELECT 1;\n")
    patch = ended(start(tmp_path, *check, "--offline", "--json"))
    tree.write("app.py", "print('mixed')\n")
    mixed = ended(start(tmp_path, *check, "--offline"))

    assert (nothing.status, nothing.out) == (0, "Not a database landing: it brings no patch.\n")
    assert "the ledger of production could not be read" in nothing.err
    assert (patch.status, patch.document["landing"], patch.document["knows_what_is_applied"]) == (0, "accepted", False)
    assert patch.document["patches"] == [
        {"patch": "patch-1", "path": f"{DIRECTORY}/patch-1.sql", "lane": "live", "lint": []}]
    assert mixed.status == 1
    assert "patch-1.sql may not land together with code (app.py)" in mixed.out


def test_a_branch_is_judged_from_where_it_parted(tree: WorkingTree, tmp_path: Path) -> None:
    """What has landed on the base meanwhile is not the branch's doing."""
    tree.git("switch", "--quiet", "--create", "feature")
    tree.write(f"{DIRECTORY}/patch-1.sql", "SELECT 1;")
    tree.commit()
    tree.git("switch", "--quiet", "devel")
    tree.write("app.py", "print('landed meanwhile')\n")
    tree.commit()

    answer = ended(start(tmp_path, "check", "--base", "devel", "--head", "feature", "--offline", "--repository",
                         str(tree.folder)))

    assert (answer.status, answer.out) == (0, "One patch for the cold lane: patch-1.\n")


def test_an_unknown_base_is_wrong_usage(tree: WorkingTree, tmp_path: Path) -> None:
    """The message names it."""
    answer = ended(start(tmp_path, "check", "--base", "nowhere", "--offline", "--repository", str(tree.folder)))

    assert answer.status == 2
    assert "nowhere" in answer.err


def test_an_edited_patch_that_production_has_is_rejected(project: Project, tmp_path: Path) -> None:
    """The ledger of production says what is applied."""
    project.land(patch_1="SELECT 1;")
    tree = tmp_path / "work"
    subprocess.run(["git", "clone", "--quiet", project.repository.url, str(tree)], check=True)
    baseline = project.run("baseline", "patch-1", "--yes")
    (tree / DIRECTORY / "patch-1.sql").write_text("SELECT 2;")

    answer = project.run("check", "--base", "HEAD", "--repository", str(tree), "--json")

    assert (baseline.status, answer.status) == (0, 1)
    assert [reason["kind"] for reason in answer.document["reasons"]] == ["edited"]


def test_the_linter_speaks_before_a_landing(tree: WorkingTree, tmp_path: Path) -> None:
    """Its findings are told; those whose rule the settings name refuse, until the patch gives a reason."""
    check = ("check", "--base", "devel", "--offline", "--repository", str(tree.folder))
    patch = f"{DIRECTORY}/patch-1.sql"
    tree.write(patch, "SELECT 1;\nALTER TABLE account DROP COLUMN name;\n")
    told = ended(start(tmp_path, *check))
    with (tmp_path / "settings.yaml").open("a") as settings:
        settings.write("lint: {block: [ban-drop-column]}\n")
    refused, document = ended(start(tmp_path, *check)), ended(start(tmp_path, *check, "--json")).document
    tree.write(patch, "SELECT 1;\n-- waive ban-drop-column: nobody reads it\nALTER TABLE account DROP COLUMN name;\n")
    waived = ended(start(tmp_path, *check))

    finding = f"{patch}:2: ban-drop-column: Dropping a column may break existing clients."
    assert (told.status, told.out) == (
        0, f"One patch for the cold lane: patch-1.\nThe linter:\n  {finding}\n")
    assert "the linter takes its own default for the server's version" in told.err
    assert refused.status == 1
    assert f"Rejected: {patch} is refused by the linter (ban-drop-column in line 2)" in refused.out
    assert f"{finding} [refuses the patch]" in refused.out
    assert [reason["kind"] for reason in document["reasons"]] == ["lint"]
    assert [(each["line"], each["rule"], each["blocks"]) for each in document["patches"][0]["lint"]] == [
        (2, "ban-drop-column", True)]
    assert document["linted_for"] is None
    assert waived.status == 0
    assert "[waived: nobody reads it]" in waived.out

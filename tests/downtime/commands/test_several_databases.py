"""The commands that look, where production is several databases."""

from __future__ import annotations

from pathlib import Path

from demo.servers import Server
from downtime import install
from tests.databases import MakeDatabase
from tests.downtime.commands.conftest import MakeProject, ended, start, write_settings
from tests.downtime.fleet.fleets import with_others


def test_plan_require_and_baseline_speak_of_all_of_them(
        make_project: MakeProject, server: Server, make_database: MakeDatabase) -> None:
    """A patch is pending while one of them lacks it, and code that needs it is not deployed before."""
    project = make_project(gate="refuse")
    other = make_database(server, gate="refuse")
    project.land(patch_1="SELECT 1;", patch_2="SELECT 2;")
    project.run("baseline", "patch-1", "--yes")  # of the canary, while it was alone
    with_others(project.folder, [other])

    planned, text = project.run("plan", "--json").document, project.run("plan").out
    required = project.run("require", "patch-1")
    recorded = project.run("baseline", "patch-1", "--yes", "--json")
    afterwards = project.run("require", "patch-1")

    assert [each["patch"] for each in planned["pending"]] == ["patch-1", "patch-2"]
    assert planned["half_way"] == {"patch-1": ["tenant-1"]}
    assert "patch-1 is lacking in tenant-1, and others have it" in text
    assert required.status == 1
    assert f"patch-1 is not applied to production ({other.target.label})" in required.err
    assert recorded.document["databases"] == {"canary": [], "tenant-1": ["patch-1"]}
    assert other.admin_sql("SELECT id, lane FROM fastdowntime.ledger") == [("patch-1", "baseline")]
    assert afterwards.status == 0
    assert "and 1 more) since" in afterwards.out
    assert project.run("plan", "--json").document["half_way"] == {}


def test_install_prints_the_script_of_each(tmp_path: Path, server: Server, make_database: MakeDatabase) -> None:
    """By its name; without one the canary's, and a word on the others."""
    other = make_database(server, gate=None)
    write_settings(tmp_path)
    with_others(tmp_path, [other])

    canary, named = ended(start(tmp_path, "install")), ended(start(tmp_path, "install", "--member", "tenant-1"))
    unknown = ended(start(tmp_path, "install", "--member", "tenant-9"))

    assert canary.out == install.script("app", "patcher", "hold")
    assert "--member: tenant-1" in canary.err
    assert named.out == install.script(other.name, "patcher", "hold")
    assert (unknown.status, unknown.out) == (2, "")

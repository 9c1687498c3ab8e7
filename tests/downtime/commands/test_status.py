"""`python -m downtime status` and `reopen`."""

from __future__ import annotations

from pathlib import Path

import pytest
from psycopg2 import sql as composed

from downtime import marker
from downtime.commands.status import standing
from downtime.condition import Condition
from downtime.marker import Door
from downtime.settings import load
from tests.databases import Database
from tests.downtime.commands.conftest import MakeProject, Project, ended, start, write_settings


def a_door(*, is_open: bool = True, text: str | None = None) -> Door:
    return Door(database="app", open=is_open, role="patcher" if text else None, text=text)


def _close_as_a_dead_run(database: Database) -> None:
    """What a crash of the server leaves of gate "refuse": closed and marked, and nobody holds the lease."""
    database.server.admin_sql(composed.SQL("SET ROLE patcher; {}").format(
        marker.closing(database.name, by="by backend 1")))


def _close_as_an_administrator(database: Database) -> None:
    database.server.admin_sql(composed.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(
        composed.Identifier(database.name)))


@pytest.mark.parametrize(("door", "lease_held", "words", "next_command"), [
    (a_door(), False, "accepts connections", ""),
    (a_door(is_open=False), False, "an administrator did", ""),
    (a_door(is_open=False, text="closed by backend 1"), True, "a deployment is under way", ""),
    (a_door(is_open=False, text="closed by backend 1"), False, "its deployer is dead",
     "python -m downtime reopen --environment production"),
    (a_door(text="closed by backend 1"), False, "still carries the mark", ""),
])
def test_only_what_a_dead_run_closed_needs_an_operator(tmp_path: Path, door: Door, lease_held: bool,
                                                       words: str, next_command: str) -> None:
    """Who closed the door, and whether somebody alive will open it, decides."""
    write_settings(tmp_path)
    environment = load(tmp_path / "settings.yaml").environment("production")

    shown = standing(environment, Condition(door=door, lease_held=lease_held, inside=None), None)

    assert words in shown.lines[1]
    assert shown.next_command == next_command


def test_every_environment_is_shown_with_what_it_has_and_lacks(project: Project) -> None:
    """Without an installation it says how to make one."""
    project.land(patch_1="SELECT 1;", patch_2="SELECT 2;")
    project.run("baseline", "patch-1", "--yes")
    project.staging.admin_sql("DROP SCHEMA fastdowntime CASCADE")

    text = project.run("status")
    staging, production = project.run("status", "--json").document["environments"]

    assert text.status == 0
    assert "no ledger: python -m downtime install" in text.out
    assert (staging["installed"], production["installed"]) == (False, True)
    assert (production["applied"], production["pending"]) == (1, ["patch-2"])
    assert production["last_applied"]["id"] == "patch-1"


def test_what_a_dead_run_closed_exits_with_4_until_it_is_reopened(make_project: MakeProject) -> None:
    """The next command is named, it opens the database, and afterwards there is nothing to undo."""
    project = make_project(gate="refuse")
    project.land(patch_1="SELECT 1;")
    _close_as_a_dead_run(project.production)

    closed = project.run("status", "--environment", "production")
    reopened = project.run("reopen", "--json")
    again = project.run("reopen")

    assert closed.status == 4
    assert "Next: python -m downtime reopen --environment production" in closed.out
    assert (reopened.status, reopened.document["changed"]) == (0, True)
    assert (again.status, "nothing to undo" in again.out) == (0, True)
    project.production.connect("app")


def test_what_an_administrator_closed_is_shown_and_left_closed(make_project: MakeProject) -> None:
    """Exit status 0: nothing is wrong that an operator of ours would have to put right."""
    project = make_project(gate="refuse")
    project.land(patch_1="SELECT 1;")
    _close_as_an_administrator(project.staging)

    shown = project.run("status", "--environment", "staging")
    left = project.run("reopen", "--environment", "staging", "--json")

    assert shown.status == 0
    assert "an administrator did" in shown.out
    assert (left.status, left.document["changed"]) == (0, False)


def test_a_server_and_a_repository_that_cannot_be_reached_are_shown(tmp_path: Path) -> None:
    """On a bad day the command still answers."""
    write_settings(tmp_path)

    answer = ended(start(tmp_path, "status"))

    assert answer.status == 0
    assert answer.out.count("cannot be asked: cannot connect to localhost") == 2
    assert "pending patches are not shown" in answer.err


def test_the_self_test_closes_the_gate_for_a_moment(project: Project) -> None:
    """It says how long, and the database is open again."""
    project.land(patch_1="SELECT 1;")

    tested = project.run("status", "--self-test", "--environment", "staging", "--json")

    assert tested.status == 0
    assert tested.document["self_test"]["gate"] == "hold"
    assert 0 < tested.document["self_test"]["closed_seconds"] < 5
    assert tested.document["environments"][0]["accepts_connections"] is True


def test_the_self_test_asks_before_it_closes_production(tmp_path: Path) -> None:
    """And nobody closes any database by leaving an option out."""
    write_settings(tmp_path)

    unasked = ended(start(tmp_path, "status", "--self-test", "--environment", "production"))
    unnamed = ended(start(tmp_path, "status", "--self-test"))

    assert (unasked.status, "--yes" in unasked.err) == (1, True)
    assert (unnamed.status, "--environment" in unnamed.err) == (2, True)

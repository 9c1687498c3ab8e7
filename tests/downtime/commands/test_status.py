"""`python -m downtime status` and `reopen`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml
from psycopg2 import sql as composed

from demo.pgbouncer import ADMINISTRATOR, CONSOLE
from demo.servers import Server
from downtime import errors, marker
from downtime.commands.queue_of_buildbot import PATH
from downtime.commands.standings import of_all, standing
from downtime.condition import Condition, Inside
from downtime.held import Holding, Kind
from downtime.marker import Door
from downtime.pooler import Pause
from downtime.settings import load
from tests.databases import Database, MakeDatabase
from tests.downtime.commands.conftest import MakeProject, Project, ended, start, write_settings
from tests.downtime.fleet.fleets import with_others
from tests.poolers import MakePooler, console_of, paused

COLD, LIVE = "-- apply: cold\nSELECT pg_sleep(0.06);\n", "-- apply: live\nSELECT 1;\n"


@pytest.fixture
def buildbot() -> Iterator[str]:
    """The address of a buildmaster that knows of patch-2 and nothing else."""
    document = json.dumps({"entries": [{
        "place": 1, "patch": "patch-2", "stage": "waiting for the window", "waits_for": "nobody",
        "sentence": "approved; begins in its window", "begins_at": "2026-03-04T08:30:00+00:00"}]}).encode()

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == f"/{PATH}" else 404)
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


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


def test_each_of_several_databases_has_a_line(tmp_path: Path) -> None:
    """The canary in full, and then all of them: what is not as it usually is stands behind it, and is acted upon."""
    write_settings(tmp_path)
    settings = yaml.safe_load((tmp_path / "settings.yaml").read_text())
    settings["environments"]["production"]["fleet"] = {"databases": [
        {"name": name, "database": f"postgresql://patcher@localhost:3/{name}"} for name in ("north", "south", "west")]}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(settings))
    members = load(tmp_path / "settings.yaml").environment("production").members()
    held = Holding(kind=Kind.POOLER, place="pooler:6432/pgbouncer", undo={}, by="by backend 1")
    quiet = Inside(deployer=None, waiting_clients=0, invalid_indexes=(), entries=())
    seen = [Condition(door=a_door(), lease_held=False, inside=quiet),
            Condition(door=a_door(), lease_held=False, inside=replace(quiet, held=(held,))),
            errors.CannotConnect(node="localhost:3/south", reason="it is down"),
            Condition(door=a_door(is_open=False), lease_held=False, inside=None)]

    shown = of_all(list(zip(members, seen, strict=True)), None)

    canary, north, south, west = shown.lines[-4:]
    assert "4 databases get the same patches" in "\n".join(shown.lines)
    assert canary.split() == [members[0].member, "localhost:2/app", "open", "0", "-"]
    assert "pooler pooler:6432/pgbouncer is paused, by backend 1: that deployment is dead" in north
    assert "it is down" in south
    assert "an administrator did" in west
    assert [each["member"] for each in shown.facts["databases"]] == [each.member for each in members]
    assert shown.next_command == "python -m downtime reopen --environment production"


def test_a_patch_that_only_some_of_several_databases_have_is_still_to_come(
        make_project: MakeProject, make_database: MakeDatabase, server: Server) -> None:
    """Its next deployment goes on with the others: the queue of the canary alone would say that nothing is left."""
    project = make_project(gate="refuse")
    with_others(project.folder, [make_database(server, gate="refuse")])
    project.land(patch_1="SELECT 1;", patch_2="SELECT 1;")
    project.production.admin_sql(
        "INSERT INTO fastdowntime.ledger (id, sha256, lane, commit, started_at, seconds, build_url, requested_by,"
        " approved_by) VALUES ('patch-1', %s, 'cold', '', now(), 1, '', '', '')", (sha256(b"SELECT 1;").hexdigest(),))

    (shown,) = project.run("status", "--environment", "production", "--json").document["environments"]

    assert [entry["patch"] for entry in shown["queue"]["entries"]] == ["patch-1", "patch-2"]


def test_what_a_dead_run_left_paused_exits_with_4_until_it_goes_on(make_project: MakeProject, make_pooler: MakePooler
                                                                 ) -> None:
    """Which pooler, since when, by whom, and what to type: that resumes it, and then all is well."""
    project = make_project()
    pooler = make_pooler({"app": project.production})
    settings = yaml.safe_load((project.folder / "settings.yaml").read_text())
    settings["environments"]["production"]["poolers"] = [pooler.dsn(user=ADMINISTRATOR, database=CONSOLE)]
    (project.folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    project.land(patch_1="SELECT 1;")
    pause = Pause(console=console_of(pooler), databases=("app",), ended=False, login_retry="15", min_pool_size="0")
    project.production.admin_sql('INSERT INTO fastdowntime.held (kind, place, undo, "by") VALUES (%s, %s, %s, %s)', (
        "pooler", pause.console.label, json.dumps(pause.to_json()), "by backend 1 of 12:00:00"))
    pooler.admin("PAUSE app")

    left = project.run("status", "--environment", "production")
    reopened = project.run("reopen")
    again = project.run("status", "--environment", "production", "--json")

    assert left.status == 4
    assert re.search(f"pooler {pause.console.label} is paused since .*, by backend 1 of 12:00:00: that deployment is "
                     "dead", left.out)
    assert left.out.endswith("Next: python -m downtime reopen --environment production\n")
    assert (reopened.status, '"app" resumed' in reopened.out, paused(pooler)) == (0, True, set())
    (shown,) = again.document["environments"]
    assert (again.status, shown["held"], shown["held_by_dead_run"]) == (0, [], False)


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
    """On a bad day the command still answers, and whoever only looks at its exit status is told that it is one."""
    write_settings(tmp_path)

    answer = ended(start(tmp_path, "status"))

    assert answer.status == 3
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


def test_the_deployments_to_come_are_listed_with_what_they_cost_and_for_whom_they_wait(make_project: MakeProject,
                                                                                       buildbot: str) -> None:
    """Order and seconds by git and the ledgers; who waits by Buildbot."""
    project = make_project(buildmaster={"url": buildbot})
    project.land(patch_1=LIVE, patch_10=LIVE, patch_2=COLD)
    project.run("apply", "patch-1", "--environment", "staging", "--yes", "--no-probe")
    project.run("apply", "patch-2", "--environment", "staging", "--yes", "--no-probe")

    text = project.run("status")
    environments = project.run("status", "--json").document["environments"]

    table = [line.split() for line in text.out.splitlines() if " s  " in line or "-  " in line]
    assert [(cells[1], cells[-4:]) for cells in table] == [
        ("patch-1", ["none", "unknown", "to", "Buildbot"]),
        ("patch-2", ["begins", "2026-03-04", "08:30", "UTC"]),
        ("patch-10", ["-", "unknown", "to", "Buildbot"])]
    assert "3 deployments are pending: 1 cold with " in text.out
    assert "1 live; 1 is not rehearsed yet." in " ".join(text.out.split())
    assert ["queue" in each for each in environments] == [False, True]
    queue = environments[1]["queue"]
    assert [entry["patch"] for entry in queue["entries"]] == ["patch-1", "patch-2", "patch-10"]
    assert [entry["stage"] for entry in queue["entries"]] == [None, "waiting for the window", None]
    (row,) = project.staging.admin_sql("SELECT seconds FROM fastdowntime.ledger WHERE id = 'patch-2'")
    assert queue["expected_outage_seconds"] == queue["entries"][1]["staging_seconds"] == row[0] >= 0.06
    assert queue["buildbot"] == {"url": f"{buildbot}{PATH}", "answers": True, "reason": ""}


def test_a_buildbot_that_is_down_takes_nothing_else_away(make_project: MakeProject) -> None:
    """The queue is shown all the same, with a word on what is not known."""
    project = make_project(buildmaster={"url": "http://127.0.0.1:1/"})
    project.land(patch_1=COLD)

    shown = project.run("status", "--environment", "production")
    queue = project.run("status", "--environment", "production", "--json").document["environments"][0]["queue"]

    assert shown.status == 0
    assert "1 deployment is pending: 1 is not rehearsed yet." in shown.out
    assert " ".join(shown.out.split()).endswith("refused): who waits for whom is not known")
    assert (queue["buildbot"]["answers"], queue["entries"][0]["patch"]) == (False, "patch-1")


def test_nobody_is_asked_about_an_empty_queue(make_project: MakeProject) -> None:
    """Where nothing is pending, nobody waits for anybody."""
    project = make_project(buildmaster={"url": "http://127.0.0.1:1/"})
    project.land(patch_1=COLD)
    project.run("baseline", "patch-1", "--yes")

    shown = project.run("status", "--environment", "production")

    queue = project.run("status", "--environment", "production", "--json").document["environments"][0]["queue"]

    assert "0 pending" in shown.out
    assert "Buildbot" not in shown.out
    assert (queue["deployments"], queue["buildbot"]) == (0, None)

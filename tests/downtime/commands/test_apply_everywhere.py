"""`python -m downtime apply` where production is several databases."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from time import monotonic, sleep
from typing import Any

import pytest

from demo.servers import Server
from tests.databases import Database, MakeDatabase
from tests.downtime.commands.conftest import DEADLINE_SECONDS, MakeProject, Project, ended
from tests.downtime.fleet.fleets import with_others

COLD = "-- apply: cold\nALTER TABLE account ADD COLUMN note text;\n"
LIVE = "-- apply: live\nCREATE INDEX CONCURRENTLY account_name ON account (name);\n"
SLOW_BEHIND_THE_CANARY = (
    "-- apply: cold\nCREATE TABLE added (id int);\n"
    "SELECT pg_sleep(600) WHERE EXISTS (SELECT FROM pg_tables WHERE tablename = 'slow');\n")


@pytest.fixture
def others(server: Server, make_database: MakeDatabase) -> list[Database]:
    return [make_database(server, gate="refuse") for _ in range(3)]


@pytest.fixture
def project(make_project: MakeProject, others: list[Database]) -> Project:
    made = make_project(gate="refuse")
    with_others(made.folder, others, at_once=2)
    return made


def _have(databases: Sequence[Database], patch: str = "patch-1") -> list[bool]:
    return [bool(each.admin_sql("SELECT id FROM fastdowntime.ledger WHERE id = %s", (patch,))) for each in databases]


def _states(document: Any) -> dict[str, str]:
    return {each["name"]: each["state"] for each in document["fleet"]["databases"]}


def test_all_databases_get_the_patch_each_with_its_own_ledger_row(project: Project, others: list[Database]) -> None:
    """The canary is shown as a single database is, and the matrix says what each outage was; asked again nothing is
    pending.
    """
    project.land(patch_1=COLD)
    client = others[1].connect("app")
    client.cursor().execute("SELECT 1")

    answer = project.run("apply", "patch-1", "--yes", "--json", "--requested-by", "operator", "--no-probe")
    document = answer.document

    assert answer.status == 0, answer.err
    assert [phase["state"] for phase in document["phases"]] == ["done"] * 5
    assert _states(document) == dict.fromkeys(["canary", "tenant-1", "tenant-2", "tenant-3"], "done")
    assert [each["kicked"] for each in document["fleet"]["databases"]] == [0, 0, 1, 0]
    assert all(each["outage_seconds"] > 0 for each in document["fleet"]["databases"])
    assert {row for each in (project.production, *others) for row in each.admin_sql(
        "SELECT id, requested_by FROM fastdowntime.ledger")} == {("patch-1", "operator")}
    assert "(4 of 4 done)" in answer.err
    assert project.run("apply", "patch-1", "--yes").status == 1


def test_a_failure_stops_and_the_next_run_goes_on_with_those_that_lack_it(
        project: Project, others: list[Database]) -> None:
    """One that failed has nothing of it, none is begun behind it, and what is done stays done."""
    project.land(patch_1=COLD)
    with_others(project.folder, others, at_once=1)
    others[1].admin_sql("ALTER TABLE account ADD COLUMN note text")

    first = project.run("apply", "patch-1", "--yes", "--no-probe")

    assert first.status == 3
    assert _have([project.production, *others]) == [True, True, False, False]
    assert "2 of 4 databases have it; without it: tenant-2, tenant-3; no more were begun: tenant-2 failed" in first.err
    assert "goes on" in first.err or "passed over" in first.err
    assert any(line.startswith("tenant-3") and "not reached" in line for line in first.out.splitlines())

    others[1].admin_sql("ALTER TABLE account DROP COLUMN note")
    second = project.run("apply", "patch-1", "--yes", "--no-probe", "--json")

    assert second.status == 0, second.err
    assert _states(second.document) == {"canary": "has it already", "tenant-1": "has it already", "tenant-2": "done",
                                        "tenant-3": "done"}
    assert _have(others) == [True] * 3


def test_the_canary_alone_is_hurt_by_a_patch_that_does_not_work(project: Project, others: list[Database]) -> None:
    """None of the others is touched, and the error is the canary's own."""
    project.land(patch_1="-- apply: cold\nALTER TABLE nowhere ADD COLUMN note text;\n")

    answer = project.run("apply", "patch-1", "--yes", "--no-probe", "--json")

    assert (answer.status, answer.document["error"]["kind"]) == (3, "PatchFailed")
    assert _states(answer.document) == {"canary": "failed", "tenant-1": "not reached", "tenant-2": "not reached",
                                        "tenant-3": "not reached"}
    assert _have(others) == [False] * 3


def test_one_database_that_cannot_take_it_keeps_it_from_all(project: Project, others: list[Database]) -> None:
    """Drift, and a ledger that cannot be read, are found before the canary is touched, and are named."""
    project.land(patch_1=COLD)
    others[2].admin_sql("INSERT INTO fastdowntime.ledger (id, sha256, lane, commit, started_at, seconds, build_url,"
                        " requested_by, approved_by) VALUES ('patch-1', repeat('0', 64), 'cold', '', now(), 1, '', '',"
                        " '')")
    drifted = project.run("apply", "patch-1", "--yes", "--no-probe")
    others[2].admin_sql("DROP SCHEMA fastdowntime CASCADE")
    silent = project.run("apply", "patch-1", "--yes", "--no-probe")

    assert drifted.status == 1
    assert "tenant-3: patch-1 was changed after it was applied" in drifted.err
    assert silent.status == 3
    assert "1 of 4 databases cannot be asked: tenant-3" in silent.err
    assert _have([project.production, *others[:2]]) == [False] * 3


def test_one_that_takes_longer_than_a_patch_may_stops_the_others(
        make_project: MakeProject, others: list[Database]) -> None:
    """It has the patch, and the forty behind it wait for somebody's word; asked again, it goes on with them."""
    project = make_project(gate="refuse", budget={"target_seconds": 0.1, "limit_seconds": 0.2})
    with_others(project.folder, others, at_once=1)
    others[0].admin_sql("CREATE TABLE slow (id int)")
    project.land(patch_1=SLOW_BEHIND_THE_CANARY.replace("600", "0.4"))

    answer = project.run("apply", "patch-1", "--yes", "--no-probe", "--json")

    assert answer.status == 3
    assert answer.document["fleet"]["stopped"] == "no more were begun: tenant-1 took too long"
    assert answer.document["fleet"]["databases"][1]["over_budget"] is True
    assert _have(others) == [True, False, False]
    assert project.run("apply", "patch-1", "--yes", "--no-probe").status == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_outages_under_way_end_and_no_other_begins(
        project: Project, others: list[Database], number: signal.Signals) -> None:
    """After Ctrl-C they are rolled back and open; after kill -9 the servers do that by themselves. The next run goes
    on with them.
    """
    project.land(patch_1=SLOW_BEHIND_THE_CANARY)
    for each in others[:2]:
        each.admin_sql("CREATE TABLE slow (id int)")
    process = project.start("apply", "patch-1", "--yes", "--no-probe")
    _poll(lambda: sum(_is_sleeping(each) for each in others[:2]) == 2)

    process.send_signal(number)
    answer = ended(process)

    assert answer.status == (3 if number is signal.SIGINT else -number)
    for each in others[:2]:
        _poll(lambda each=each: each.connect("app"))  # type: ignore[misc]
        each.admin_sql("DROP TABLE slow")
    assert _have([project.production, *others]) == [True, False, False, False]
    if number is signal.SIGINT:
        assert "1 of 4 databases have it" in answer.err
    assert project.run("apply", "patch-1", "--yes", "--no-probe").status == 0
    assert _have(others) == [True] * 3


def test_a_live_patch_goes_through_all_of_them(project: Project, others: list[Database]) -> None:
    """One is told from the other in what is said."""
    project.land(patch_1=LIVE)

    answer = project.run("apply", "patch-1", "--yes", "--json")

    assert answer.status == 0, answer.err
    assert set(_states(answer.document).values()) == {"done"}
    assert all(each.admin_sql("SELECT to_regclass('account_name') IS NOT NULL") == [(True,)] for each in others)
    assert "tenant-2: " in answer.err


def _is_sleeping(database: Database) -> bool:
    return bool(database.server.admin_sql(
        "SELECT pid FROM pg_stat_activity WHERE datname = %s AND query LIKE '%%pg_sleep(600)%%' AND state = 'active'"
        " AND pid <> pg_backend_pid()", (database.name,)))


def _poll(condition: Any) -> None:
    """Await what another process does."""
    deadline = monotonic() + DEADLINE_SECONDS
    while True:
        try:
            if condition():
                return
        except Exception:
            assert monotonic() < deadline, "it has not come about"
        assert monotonic() < deadline, "it has not come about"
        sleep(0.02)

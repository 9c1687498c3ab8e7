"""The deployment to one of several databases, and to several at a time, on real servers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from demo.installations import Installation, installations
from demo.servers import Server
from downtime import errors, phases
from downtime.fleet.matrix import Matrix, Row, State
from downtime.fleet.member import Errand, MemberDeployment, over_budget, result_of
from downtime.fleet.rollout import Rollout
from downtime.patches import Inventory, Lane
from downtime.settings import Environment, Settings
from downtime.settings.sections import Budget
from tests.builders import a_deployment, until
from tests.databases import Database, MakeDatabase
from tests.downtime.commands.conftest import write_settings
from tests.downtime.fleet.fleets import with_others
from tests.downtime.ledgers import written

REPORT = phases.Report(phases=(), started_at=datetime(2024, 1, 1, tzinfo=UTC), outage_seconds=3.0, patch_seconds=2.0,
                       proof_seconds=0.0, applied=True, statements=(), kicked=(), drained=(), error=None)


def an_errand(settings: Settings, *, sql: str = "CREATE TABLE added (id int);") -> Errand:
    deployment = a_deployment(sql=sql)
    return Errand(deployment=deployment, settings=settings, reactor=reactor, inventory=Inventory(
        patches=(deployment.patch,), rules=settings.patches, not_schema=()))


def settings_of(folder: Path, databases: Sequence[Database], *, gate: str) -> Settings:
    """The first one is the canary."""
    write_settings(folder, production=databases[0].target.dsn, gate=gate)
    return with_others(folder, databases[1:])


def a_member(environment: Environment, errand: Errand) -> MemberDeployment:
    return MemberDeployment(environment, errand, say=lambda line: None)


async def test_one_that_has_it_is_passed_over_and_one_with_other_bytes_fails(
        database: Database, make_database: MakeDatabase, tmp_path: Path) -> None:
    """Which of the two it is, its own ledger says; nothing is closed for either."""
    other = make_database(database.server)
    settings = settings_of(tmp_path, [database, other], gate="hold")
    errand = an_errand(settings)
    has, drifted = settings.environment("production").members()
    await written(other, "patch-1", seconds=1.0)

    assert (await a_member(has, errand).run()).state is State.DONE
    assert (await a_member(has, errand).run()).state is State.HAS_IT
    result = await a_member(drifted, errand).run()

    assert (result.state, result.left) == (State.FAILED, errors.Left.UNTOUCHED)
    assert "was changed after it was applied" in result.said


async def test_a_failure_keeps_its_story(database: Database, tmp_path: Path) -> None:
    """Which phase, who was kicked, and how it was left: for the log of that database alone."""
    settings = settings_of(tmp_path, [database], gate="hold")
    client = database.connect("app", application_name="shop")
    client.cursor().execute("SELECT 1")
    member = a_member(settings.environment("production"), an_errand(settings, sql="CREATE TABLE account (id int);"))

    result = await member.run()

    assert (result.state, result.left, result.kicked) == (State.FAILED, errors.Left.REOPENED, 1)
    assert all(words in member.story for words in (
        "already exists", "The database was left reopened", "kick connections", "shop"))


async def test_one_that_is_aborted_before_it_is_closed_was_not_reached(
        server: Server, make_database: MakeDatabase, tmp_path: Path) -> None:
    """It has nothing, and nobody was kicked; in the middle of its patch it is rolled back and open."""
    database = make_database(server, gate="refuse")
    settings = settings_of(tmp_path, [database], gate="refuse")
    errand = an_errand(settings, sql="CREATE TABLE added (id int); SELECT pg_sleep(60);")
    early, late = (a_member(settings.environment("production"), errand) for _ in range(2))

    early.abort("stopped")
    assert (await early.run()).state is State.NOT_REACHED

    running = Deferred.fromCoroutine(late.run())
    await until(lambda: database.server.admin_sql(
        "SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()"),
        "the patch being applied")
    late.abort("stopped")
    result = await running
    assert (result.state, result.left) == (State.FAILED, errors.Left.REOPENED)
    assert database.admin_sql("SELECT to_regclass('added')") == [(None,)]


async def test_gate_hold_goes_through_the_databases_of_each_server_one_after_the_other(
        server: Server, server_of: Callable[[Installation], Server], make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Two servers are closed at a time, and never two outages on one: all databases get it without an error."""
    if len(installations()) < 2:
        pytest.skip("there is one PostgreSQL at hand")
    second = server_of(installations()[1])
    databases = [make_database(each) for each in (server, server, server, second, second)]
    settings = settings_of(tmp_path, databases, gate="hold")
    errand = an_errand(settings, sql="CREATE TABLE added (id int); SELECT pg_sleep(0.1);")
    members = settings.environment("production").members()
    where = {member.member: member.target.server for member in members}
    together: list[list[str]] = []

    def told(row: Row, matrix: Matrix) -> None:
        together.append([where[each.name] for each in matrix.rows if each.result.state is State.UNDER_WAY])

    matrix = await Rollout(members, lambda member: a_member(member, errand), at_once=5, lane=Lane.COLD, known={},
                           told=told).run()

    assert matrix.complete, matrix.lines()
    assert max(map(len, together)) == 2
    assert all(len(set(servers)) == len(servers) for servers in together)


def test_what_took_too_long_is_told_with_both_figures() -> None:
    """A patch is held against the patch's limit, an outage against the outage's; a live patch against neither."""
    budget = Budget(target_seconds=1, limit_seconds=1.5, outage_limit_seconds=2.5)

    result = result_of(REPORT, budget)

    assert (result.state, result.over_budget, result.has_patch, result.stops) == (State.DONE, True, True, True)
    assert result.said == "the patch took 2.000 s, and 1.5 s are allowed"
    assert over_budget(replace(REPORT, patch_seconds=1.0), budget, None) == (
        "the outage took 3.000 s, and 2.5 s are allowed (budget.outage_limit_seconds)")
    assert over_budget(replace(REPORT, patch_seconds=1.0, outage_seconds=1.1), budget, None) == ""


def test_a_patch_that_was_signed_off_to_take_longer_may_take_what_was_foretold() -> None:
    """Half as much again: what somebody has agreed to is no reason to stop behind every database."""
    budget = Budget(target_seconds=0.5, limit_seconds=1, outage_limit_seconds=10)

    assert over_budget(REPORT, budget, 1.5) == ""
    assert over_budget(REPORT, budget, 1.2) == "the patch took 2.000 s, and 1.8 s are allowed"
    assert over_budget(REPORT, budget, 0.9) == "the patch took 2.000 s, and 1 s are allowed"


def test_one_that_is_applied_and_needs_an_operator_stops_all_others() -> None:
    """It counts as done; nobody goes on beside a database that may be closed."""
    error = errors.NeedsOperator(reason="it may be closed", command="look", left=errors.Left.UNKNOWN)

    result = result_of(replace(REPORT, error=error), Budget())

    assert (result.state, result.has_patch, result.stops, result.left) == (
        State.DONE, True, True, errors.Left.UNKNOWN)

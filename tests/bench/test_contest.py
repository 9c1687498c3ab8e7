"""The contest: contenders take turns, each does its job, and what clients saw is worked out rightly."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg2
import pytest

from bench.arena import Direct
from bench.contenders import CommandLine, ContestError, Floor, MigrationTool, Nobody, Patch, Script
from bench.contest import Heat, Load, Outing, Seen, contest
from bench.crowd import Sights, shared_out
from demo import application
from demo.sandbox import DATABASE
from downtime.probing import Report

RUNBOOK = Script(name="runbook", file="runbook.sh")
ONE_SESSION = Script(name="one session", file="one_session.sh")
MIGRATION = MigrationTool(name="migration tool")
OURS = CommandLine(gate="hold", kick="all")
numbers = itertools.count(900)  # of patches, behind those of a contest


def a_report(*, outage: float = 0.1) -> Report:
    now = datetime.now(UTC)
    return Report(since_at=now, until_at=now, attempts=1, successes=1, outage_seconds=outage, resolution_seconds=0.01,
                  persistent_gap_seconds=outage, longest_call_seconds=outage)


def what_was_seen(*, outage: float = 0.1, **errors: dict[str, int]) -> Seen:
    return Seen(probe=a_report(outage=outage), longest_call_seconds=outage, **{"refused": {}, "cut": {}, **errors})


def test_every_round_is_begun_by_another_one() -> None:
    """Who comes behind the slowest meets its clients; that is not always the same one. The seldom ones sit out."""
    heat = Heat(load=Load(name=""), contenders=(RUNBOOK, OURS), seldom=(ONE_SESSION,), rounds=4)

    assert [heat.round(number) for number in range(4)] == [
        [RUNBOOK, OURS, ONE_SESSION], [OURS, RUNBOOK], [RUNBOOK, OURS], [RUNBOOK, OURS, ONE_SESSION]]


def test_an_outage_counts_beyond_the_patch() -> None:
    """And is nothing where nobody was kept out as long as the patch took."""
    outing = Outing(contender="", patch_seconds=2.0, seen=[what_was_seen(outage=each) for each in (2.25, 2.5, 0.01)])

    assert outing.beyond == [0.25, 0.5, 0.0]
    assert outing.median == 0.25


def test_errors_of_all_rounds_are_counted_by_sqlstate() -> None:
    """Apart from each other: who was outside, and who was connected."""
    outing = Outing(contender="", patch_seconds=0.0, seen=[
        what_was_seen(refused={"53300": 2}), what_was_seen(refused={"53300": 1, "55000": 4}, cut={"57P01": 1})])

    assert (outing.refused, outing.cut) == ({"53300": 3, "55000": 4}, {"57P01": 1})


def test_two_looks_at_the_clients_are_one() -> None:
    """They are looked at until all are back; who was away in between is away no more."""
    first = Sights(refused={"53300": 1}, calls=5, longest_call_seconds=0.5, away=3)

    assert first.then(Sights(refused={"53300": 2}, cut={"57P01": 1}, calls=2)) == Sights(
        refused={"53300": 3}, cut={"57P01": 1}, calls=7, longest_call_seconds=0.5, away=0)


def test_clients_are_shared_out_so_that_no_process_has_too_many() -> None:
    """One process that starves would come back late, and a door that is shut too early would look open."""
    shared = shared_out({"idle": 301, "connecting": 148})

    assert [sum(each.values()) for each in shared] == [91, 90, 90, 89, 89]
    assert sum(each["idle"] for each in shared) == 301
    assert shared_out({"idle": 0}) == [{"idle": 0}]


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Direct]:
    made = Direct.create(tmp_path_factory.mktemp("contest") / "sandbox")
    yield made
    made.take_down()


def asked(arena: Direct, question: str) -> list[tuple[Any, ...]]:
    return arena.sandbox.servers["production"].admin_sql(question, database=DATABASE)


def open_and_as_of(arena: Direct) -> list[tuple[Any, ...]]:
    """Whether the database is open, and the number of the last patch that was applied."""
    return asked(arena, "SELECT datallowconn AND datconnlimit = -1, column_default FROM pg_database,"
                        " information_schema.columns WHERE datname = current_database() AND column_name = 'balance'")


def test_what_clients_see_is_told_apart(arena: Direct) -> None:
    """Connected ones are cut by who kicks, nobody where nothing happens; with gate `hold` nobody is turned away; and a
    round is over when all are back."""
    load = Load(name="a few", idle=5, connecting=2, writing=2, reporting=1)
    nobody = Nobody()
    (result,) = contest(arena, [Heat(load=load, contenders=(RUNBOOK, OURS, nobody), rounds=1)], tell=print)
    seen = {name: outing.seen[0] for name, outing in result.outings.items()}

    assert sum(seen[OURS.name].cut.values()) >= 5
    assert sum(seen[RUNBOOK.name].refused.values()) > 0
    assert seen[OURS.name].refused == {}
    assert (seen[nobody.name].refused, seen[nobody.name].cut) == ({}, {})
    assert all(each.probe.outage_seconds > 0 and each.longest_call_seconds > 0 for each in seen.values())


@pytest.mark.parametrize("contender", [RUNBOOK, ONE_SESSION, MIGRATION, Floor(name="floor"), OURS],
                         ids=lambda each: each.name)
def test_a_contender_deploys_and_the_database_is_open_afterwards(arena: Direct, contender: Any) -> None:
    """One that did not do its job would be easily beaten, or beat us easily."""
    patch = Patch(number=next(numbers))
    contender.deploy(arena, patch)

    assert open_and_as_of(arena) == [(True, str(patch.number))]


@pytest.mark.parametrize("contender", [RUNBOOK, ONE_SESSION, Floor(name="floor"), OURS], ids=lambda each: each.name)
def test_a_contender_that_kicks_spares_a_fragile_user_in_a_transaction(arena: Direct, contender: Any) -> None:
    """It gives up, leaves the database open, and says why."""
    before = open_and_as_of(arena)
    with contextlib.closing(psycopg2.connect(arena.sandbox.dsn(application.FRAGILE))) as fragile:
        fragile.cursor().execute("INSERT INTO upload (path) VALUES ('incoming')")
        with pytest.raises(ContestError, match="in the middle of a transaction"):
            contender.deploy(arena, Patch(number=next(numbers)))
        fragile.commit()

    assert open_and_as_of(arena) == before

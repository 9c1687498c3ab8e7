"""What is measured as the work grows: the figures are judged plainly, and the machinery measures what it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.database import Database, a_database
from bench.deployer import Deployer
from bench.growth import inventory, recovery, sessions
from bench.growth.many_patches import import_into, sha256_of, write_settings
from bench.growth.sessions import Kicks
from demo.gitrepo import BRANCH, Repository
from demo.servers import Server
from downtime import deployments, held, settings
from downtime.repository import Repository as Copy
from tests.builders import a_node


@pytest.fixture(scope="module")
def own(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database as the benchmarks have it."""
    with a_database(tmp_path_factory.mktemp("growth") / "server") as database:
        yield database


def kicks(size: int, *, ours: float, bare: float) -> Kicks:
    return Kicks(sessions=size, ours=[ours] * 3, bare=[bare] * 3, check=[0.01] * 3, outage=[ours + 0.02] * 3)


@pytest.mark.parametrize(("ours", "met"), [(1.1, [True, True]), (1.2, [False, True]), (3.0, [False, False])])
def test_a_kick_is_judged_by_the_bare_one_and_by_its_growth(ours: float, met: list[bool]) -> None:
    """With most sessions: at most 1.15 of the bare statement, and ten times as many cost at most ten times as much."""
    section = sessions.section([kicks(100, ours=0.12, bare=0.1), kicks(1000, ours=ours, bare=1.0)])

    assert [each.met for each in section.verdicts] == met


def test_a_round_kicks_the_same_sessions_both_ways(own: Database) -> None:
    """Each contender has had its turn, with as many sessions, and has ended them all."""
    seen = Kicks(sessions=4)
    deployer = Deployer(own.target, gate="hold")
    try:
        sessions.a_round(own, deployer, seen, ours_first=False)
    finally:
        deployer.stop()

    assert [len(each) for each in (seen.ours, seen.bare, seen.check, seen.outage)] == [1, 1, 1, 1]
    assert 0 < seen.ours[0] < seen.outage[0]


def test_planning_is_judged_with_the_largest_inventory() -> None:
    """By the seconds that stock and plan take together, and each part by its growth."""
    section = inventory.section({size: {part: [seconds] for part in inventory.TITLES}
                                 for size, seconds in ((100, 0.02), (1000, 1.5))})

    assert (section.verdicts[0].measured, section.verdicts[0].met) == (3.0, False)
    assert not any(each.met for each in section.verdicts)


async def test_ledger_and_repository_have_the_same_patches(own: Database, tmp_path: Path) -> None:
    """Otherwise a plan would have drift to tell of, which costs more than finding what is pending."""
    repository = Repository.create(tmp_path / "git")
    commits = import_into(repository, (3, 12))
    loaded = settings.load(write_settings(tmp_path, repository, own))
    own.fill_ledger(sha256_of(2))
    copy = Copy(repository.url, BRANCH, tmp_path / "copy")
    await copy.fetch()

    parts = {size: await deployments.inventory_at(copy, loaded, commit) for size, commit in commits.items()}
    rows = own.admin_sql("SELECT id, sha256 FROM fastdowntime.ledger ORDER BY id")

    assert {size: len(each.patches) for size, each in parts.items()} == {3: 3, 12: 12}
    assert rows == [(patch.id, patch.sha256) for patch in parts[12].patches[:2]]
    assert [patch.problems for patch in parts[12].patches if patch.problems] == []


def test_recovery_is_judged_by_its_growth() -> None:
    """Ten times the rows may cost ten times as much, and no more."""
    section = recovery.section({"nobody": [0.01]}, {10: [0.02], 100: [0.02]}, {10: [0.02], 100: [0.4]})

    assert [each.met for each in section.verdicts] == [True, False]


async def test_what_is_reopened_was_closed_and_held(own: Database) -> None:
    """The time is that of opening a closed database and letting go of as many places, and nothing is left."""
    seconds = await recovery.reopen(own.target, 3)
    node = await a_node(own.target)
    left = await held.read(node)
    node.close()

    marks = own.admin_sql("SELECT count(*) FROM pg_db_role_setting WHERE setconfig::text LIKE '%fastdowntime%'")

    assert (seconds > 0, left, marks) == (True, (), [(0,)])


def test_a_killed_deployers_database_opens_and_has_no_patch(own: Database) -> None:
    """The clock stops when a client is in, and it was in mid-patch that the deployer died."""
    own.fill_ledger({})
    seconds = recovery.after_a_death(own, "refuse")

    assert seconds > 0
    assert own.admin_sql("SELECT count(*) FROM fastdowntime.ledger") == [(0,)]

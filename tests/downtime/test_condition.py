"""Looking at real databases."""

from __future__ import annotations

import pytest

from downtime import condition, deployment_lock, errors, held, ledger, node
from downtime.condition import Inside
from downtime.target import Target
from tests.builders import until
from tests.databases import Database, MakeDatabase


async def test_a_fresh_database_has_nothing_to_tell(each_database: Database) -> None:
    """On every version: open, nobody deploys, nobody waits, an empty ledger."""
    seen = await condition.observe(each_database.target)

    assert (seen.door.open, seen.closed_by_dead_run) == (True, False)
    assert seen.inside == Inside(deployer=None, waiting_clients=0, invalid_indexes=(), entries=())


async def test_whoever_deploys_and_what_is_applied_is_shown(database: Database) -> None:
    """The deployer by the name of its session."""
    deployer = await node.connect(database.target, application_name="fastdowntime host 1 patch-1")
    try:
        await deployment_lock.take(deployer)
        database.admin_sql("INSERT INTO fastdowntime.ledger (id, sha256, lane, commit, started_at, seconds)"
                           " VALUES ('patch-0', repeat('0', 64), 'cold', 'c', now(), 1)")
        inside = (await condition.observe(database.target)).inside
    finally:
        deployer.close()

    assert inside is not None
    assert (inside.deployer or "").startswith("fastdowntime host 1 patch-1 of patcher from")
    assert [(type(entry), entry.id) for entry in inside.entries or ()] == [(ledger.Entry, "patch-0")]


async def test_a_database_without_an_installation_has_no_ledger(database: Database,
                                                                make_database: MakeDatabase) -> None:
    """None is not an empty one."""
    bare = make_database(database.server, gate=None)

    inside = (await condition.observe(bare.target)).inside

    assert inside is not None
    assert inside.entries is None


async def test_a_server_that_is_not_there_cannot_be_looked_at() -> None:
    """An error of ours, and no made-up condition."""
    with pytest.raises(errors.CannotConnect):
        await condition.observe(Target(dsn="postgresql://patcher@127.0.0.1:1/app"))


@pytest.mark.parametrize("lives", [True, False])
async def test_what_is_held_is_a_dead_runs_only_where_nobody_deploys(lives: bool, database: Database) -> None:
    """The row is the same; who holds the deployment lock decides."""
    deployer = await node.connect(database.target, application_name="fastdowntime host 1 patch-1")
    await deployment_lock.take(deployer)
    holding = held.of_replay(Target(dsn="postgresql://patcher@standby/app"), by="by a test")
    await held.write(deployer, [holding])
    if not lives:
        deployer.close()
        await until(lambda: database.admin_sql("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'") == [],
                    "the deployment lock coming free")
    seen = await condition.observe(database.target)
    deployer.close()

    assert seen.inside is not None
    assert [each.place for each in seen.inside.held] == [holding.place]
    assert seen.held_by_dead_run == (() if lives else seen.inside.held)

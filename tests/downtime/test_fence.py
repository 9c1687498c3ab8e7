"""Ending backends until they are gone, with a deadline for those that do not go."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from time import monotonic

import pytest

from downtime import deployment_lock, errors, fence
from tests.builders import a_node, until
from tests.databases import Database
from tests.downtime.outages import stopped


async def test_a_backend_is_gone_when_the_fence_returns(each_database: Database) -> None:
    """In the middle of a transaction and seen from another database, on every server; a second call finds nobody."""
    doomed, witness = await a_node(each_database.target), await a_node(each_database.target.with_database("postgres"))
    try:
        backend = await fence.backend_of(doomed)
        await doomed.execute("BEGIN; CREATE TABLE half_done (id int)")
        await fence.end(backend, seen_from=witness)
        await fence.end(backend, seen_from=witness)
    finally:
        doomed.close()
        witness.close()

    assert each_database.admin_sql("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", (backend.pid,)) == [(0,)]
    assert backend.pid == doomed.pid


async def test_a_later_backend_with_the_same_pid_is_left_alone(database: Database) -> None:
    """Pids come again: the start of the backend tells them apart."""
    bystander, witness = await a_node(database.target), await a_node(database.target)
    try:
        backend = await fence.backend_of(bystander)
        earlier = replace(backend, started_at=backend.started_at - timedelta(seconds=1))
        await fence.end(earlier, seen_from=witness)
        await bystander.execute("SELECT 1")
    finally:
        bystander.close()
        witness.close()

    assert earlier.name != backend.name


async def test_a_backend_that_does_not_end_is_named_at_the_deadline(database: Database) -> None:
    """And once it can, it ends: it was told to."""
    survivor, witness = await a_node(database.target), await a_node(database.target)
    backend = await fence.backend_of(survivor)
    try:
        with stopped(survivor.pid):
            began = monotonic()
            with pytest.raises(fence.SurvivingBackends, match=f"still there: pid {survivor.pid}") as caught:
                await fence.end(backend, seen_from=witness, seconds=0.3)
            seconds = monotonic() - began
        await until(lambda: survivor.closed, "the backend ending")
    finally:
        survivor.close()
        witness.close()

    assert caught.value.backends == (backend.pid,)
    assert 0.3 <= seconds < 0.3 + 5 * fence.ANSWER_SECONDS


async def test_whoever_holds_the_deployment_lock_is_ended(database: Database) -> None:
    """Seen from another database; sessions that hold none go on, and one that does not end is named."""
    deployer, bystander = await a_node(database.target), await a_node(database.target)
    witness = await a_node(database.target.with_database("postgres"))
    try:
        await deployment_lock.take(deployer)
        with stopped(deployer.pid), pytest.raises(fence.SurvivingBackends, match=f"pid {deployer.pid}"):
            await fence.end_deployers(database.name, seen_from=witness, seconds=0.3)
        await fence.end_deployers(database.name, seen_from=witness)
        await bystander.execute("SELECT 1")
        with pytest.raises(errors.ConnectionLost):
            await deployer.execute("SELECT 1")
    finally:
        for node in (deployer, bystander, witness):
            node.close()


async def test_a_server_that_does_not_answer_is_not_waited_for(database: Database) -> None:
    """The session that looks hangs: the deadline of an answer is short, and nobody takes silence for an end."""
    doomed, witness = await a_node(database.target), await a_node(database.target)
    backend = await fence.backend_of(doomed)
    try:
        with stopped(witness.pid):
            began = monotonic()
            with pytest.raises(errors.DeadlineExceeded):
                await fence.end(backend, seen_from=witness)
            assert monotonic() - began < 5 * fence.ANSWER_SECONDS
    finally:
        doomed.close()
        witness.close()

"""What a deployment holds outside the database is written down in it before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet import reactor

from downtime import errors, held
from downtime.held import Holding, Kind
from downtime.node import Node
from downtime.parallel import in_parallel
from downtime.pooler import Pause
from downtime.target import Target
from tests.builders import a_node
from tests.databases import Database, MakeDatabase

CONSOLE = Target(dsn="postgresql://admin@127.0.0.1:1/pgbouncer", password="a secret word")
STANDBY = Target(dsn="postgresql://patcher@127.0.0.1:2/app", password="a secret word")


def a_pause(**given: Any) -> Pause:
    return Pause(**{"console": CONSOLE, "databases": ("app", 'o"dd'), "ended": False, "login_retry": "15",
                    "min_pool_size": "0", **given})


def two_holdings(*, by: str = "by a test") -> tuple[Holding, Holding]:
    return held.of_pause(a_pause(), by=by), held.of_replay(STANDBY, by=by)


@asynccontextmanager
async def a_session(database: Database) -> AsyncIterator[Node]:
    node = await a_node(database.target)
    try:
        yield node
    finally:
        node.close()


async def test_what_is_written_is_read_by_others_and_removed(each_database: Database) -> None:
    """By the patching role, on every version; each with the instant from which it is held."""
    async with a_session(each_database) as writer, a_session(each_database) as reader:
        await held.write(writer, two_holdings())
        read = await held.read(reader)
        await held.remove(writer, two_holdings()[:1])
        left = await held.read(reader)
        await held.remove(writer, two_holdings())
        await held.remove(writer, two_holdings())
        in_the_end = await held.read(reader)

    assert [replace(each, since=None) for each in read] == list(two_holdings())
    assert all(each.since is not None and each.since.tzinfo is not None for each in read)
    assert [each.kind for each in left] == [Kind.REPLAY]
    assert in_the_end == ()


async def test_rows_are_removed_side_by_side_over_one_session(database: Database) -> None:
    """Two poolers go on at once: one removal's COMMIT must not end the other's transaction, nor a ROLLBACK undo it."""
    async with a_session(database) as node:
        await held.write(node, two_holdings())
        node.notices.take()
        await in_parallel(held.remove(node, [each]) for each in two_holdings())

        assert (await held.read(node), node.notices.take()) == ((), [])


async def test_no_password_is_written(database: Database) -> None:
    """Whoever may read the table, and every backup, would have it."""
    async with a_session(database) as node:
        await held.write(node, two_holdings())

    assert "secret" not in str(database.admin_sql("SELECT held::text FROM fastdowntime.held AS held"))


async def test_what_a_dead_run_has_left_is_not_overwritten(database: Database) -> None:
    """What it says of the state before would be lost; nothing at all is written then."""
    pooler, replay = two_holdings(by="by a dead run")
    async with a_session(database) as node:
        await held.write(node, [pooler])
        with pytest.raises(held.LeftBehind) as caught:
            await held.write(node, two_holdings(by="by a living one"))
        left = await held.read(node)

    assert [(each.kind, each.by) for each in left] == [(Kind.POOLER, "by a dead run")]
    assert "pooler 127.0.0.1:1/pgbouncer is paused since" in str(caught.value)
    assert (caught.value.exit_status, caught.value.advice) == (4, "python -m downtime reopen --environment NAME")
    assert replay not in left


async def test_another_deployments_rows_stay(database: Database) -> None:
    """A watchdog that comes late removes what was its own."""
    async with a_session(database) as node:
        await held.write(node, two_holdings(by="by a later one"))
        await held.remove(node, two_holdings(by="by an earlier one"))
        left = await held.read(node)

    assert len(left) == 2


async def test_a_database_without_the_table_holds_nothing(database: Database, make_database: MakeDatabase) -> None:
    """One that was installed by an older version, one that never was."""
    bare = make_database(database.server, gate=None)
    database.admin_sql("DROP TABLE fastdowntime.held")
    async with a_session(bare) as never, a_session(database) as older:
        found = (await held.read(never), await held.read(older))

    assert found == ((), ())


def test_a_row_is_told_in_one_harmless_line() -> None:
    """Whoever runs as the patching role may have written it."""
    hostile = Holding(kind=Kind.REPLAY, place="\x1b[2Jdb:1/app\n", undo={}, by="x" * 1000)

    assert hostile.sentence.isprintable()
    assert len(hostile.sentence) < 500


@pytest.mark.parametrize("undo", [{}, {"databases": "app"}, {"databases": [1]}, {"databases": ["app"]}, [], "text"])
async def test_a_row_that_cannot_be_read_is_an_error_of_ours(undo: Any) -> None:
    """It names the place, and nothing is connected to."""
    broken = Holding(kind=Kind.POOLER, place=CONSOLE.label, undo=undo, by="by nobody")

    with pytest.raises(held.CannotUndo, match=f"^{CONSOLE.label}: what was written down"):
        await held.undo(broken, CONSOLE, reactor=reactor)


async def test_a_place_that_does_not_answer_is_an_error_of_ours() -> None:
    """Whoever undoes goes on with the others."""
    for holding in two_holdings():
        with pytest.raises(errors.CannotConnect):
            await held.undo(holding, Target(dsn="postgresql://admin@127.0.0.1:1/app"), reactor=reactor)


@pytest.mark.parametrize("since", ["infinity", "-infinity", "20000-01-01", "4713-01-01 BC"])
async def test_an_instant_that_somebody_has_made_up_is_left_out(since: str, database: Database) -> None:
    """Whoever runs as the patching role may have written it; status, reopen and every deployment ended in an error."""
    async with a_session(database) as node:
        await held.write(node, two_holdings()[:1])
        await node.execute("UPDATE fastdowntime.held SET since = %s", (since,))
        (found,) = await held.read(node)

    assert (found.since, "since" in found.sentence) == (None, False)

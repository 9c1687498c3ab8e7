"""Outages of a database with a PgBouncer before it and hot standbys beside it, all of them real."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg2
import pytest
from twisted.internet.defer import Deferred

from demo.pgbouncer import PgBouncer
from downtime import errors, held
from downtime.phases import Phase, PhaseState
from tests.builders import a_deployment, until
from tests.databases import Database
from tests.downtime.outages import GATES, a_control, is_recorded, prepared, run
from tests.poolers import Callers, MakePooler, login_retry, paused, settings_of
from tests.standbys import Replicated

PATCH = a_deployment(sql="CREATE TABLE added (id int);\nSELECT pg_sleep(0.5);")


async def rows_held(database: Database) -> tuple[held.Holding, ...]:
    async with a_control(database) as node:
        return await held.read(node)


def log_of(report: Any) -> str:
    return "\n".join(phase.log for phase in report.phases)


@pytest.mark.parametrize("gate", GATES)
async def test_clients_behind_a_pooler_see_a_long_call_and_no_error(
        gate: str, pooler: PgBouncer, database: Database, callers: Callable[..., Callers]) -> None:
    """They were not kicked and were not refused; what was held is given back and nothing of it is left."""
    clients = callers(pooler.dsn(user="app", database=database.name), 50)
    await until(lambda: clients.connected == 50, "all clients have connected")
    report = await run(database, PATCH, gate=gate, poolers=(settings_of(pooler),), kick="all")
    calls = clients.calls
    await until(lambda: clients.calls > calls + 50, "all clients go on")

    assert report.error is None
    assert clients.errors == []
    assert clients.longest_seconds > 0.5
    assert (paused(pooler), login_retry(pooler)) == (set(), "15")
    assert await rows_held(database) == ()
    assert "paused" in log_of(report)


@pytest.mark.parametrize("gate", GATES)
async def test_a_failed_patch_lets_the_pooler_go_on(gate: str, pooler: PgBouncer, database: Database) -> None:
    """It failed behind two gates, and both are open."""
    report = await run(database, a_deployment(sql="SELECT 1/0"), gate=gate, poolers=(settings_of(pooler),))

    assert isinstance(report.error, errors.DowntimeError)
    assert report.error.left is errors.Left.REOPENED
    assert (paused(pooler), await rows_held(database), is_recorded(database)) == (set(), (), False)


async def test_a_pooler_that_cannot_be_paused_ends_it_before_the_database_is_closed(
        pooler: PgBouncer, database: Database) -> None:
    """The phase that failed names who was in the way; nobody was kicked."""
    busy = psycopg2.connect(pooler.dsn(user="app", database=database.name))
    with busy.cursor() as cursor:
        cursor.execute("SELECT 1")
    report = await run(database, PATCH, poolers=(settings_of(pooler, pause_seconds=0.2),))
    busy.rollback()
    busy.close()

    assert [phase.state for phase in report.phases][:2] == [PhaseState.FAILED, PhaseState.NOT_REACHED]
    assert report.kicked == ()
    assert (paused(pooler), await rows_held(database), is_recorded(database)) == (set(), (), False)


async def test_stop_does_not_wait_for_a_pooler(pooler: PgBouncer, database: Database) -> None:
    """An operator who stops a deployment that waits for a transaction behind the pooler is heard at once."""
    busy = psycopg2.connect(pooler.dsn(user="app", database=database.name))
    with busy.cursor() as cursor:
        cursor.execute("SELECT 1")
    async with prepared(database, PATCH, poolers=(settings_of(pooler, pause_seconds=25),)) as outage:
        running = Deferred.fromCoroutine(outage.run())
        await until(lambda: paused(pooler) == {database.name}, "the pooler is about to pause")
        outage.abort("stopped")
        report = await running
    busy.rollback()
    busy.close()

    assert isinstance(report.error, errors.Aborted)
    assert paused(pooler) == set()


async def test_what_was_prepared_and_never_run_leaves_nothing(pooler: PgBouncer, database: Database) -> None:
    """A build that is stopped between the preflight and the outage."""
    async with prepared(database, PATCH, poolers=(settings_of(pooler),)):
        assert len(await rows_held(database)) == 1

    assert await rows_held(database) == ()
    assert paused(pooler) == set()


async def test_what_a_dead_run_has_left_paused_refuses_the_next(pooler: PgBouncer, database: Database) -> None:
    """It would take the dead run's pause for its own, and lose what the pooler was like before."""
    holding = held.Holding(kind=held.Kind.POOLER, place=settings_of(pooler).console.label, undo={}, by="by backend 1")
    async with a_control(database) as node:
        await held.write(node, [holding])
    with pytest.raises(held.LeftBehind) as caught:
        async with prepared(database, PATCH, poolers=(settings_of(pooler),)):
            pass

    assert "python -m downtime reopen" in caught.value.explain()
    assert paused(pooler) == set()


async def test_a_fragile_user_on_a_standby_is_respected(replicated: Replicated) -> None:
    """Its report runs there for an hour, and a downtime would end it."""
    reader = replicated.reader(replicated.standbys[0], "process_upload")
    with reader.cursor() as cursor:
        cursor.execute("SELECT * FROM account")
    with pytest.raises(errors.Refused) as caught:
        async with prepared(replicated.database, PATCH, replicas=replicated.settings()):
            pass
    reader.rollback()
    reader.close()

    assert "process_upload" in str(caught.value)


async def test_poolers_and_standbys_together(make_pooler: MakePooler, replicated: Replicated,
                                             callers: Callable[..., Callers]) -> None:
    """What one of them needs does not get in the way of the other: a watchdog's sessions are nobody's to kick."""
    pooler = make_pooler({replicated.database.name: replicated.database})
    clients = callers(pooler.dsn(user="app", database=replicated.database.name), 10)
    await until(lambda: clients.connected == 10, "all clients have connected")
    report = await run(replicated.database, PATCH, poolers=(settings_of(pooler),),
                       replicas=replicated.settings(serve_reads=True))

    assert report.error is None
    assert not [each for each in report.kicked if "watchdog" in each.application]
    assert clients.errors == []
    assert [phase.phase for phase in report.phases if phase.state is PhaseState.DONE] == list(Phase)

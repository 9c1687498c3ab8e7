"""Outages of a database with a PgBouncer before it and hot standbys beside it, all of them real."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.process import ProcessReader
from twisted.logger import capturedLogs

from demo.pgbouncer import PgBouncer
from demo.proxy import Proxy
from downtime import errors, held
from downtime.one_pooler import CannotPause
from downtime.outage import Outage
from downtime.phases import Phase, PhaseState
from downtime.watching import WatchdogFailed
from tests.builders import a_deployment, no_objections, until
from tests.databases import Database
from tests.downtime.outages import GATES, a_control, is_recorded, prepared, run, some_rules, through
from tests.downtime.replicas import is_paused
from tests.downtime.watched import rows
from tests.poolers import Callers, MakePooler, login_retry, paused, settings_of
from tests.standbys import Replicated

PATCH = a_deployment(sql="CREATE TABLE added (id int);\nSELECT pg_sleep(0.5);")


async def rows_held(database: Database) -> tuple[held.Holding, ...]:
    async with a_control(database) as node:
        return await held.read(node)


def our_watchdogs() -> list[int]:
    """Those that this process has started, by pid."""
    stats = {int(each.parent.name): each.read_text() for each in Path("/proc").glob("[0-9]*/stat")}
    ours = [pid for pid, stat in stats.items() if stat.rpartition(")")[2].split()[1] == str(os.getpid())]
    return [pid for pid in ours if b"downtime.watchdog" in Path(f"/proc/{pid}/cmdline").read_bytes()]


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


async def test_nothing_is_paused_without_a_watchdog(pooler: PgBouncer, database: Database) -> None:
    """It was killed between the preflight and the outage: nobody would resume for a deployer that dies."""
    async with prepared(database, PATCH, poolers=(settings_of(pooler),)) as outage:
        (watchdog,) = our_watchdogs()
        with capturedLogs() as said:
            os.kill(watchdog, signal.SIGKILL)
            await until(lambda: said, "the watchdog being gone")
        report = await outage.run()

    assert isinstance(report.error, WatchdogFailed)
    assert report.error.left is errors.Left.REOPENED
    assert "paused in" not in log_of(report)
    assert (paused(pooler), await rows_held(database), is_recorded(database)) == (set(), (), False)


async def test_rows_whose_commit_was_not_heard_of_are_removed(pooler: PgBouncer, database: Database) -> None:
    """They were written, the answer was lost: nothing was paused, and they refused every later deployment."""
    with Proxy("127.0.0.1", database.server.port) as proxy:
        proxy.cut_after(b"COMMIT\0")
        target = through(proxy, database)
        outage = Outage(target, PATCH, some_rules(poolers=(settings_of(pooler, databases=(database.name,)),)))
        preparing = Deferred.fromCoroutine(outage.prepare(no_objections))
        await until(lambda: proxy.has_fallen, "the rows being written")
        await until(lambda: rows(database), "the rows being there")
        proxy.drop()
        with pytest.raises(errors.ConnectionLost):
            await preparing
        await outage.close()

    assert rows(database) == []


async def test_rows_that_cannot_be_removed_are_left_to_the_watchdog(make_pooler: MakePooler, doomed: Database) -> None:
    """The server is away when the deployment ends: its rows said for ever that something was held for a dead run."""
    pooler = make_pooler({doomed.name: doomed})
    async with prepared(doomed, PATCH, poolers=(settings_of(pooler),)):
        doomed.server.kill()
    doomed.server.start()

    await until(lambda: rows(doomed) == [], "the watchdog removing them")
    await until(lambda: not any(isinstance(each, ProcessReader)
                                  for each in reactor.getReaders()),  # type: ignore[attr-defined]
                "the watchdog ending")


async def test_standbys_replay_again_where_a_pooler_cannot_be_paused(make_pooler: MakePooler, replicated: Replicated
                                                                     ) -> None:
    """Replay was paused first; the limit passes while a transaction behind the pooler is waited for."""
    pooler = make_pooler({replicated.database.name: replicated.database})
    busy = psycopg2.connect(pooler.dsn(user="app", database=replicated.database.name))
    with busy.cursor() as cursor:
        cursor.execute("SELECT 1")
    reports = [await run(replicated.database, PATCH, poolers=(settings_of(pooler, pause_seconds=pause_seconds),),
                         replicas=replicated.settings(serve_reads=True), limit_seconds=limit_seconds)
               for pause_seconds, limit_seconds in ((0.2, 60.0), (25.0, 0.5))]
    busy.rollback()
    busy.close()

    assert [type(report.error) for report in reports] == [CannotPause, errors.LimitPassed]
    assert not any(is_paused(replicated, each) for each in replicated.standbys)
    assert (paused(pooler), await rows_held(replicated.database)) == (set(), ())

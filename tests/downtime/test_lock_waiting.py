"""Waiting for a lock: clients feel one short attempt, and not the transaction that is waited for."""

from __future__ import annotations

from time import monotonic

import psycopg2.extensions
import pytest
from twisted.internet.defer import Deferred

from downtime import errors
from downtime.blockers import blocking, still_there
from downtime.live import LivePatchFailed, Report
from downtime.lock_waiting import gives_way
from downtime.settings.sections import Live
from tests.builders import a_node, pause, until
from tests.databases import Database
from tests.downtime.live import (
    ATTACHED,
    DETACH,
    PARTITIONS,
    a_live_application,
    an_old_transaction,
    apply,
    invalid,
    recorded,
)
from tests.downtime.vacuumed import vacuumed

LOCK_SECONDS = 0.2
SHORT_WAIT = Live(lock_seconds=LOCK_SECONDS).model_copy(update={"wait_minutes": 0.02})
ALTER = "ALTER TABLE account ADD COLUMN note text;"

TWENTY_PARTITIONS = f"""
SET ROLE patcher;
CREATE TABLE reading (id int) PARTITION BY RANGE (id);
{"".join(f"CREATE TABLE reading_{n} PARTITION OF reading FOR VALUES FROM ({n}) TO ({n + 1});" for n in range(1, 21))}
GRANT SELECT ON ALL TABLES IN SCHEMA public TO app
"""
AWAITED = """
SELECT relation::regclass::text FROM pg_locks
 WHERE NOT granted AND mode = 'AccessExclusiveLock' AND relation::regclass::text LIKE 'reading%'
"""


async def served_while(database: Database, running: Deferred[object], statement: str, *, seconds: float) -> list[float]:
    """How long each call of a client took that works on while somebody waits for locks."""
    client = await a_node(database.target_of("app"))
    deadline, took = monotonic() + seconds, []
    try:
        while monotonic() < deadline and not running.called:
            began = monotonic()
            await client.execute(statement)
            took.append(monotonic() - began)
            await pause(0.005)
    finally:
        client.close()
    return took


async def served_until_let_go(database: Database, running: Deferred[Report], statement: str,
                              old: psycopg2.extensions.connection) -> tuple[list[float], Report]:
    """How long each call took while `old` was waited for, and what came of the application once it was let go."""
    took = await served_while(database, running, statement, seconds=2.5)
    assert not running.called, "nobody was waited for"
    old.rollback()
    report = await running
    print(f"{database.server.installation}: {len(took)} calls beside the wait, the longest {max(took) * 1000:.0f} ms;"
          f" attempts that failed: {report.retries}")
    return took, report


@pytest.mark.parametrize("work", ["SELECT count(*) FROM account", "UPDATE account SET name = 'y' WHERE id = 1"])
async def test_clients_work_on_while_a_long_transaction_is_waited_for(each_database: Database, work: str) -> None:
    """One attempt queues for lock_seconds; the rest of the wait is made outside the queue, for as long as it takes."""
    old = each_database.connect("app", application_name="report")
    old.cursor().execute("SELECT 1 FROM account")
    lines: list[str] = []
    live = a_live_application(each_database, ALTER, lines, rules=Live(lock_seconds=LOCK_SECONDS))
    running = Deferred.fromCoroutine(live.run(lambda entries: ()))
    took, report = await served_until_let_go(each_database, running, work, old)

    assert report.retries == 1  # the second attempt was not made before the transaction had ended
    assert len(took) > 20
    assert max(took) < LOCK_SECONDS * 5
    assert any(f"waiting for pid {old.info.backend_pid} app (report, idle in transaction)" in line for line in lines)
    assert recorded(each_database) == [("patch-1", "live")]


async def test_after_wait_minutes_it_fails_and_says_who_held_the_lock(database: Database) -> None:
    """With how often it was tried; nothing of the statement is left."""
    old = an_old_transaction(database)
    began = monotonic()
    with pytest.raises(LivePatchFailed, match=r"line 1: .*lock timeout.*live\.wait_minutes") as caught:
        await apply(database, ALTER, rules=SHORT_WAIT)
    seconds = monotonic() - began

    assert f"it was waiting for pid {old.info.backend_pid} app" in str(caught.value)
    assert "RowExclusiveLock on public.account" in str(caught.value)
    assert 1.2 <= seconds < 6
    assert caught.value.left is errors.Left.OPEN


async def test_an_autovacuum_that_does_not_give_way_is_told_with_the_reason(database: Database) -> None:
    """Without the right to set deadlock_timeout no attempt queues long enough, and nobody was told why."""
    database.admin_sql(f"ALTER ROLE patcher IN DATABASE {database.name} RESET deadlock_timeout")
    async with vacuumed(database):
        with pytest.raises(LivePatchFailed, match=r"autovacuum.* gives way to who queues for longer than deadlock_t"):
            await apply(database, ALTER, rules=SHORT_WAIT)


async def test_a_prepared_transaction_is_waited_for_by_its_name(database: Database) -> None:
    """It has no session; the server gives its pid as 0."""
    client = database.connect("app")
    client.cursor().execute("BEGIN; UPDATE account SET name = 'x' WHERE id = 1; PREPARE TRANSACTION 'left over'")
    lines: list[str] = []
    live = a_live_application(database, ALTER, lines, rules=Live(lock_seconds=LOCK_SECONDS))
    running = Deferred.fromCoroutine(live.run(lambda entries: ()))
    try:
        await until(lambda: any('waiting for prepared transaction "left over"' in line for line in lines), "its name")
        await pause(1.0)
        waited = not running.called
    finally:
        database.admin_sql("ROLLBACK PREPARED 'left over'")
    report = await running

    assert (waited, report.retries) == (True, 1)


async def test_an_abort_ends_the_wait_outside_the_queue(database: Database) -> None:
    """There is no statement that could be cancelled."""
    an_old_transaction(database)
    lines: list[str] = []
    live = a_live_application(database, ALTER, lines, rules=Live(lock_seconds=LOCK_SECONDS))
    running = Deferred.fromCoroutine(live.run(lambda entries: ()))
    await until(lambda: any("attempt 2 follows" in line for line in lines), "the wait")
    live.abort("stopped")
    with pytest.raises(errors.Aborted, match="stopped") as caught:
        await running

    assert caught.value.left is errors.Left.OPEN


async def test_whoever_is_not_waited_for_holds_nothing_up(database: Database) -> None:
    """A session that waits for nobody is blocked by nobody; a transaction that has ended is not there."""
    old = an_old_transaction(database)
    control = await a_node(database.target)
    try:
        waits = [await blocking(control, waiting=old.info.backend_pid), await still_there(control, ())]
    finally:
        control.close()

    assert waits == [(), False]


async def test_an_index_waits_for_old_transactions_without_a_lock_timeout(each_database: Database) -> None:
    """Its wait keeps nobody waiting, so it is made in the one attempt there is, and told whom it is for."""
    old = an_old_transaction(each_database)
    lines: list[str] = []
    live = a_live_application(each_database, "CREATE INDEX CONCURRENTLY account_name ON account (name);", lines,
                              rules=Live(lock_seconds=LOCK_SECONDS))
    running = Deferred.fromCoroutine(live.run(lambda entries: ()))
    took, report = await served_until_let_go(each_database, running, "UPDATE account SET name = 'y' WHERE id = 1", old)

    assert (report.retries, invalid(each_database)) == (0, [])
    assert max(took) < 1.0
    assert any("waiting for writers before build" in line and f"pid {old.info.backend_pid} app" in line
               for line in lines)


async def test_detaching_a_partition_never_queues_long_before_its_readers(each_database: Database) -> None:
    """Its last phase takes ACCESS EXCLUSIVE on the partition: cut there, and done by FINALIZE attempt by attempt."""
    each_database.admin_sql(PARTITIONS)
    old = each_database.connect("app")
    old.cursor().execute("SELECT FROM event_1")  # of the partition itself, which the first phase does not wait for
    lines: list[str] = []
    live = a_live_application(each_database, DETACH, lines, rules=Live(lock_seconds=LOCK_SECONDS))
    running = Deferred.fromCoroutine(live.run(lambda entries: ()))
    took, report = await served_until_let_go(each_database, running, "SELECT count(*) FROM event_1", old)

    assert max(took) < LOCK_SECONDS * 5
    assert report.retries >= 1
    assert each_database.admin_sql(ATTACHED) == [("event_2", False)]


@pytest.mark.parametrize("own_timeout", ["", "SET LOCAL lock_timeout = 0; "])
async def test_many_short_waits_keep_clients_out_no_longer_than_one(each_database: Database, own_timeout: str) -> None:
    """A statement on 20 partitions waits for one after the other, and keeps the ones it has got.

    Each wait was shorter than lock_seconds, and the clients of the first partition waited for the sum of them.
    """
    each_database.admin_sql(TWENTY_PARTITIONS)
    readers = {number: each_database.connect("app", application_name=f"reader {number}") for number in range(5, 17)}
    for number, reader in readers.items():
        reader.cursor().execute(f"LOCK TABLE reading_{number} IN ACCESS SHARE MODE")
    lines: list[str] = []
    sql = f"DO $$BEGIN {own_timeout}ALTER TABLE reading ADD note text; END$$;"
    live = a_live_application(each_database, sql, lines, rules=Live(lock_seconds=0.4))
    running = Deferred.fromCoroutine(live.run(lambda entries: ()))

    async def let_go() -> None:
        for number, reader in readers.items():
            if not any("attempt 2 follows" in line for line in lines):
                await until(lambda: running.called or any("attempt 2 follows" in line for line in lines)
                            or each_database.admin_sql(AWAITED) == [(f"reading_{number}",)], "its wait")  # noqa: B023
                await pause(0.3)
            reader.rollback()
    letting_go = Deferred.fromCoroutine(let_go())
    took = await served_while(each_database, running, "SELECT count(*) FROM reading_1", seconds=20.0)
    report = await running
    await letting_go
    print(f"{each_database.server.installation}: the longest call {max(took) * 1000:.0f} ms, {report.retries} retries")

    assert max(took) < 2.0
    assert report.retries >= 1
    assert any("waiting for pid" in line and "(reader " in line for line in lines)
    assert recorded(each_database) == [("patch-1", "live")]


async def test_reindexing_a_partitioned_table_never_queues_long_before_its_writers(each_database: Database) -> None:
    """CONCURRENTLY or not, the server begins with SHARE on every partition, and writers waited behind it for good."""
    each_database.admin_sql(f"{PARTITIONS}; CREATE INDEX event_id ON event (id)")
    old = an_old_transaction(each_database, "event_1")
    live = a_live_application(each_database, "REINDEX TABLE CONCURRENTLY event;", rules=Live(lock_seconds=LOCK_SECONDS))
    running = Deferred.fromCoroutine(live.run(lambda entries: ()))
    took, report = await served_until_let_go(each_database, running, "INSERT INTO event_1 VALUES (1)", old)

    assert max(took) < LOCK_SECONDS * 5
    assert (report.retries >= 1, invalid(each_database)) == (True, [])


def test_a_deadlock_is_worth_another_attempt() -> None:
    """Our short deadlock_timeout makes us its victim; other failures are none of the locks."""
    def failed(sqlstate: str) -> errors.DowntimeError:
        error = errors.DowntimeError(reason="line 1")
        error.__cause__ = errors.StatementFailed(node="n", reason="r", sqlstate=sqlstate)
        return error

    assert gives_way(failed("40P01"))
    assert not gives_way(failed("23505"))

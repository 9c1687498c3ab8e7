"""One console, and undoing a pause from anywhere: what watchdog and recovery rely on."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace

import psycopg2
import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from demo.pgbouncer import PgBouncer
from downtime import errors, pooler
from downtime.pooler import COMMAND_SECONDS, Console, Pause
from downtime.poolers import Poolers
from downtime.target import Target
from tests.builders import until
from tests.databases import Database
from tests.poolers import MakePooler, console_of, login_retry, paused, setting, settings_of, waiting


async def paused_by_a_dead_run(bouncer: PgBouncer, database: Database) -> Pause:
    """What it has written down."""
    poolers = Poolers([settings_of(bouncer)], database.target, reactor)
    await poolers.prepare()
    await poolers.pause()
    poolers.close()
    return poolers.pauses[0]


@pytest.fixture
def bouncer(make_pooler: MakePooler, database: Database) -> PgBouncer:
    return make_pooler({database.name: database, "reports": database})


async def test_a_pause_outlives_who_paused_and_can_be_undone_from_elsewhere(
        bouncer: PgBouncer, database: Database) -> None:
    """What was written down is enough to let the clients go on."""
    pause = await paused_by_a_dead_run(bouncer, database)
    held = paused(bouncer)
    lines = await pooler.undo(pause, reactor=reactor)

    assert (held, paused(bouncer)) == ({database.name, "reports"}, set())
    assert lines == (f'pooler {pause.console.label}: "{database.name}", "reports" resumed',)


async def test_undoing_again_changes_nothing(bouncer: PgBouncer, database: Database) -> None:
    """The watchdog looks again a moment later, and recovery may come after it."""
    pause = await paused_by_a_dead_run(bouncer, database)
    await pooler.undo(pause, reactor=reactor)

    assert await pooler.undo(pause, reactor=reactor) == ()
    assert login_retry(bouncer) == "15"


async def test_a_restarted_pooler_has_nothing_to_undo(bouncer: PgBouncer, database: Database) -> None:
    """It is not paused any more, and that is no error."""
    pause = await paused_by_a_dead_run(bouncer, database)
    bouncer.restart()

    assert await pooler.undo(pause, reactor=reactor) == ()


async def test_a_name_that_is_gone_does_not_keep_the_others_paused(bouncer: PgBouncer, database: Database) -> None:
    """Somebody has changed the configuration since."""
    pause = await paused_by_a_dead_run(bouncer, database)
    await pooler.undo(replace(pause, databases=("gone", *pause.databases)), reactor=reactor)

    assert paused(bouncer) == set()


async def test_what_somebody_else_has_paused_stays_paused(bouncer: PgBouncer, database: Database) -> None:
    """Only the names that were written down are resumed."""
    pause = await paused_by_a_dead_run(bouncer, database)
    await pooler.undo(replace(pause, databases=(database.name,)), reactor=reactor)

    assert paused(bouncer) == {"reports"}


async def test_a_setting_that_a_dead_run_has_lowered_is_given_back(bouncer: PgBouncer, database: Database) -> None:
    """It died between lowering one and giving it back."""
    pause = replace(await paused_by_a_dead_run(bouncer, database), min_pool_size="3")
    bouncer.admin("SET server_login_retry = '0.05'")
    bouncer.admin("SET min_pool_size = '0'")
    await pooler.undo(pause, reactor=reactor)

    assert (login_retry(bouncer), setting(bouncer, "min_pool_size")) == ("15", "3")


@pytest.mark.parametrize(("servers", "idle", "logging_in", "waiting", "expected"), [
    (3, 3, 0, 0, False), (3, 3, 1, 0, True), (3, 1, 0, 0, True), (3, 2, 0, 1, True), (20, 0, 0, 99, False),
    (0, 0, 0, 0, False)])
def test_a_pool_short_of_connections_is_about_to_log_in(
        servers: int, idle: int, logging_in: int, waiting: int, expected: bool) -> None:
    """A pause at that moment would cut the login; one that has all it may have begins none, whoever waits."""
    pool = pooler.Pool(database="app", user="app", mode="transaction", waiting=waiting, servers=servers, idle=idle,
                       logging_in=logging_in)

    assert pool.may_log_in(20) is expected


async def test_a_value_that_somebody_else_has_set_stays(bouncer: PgBouncer, database: Database) -> None:
    """An administrator's word of today counts more than what we have read yesterday."""
    pause = await paused_by_a_dead_run(bouncer, database)
    bouncer.admin("SET server_login_retry = '7'")
    await pooler.undo(pause, reactor=reactor)

    assert login_retry(bouncer) == "7"


async def test_a_pooler_that_does_not_answer_is_given_up_in_time(bouncer: PgBouncer) -> None:
    """A hung pooler holds up nobody for longer than a command may take."""
    console = await Console.open(console_of(bouncer), reactor)
    assert bouncer.pid is not None
    os.kill(bouncer.pid, signal.SIGSTOP)
    try:
        with pytest.raises(errors.DeadlineExceeded, match=f"within {COMMAND_SECONDS:g} s"):
            await console.databases()
    finally:
        os.kill(bouncer.pid, signal.SIGCONT)

    assert console.closed


async def test_a_pause_that_somebody_else_resumes_is_never_answered(
        bouncer: PgBouncer, database: Database) -> None:
    """Why PAUSE has a session of its own, and why its answer is not waited for."""
    busy = psycopg2.connect(bouncer.dsn(user="app", database="reports"))
    busy.cursor().execute("SELECT 1")
    asking, other = [await Console.open(console_of(bouncer), reactor) for _ in range(2)]
    answer = Deferred.fromCoroutine(asking.pause("reports", deadline_seconds=30))
    await until(lambda: "reports" in paused(bouncer), "PAUSE has taken hold")
    await other.resume(("reports",))
    busy.rollback()
    await other.databases()
    answered = answer.called
    answer.addErrback(lambda failure: failure.trap(errors.ConnectionLost))
    asking.close()
    other.close()
    busy.close()

    assert not answered


async def test_a_pause_that_arrives_late_is_resumed_all_the_same(bouncer: PgBouncer) -> None:
    """A pooler that was busy reads the PAUSE of a dead run when it has read our RESUME."""
    late, ours = [await Console.open(console_of(bouncer), reactor) for _ in range(2)]
    assert bouncer.pid is not None
    os.kill(bouncer.pid, signal.SIGSTOP)
    try:
        resuming = Deferred.fromCoroutine(ours.resume(("reports",)))
        pausing = Deferred.fromCoroutine(late.pause("reports", deadline_seconds=COMMAND_SECONDS))
    finally:
        os.kill(bouncer.pid, signal.SIGCONT)
    resumed = await resuming
    await pausing
    late.close()
    ours.close()

    assert (resumed, paused(bouncer)) == (("reports",), set())


async def test_what_the_console_refuses_is_its_own_error(bouncer: PgBouncer) -> None:
    """Its errors look like a lost connection to libpq; the session goes on."""
    console = await Console.open(console_of(bouncer), reactor)
    with pytest.raises(pooler.ConsoleRefused, match="the pooler refuses PAUSE: no such database: nowhere"):
        await console.pause("nowhere", deadline_seconds=COMMAND_SECONDS)
    rows = await console.databases()
    console.close()

    assert "reports" in {row["name"] for row in rows}


@pytest.mark.parametrize("name", ["reports; RESUME", 'two"names', "with space", "ünïcode", "x' or 1"])
async def test_a_hostile_name_is_one_name(bouncer: PgBouncer, name: str) -> None:
    """Whatever a row or a setting says, no other command is run than the one that was meant."""
    console = await Console.open(console_of(bouncer), reactor)
    await console.command("PAUSE reports")
    resumed = await console.resume((name,))
    held = paused(bouncer)
    console.close()

    assert (resumed, held) == ((), {"reports"})


async def test_clients_that_wait_are_seen_through(bouncer: PgBouncer, database: Database) -> None:
    """After undoing, `waiting` has come down to nobody."""
    pause = await paused_by_a_dead_run(bouncer, database)
    client = psycopg2.connect(bouncer.dsn(user="app", database="reports"), async_=1)
    for _ in range(5):
        client.poll()
    await until(lambda: client.poll() is not None and waiting(bouncer), "a client waits")
    await pooler.undo(pause, reactor=reactor)

    assert waiting(bouncer) == 0
    client.close()


def test_what_is_written_down_has_no_password() -> None:
    """It goes into a table; whoever undoes has the password from the settings."""
    target = Target(dsn="host=db2 dbname=pgbouncer user=admin", password="console-secret")
    pause = Pause(console=target, databases=("app", "reports"), ended=True, login_retry="15", min_pool_size="0")
    written = json.dumps(pause.to_json())

    assert "console-secret" not in written + repr(pause)
    assert Pause.from_json(json.loads(written), password="console-secret") == pause


@pytest.mark.parametrize("given", [{}, {"databases": "app"}, {"databases": [1]}, {"databases": ["app"]}])
def test_what_cannot_be_read_is_said_so(given: dict[str, object]) -> None:
    """A row that somebody has edited is not guessed at."""
    with pytest.raises((KeyError, ValueError, TypeError)):
        Pause.from_json(given)

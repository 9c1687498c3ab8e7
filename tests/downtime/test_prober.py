"""The prober against real servers: what it sees, and that it leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import psycopg2
import pytest
from psycopg2 import sql as composed
from twisted.internet import reactor, task
from twisted.internet.defer import Deferred

from downtime.prober import REPORT_SECONDS, Prober, ProberFailed
from downtime.target import Target
from tests.databases import Database


async def _pass(seconds: float) -> None:
    """Let the outage last: the prober is another process, so no Clock reaches it."""
    await task.deferLater(reactor, seconds, lambda: None)


async def test_it_sees_new_connections_get_in(each_database: Database) -> None:
    """Where nothing happens it reports many successes, no errors, and its own resolution."""
    prober = await Prober.start(each_database.target_of("app"))
    await _pass(0.3)
    report = await prober.stop()

    assert report.errors == {}
    assert report.successes > 5
    assert 0 < report.resolution_seconds <= report.outage_seconds


async def test_an_outage_in_which_clients_wait_is_as_long_as_the_door_was_shut(database: Database) -> None:
    """Clients that are held see one long call and no error."""
    holder = psycopg2.connect(database.superuser_dsn)
    prober = await Prober.start(database.target_of("app"))
    await _pass(0.1)
    await prober.report()
    holder.cursor().execute("LOCK TABLE pg_catalog.pg_db_role_setting IN ACCESS EXCLUSIVE MODE")
    await _pass(0.4)
    holder.commit()
    holder.close()
    await _pass(0.1)
    report = await prober.stop()

    assert report.errors == {}
    assert report.outage_seconds >= 0.3  # on a busy machine the first call begins after the door was shut
    assert report.longest_call_seconds >= 0.3


async def test_refused_connections_are_counted_by_sqlstate(database: Database) -> None:
    """Clients that are refused show as an outage and as so many 55000."""
    allow = composed.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    name = composed.Identifier(database.name)
    prober = await Prober.start(database.target_of("app"))
    database.server.admin_sql(allow.format(name, composed.SQL("false")))
    await _pass(0.3)
    database.server.admin_sql(allow.format(name, composed.SQL("true")))
    await _pass(0.2)
    report = await prober.stop()

    assert report.errors["55000"] > 0
    assert report.outage_seconds >= 0.3


async def test_a_kicked_persistent_connection_comes_back(database: Database) -> None:
    """The connection that is kept reports that it was cut, and is opened again at once."""
    prober = await Prober.start(database.target_of("app"))
    await _pass(0.2)
    database.server.admin_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
    await _pass(0.3)
    kicked = await prober.report()
    await _pass(0.1)
    afterwards = await prober.stop()

    assert kicked.errors.get("57P01", 0) + kicked.errors.get("08006", 0) > 0
    assert afterwards.errors == {}
    assert afterwards.persistent_gap_seconds < 0.1


async def test_reports_follow_each_other_without_a_hole(database: Database) -> None:
    """Each report begins where the one before it ended."""
    prober = await Prober.start(database.target_of("app"))
    first = await prober.report()
    second = await prober.report()
    last = await prober.stop()

    assert (first.until_at, second.until_at) == (second.since_at, last.since_at)


async def test_a_wrong_password_is_named(database: Database) -> None:
    """A prober that cannot get in says why, and stays out of the deployment's way."""
    target = Target(dsn=database.target_of("app").dsn, password="wrong")

    with pytest.raises(ProberFailed, match=r"ended by itself: .*password authentication failed"):
        await Prober.start(target)


async def test_a_prober_that_died_fails_the_next_report(database: Database) -> None:
    """A killed prober is an error, never an outage of zero seconds."""
    prober = await Prober.start(database.target_of("app"))
    prober._process.kill()

    with pytest.raises(ProberFailed, match="ended by itself"):
        await prober.report()


async def test_a_prober_that_hangs_is_ended(database: Database) -> None:
    """It was waited for with another library's idea of "too late": whoever had deployed got an internal error."""
    clock = task.Clock()
    process = (await Prober.start(database.target_of("app")))._process
    os.kill(process.transport.pid, signal.SIGSTOP)
    report = Deferred.fromCoroutine(Prober(process, "the database", clock).report())
    clock.advance(REPORT_SECONDS)

    with pytest.raises(ProberFailed, match="did not report within 5 s"):
        await report
    assert process.transport.pid is None  # reaped


def _started_by_hand(database: Database) -> subprocess.Popen[str]:
    target = database.target_of("app")
    process = subprocess.Popen([sys.executable, "-m", "downtime.probing"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True,
                               env={**os.environ, "PROBER_DSN": target.dsn, "PGPASSWORD": target.password or ""})
    assert process.stdout is not None
    assert "attempts" in process.stdout.readline()  # it has started
    return process


@pytest.mark.parametrize("ending", ["the end of its input", "SIGTERM"])
def test_it_ends_with_a_last_report(database: Database, ending: str) -> None:
    """Whoever started it gets the rest of the measurement, and no process stays."""
    process = _started_by_hand(database)
    if ending == "SIGTERM":
        process.terminate()
        output: Any = process.stdout.read() if process.stdout else ""
        process.communicate(timeout=5)
    else:
        output, _ = process.communicate(timeout=5)

    assert process.returncode == 0
    assert output.count("outage_seconds") == 1


def test_it_tells_who_calls_it_without_a_database() -> None:
    """Started by hand without an address, it says which variable wants one."""
    done = subprocess.run([sys.executable, "-m", "downtime.probing"], capture_output=True, text=True, check=False,
                          env={name: value for name, value in os.environ.items() if name != "PROBER_DSN"})

    assert (done.returncode, "PROBER_DSN" in done.stderr) == (2, True)

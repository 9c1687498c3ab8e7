"""The service that measures outages as a client sees them, on real servers and with real processes."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import psycopg2
import pytest

from downtime.phases import Phase, Report
from downtime.settings import Environment
from master.probes import Probes
from steps.shared import outage_document
from tests.builders import PATIENCE_SECONDS, pause, until
from tests.databases import Database
from tests.downtime import outages

BUILD = 7
STRANGERS: set[int] = set()


class Patient(Probes):
    patience_seconds = PATIENCE_SECONDS  # for a machine that is busy with other tests


class Hurried(Probes):
    patience_seconds = 0.3


def an_environment(dsn: str, *, probe: bool = True) -> Environment:
    return Environment(database=dsn, probe=probe)  # type: ignore[arg-type]  # the validator reads it


@asynccontextmanager
async def measuring(database: Database) -> AsyncIterator[Probes]:
    """The service with a prober that measures, as the patching role."""
    probes = Patient()
    await probes.startService()
    try:
        await probes.start(BUILD, an_environment(database.dsn_of("patcher")))
        assert len(probers()) == 1
        yield probes
    finally:
        if probes.running:
            await probes.stopService()


@pytest.fixture(autouse=True)
def strangers() -> Iterator[None]:
    """Other tests' dead children, which a zombie's empty command line does not tell from ours."""
    STRANGERS.update(_children())
    yield
    STRANGERS.clear()


def probers() -> list[int]:
    """The processes that we have started and that are not gone, zombies among them."""
    return [pid for pid in _children() if pid not in STRANGERS]


def _children() -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            stat, command = (process / "stat").read_text(), (process / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, parent = stat.rpartition(")")[2].split()[:2]
        if int(parent) == os.getpid() and (b"downtime.probing" in command or state == "Z"):
            found.append(int(process.name))
    return found


@contextmanager
def closed(database: Database) -> Iterator[None]:
    """A shut gate of kind `hold`."""
    holder = psycopg2.connect(database.superuser_dsn)
    try:
        holder.cursor().execute("LOCK TABLE pg_catalog.pg_db_role_setting IN ACCESS EXCLUSIVE MODE")
        yield
    finally:
        holder.close()


async def somebody_waits(watcher: psycopg2.extensions.connection) -> None:
    def seen() -> bool:
        with watcher.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_locks WHERE relation = 'pg_db_role_setting'::regclass AND NOT granted")
            return cursor.rowcount > 0

    await until(seen, "a client to wait at the gate")


async def test_it_reports_how_long_a_gate_was_closed(each_database: Database) -> None:
    """From before the first client waited until after the gate was opened."""

    watcher = each_database.connect("patcher")
    watcher.autocommit = True
    async with measuring(each_database) as probes:
        await probes.mark(BUILD)
        with closed(each_database):
            await somebody_waits(watcher)
            began = monotonic()
            await pause(0.1)
            closed_seconds = monotonic() - began
        report = await probes.finish(BUILD)

        assert report is not None
        assert report.outage_seconds >= closed_seconds
        assert probers() == []


async def test_what_was_seen_before_the_mark_is_not_of_the_outage(database: Database) -> None:
    """Preparing may take long, and a server may stutter meanwhile."""

    async with measuring(database) as probes:
        marked_at = datetime.now(UTC)
        await probes.mark(BUILD)
        report = await probes.finish(BUILD)

        assert report is not None
        assert report.since_at >= marked_at


async def test_whoever_asks_again_gets_the_same(database: Database) -> None:
    """The prober can be ended when the database is open, and its report be read when there is time."""

    async with measuring(database) as probes:
        first = await probes.finish(BUILD)

        assert first is not None
        assert await probes.finish(BUILD) == first
        await probes.release(BUILD)
        assert await probes.finish(BUILD) is None


async def test_the_probers_sessions_are_told_apart_in_the_kick_report(database: Database) -> None:
    """They are kicked like everybody else's, and whoever counts the kicked clients can leave them out."""

    client = database.connect("app")
    async with measuring(database) as probes:
        await probes.mark(BUILD)
        report = await outages.run(database)
        seen = await probes.finish(BUILD)
    assert seen is not None
    document = outage_document.document("patch-1", report, None, client=seen)

    assert client.info.backend_pid in {session["pid"] for session in document["kick_report"]}
    assert document["kicked_probers"] >= 1
    assert document["kicked"] - document["kicked_probers"] == 1
    assert seen.outage_seconds >= closed_for_certain(report)


def closed_for_certain(report: Report) -> float:
    """Seconds in which nobody was left and nobody got in: from behind the kick until the gate was to open."""
    started = {each.phase: each.started_at for each in report.phases if each.started_at is not None}
    return (started[Phase.ALLOW] - started[Phase.APPLY]).total_seconds()


@contextmanager
def a_server_that_is_away(how: str) -> Iterator[str]:
    """Its DSN: nobody listens there, or somebody who never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if how == "silent":
            listener.listen()
        yield f"postgresql://patcher@127.0.0.1:{listener.getsockname()[1]}/app"


@pytest.mark.parametrize("how", ["refuses", "silent"])
async def test_a_server_that_is_away_is_not_waited_for(how: str) -> None:
    """The deployment goes on without the measurement, and no process is left."""

    probes = Hurried()
    with a_server_that_is_away(how) as dsn:
        await probes.start(BUILD, an_environment(dsn))
        assert probers() == []
        await probes.mark(BUILD)
        assert await probes.finish(BUILD) is None


async def test_releasing_kills_a_prober_that_measures(database: Database) -> None:
    """Whatever became of the build."""

    async with measuring(database) as probes:
        await probes.release(BUILD)
        assert probers() == []


async def test_releasing_kills_a_prober_that_has_not_started_yet() -> None:
    """A build may be stopped at any moment; whoever waits for the start is told at once."""

    probes = Probes()
    with a_server_that_is_away("silent") as dsn:
        starting = probes.start(BUILD, an_environment(dsn))
        await until(probers, "the process")
        await probes.release(BUILD)
        assert probers() == []
        await starting


async def test_releasing_kills_a_prober_that_waits_at_a_gate(database: Database) -> None:
    """Inside libpq no thread can be asked to end."""

    watcher = database.connect("patcher")
    watcher.autocommit = True
    async with measuring(database) as probes:
        with closed(database):
            await somebody_waits(watcher)
            await probes.release(BUILD)
            assert probers() == []


@pytest.mark.parametrize("deadly", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_prober_that_dies_or_hangs_is_no_outage_of_zero_seconds(deadly: signal.Signals, database: Database
                                                                          ) -> None:
    """There is no report, nobody waits long for it, and the deployment is none the worse."""

    async with measuring(database) as probes:
        await probes.mark(BUILD)
        (prober,) = probers()
        os.kill(prober, deadly)
        probes.patience_seconds = Hurried.patience_seconds
        assert await probes.finish(BUILD) is None
        assert probers() == []


async def test_a_stopped_master_leaves_no_prober(database: Database) -> None:
    """Neither of a deployment that is measured nor of one that is about to be."""

    async with measuring(database) as probes:
        starting = probes.start(BUILD + 1, an_environment(database.dsn_of("patcher")))
        await until(lambda: len(probers()) == 2, "the second process")
        await probes.stopService()
        assert probers() == []
        await starting


async def test_nothing_is_started_where_the_settings_do_not_want_it(database: Database) -> None:
    """It costs two sessions and half a processor."""

    probes = Probes()
    await probes.start(BUILD, an_environment(database.dsn_of("patcher"), probe=False))
    assert probers() == []
    await probes.mark(BUILD)
    assert await probes.finish(BUILD) is None
    await probes.release(BUILD)

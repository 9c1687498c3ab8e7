"""How outages end on servers that crash, hang or cannot be reached: open again, and the outcome is known."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from time import monotonic
from typing import Any

import psycopg2
import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from demo.proxy import Proxy
from downtime import errors, gate, reopening, selftest
from downtime.outage import Outage
from downtime.phases import Phase, PhaseState, Report
from downtime.ready import Rules
from downtime.target import Target
from tests.builders import PATIENCE_SECONDS, a_deployment, a_node, no_objections, pause, until
from tests.databases import Database
from tests.downtime.test_fence import stopped

GATES = ("hold", "refuse")
SLEEP = "CREATE TABLE added (id int);\nSELECT pg_sleep(30);"


@asynccontextmanager
async def prepared(database: Database, *, sql: str = SLEEP, target: Target | None = None, say: Any = None,
                   patch_reactor: Any = None, **rules: Any) -> AsyncIterator[Outage]:
    outage = Outage(target or database.target, a_deployment(sql=sql), Rules(spared=frozenset({"postgres"}), **rules),
                    say=say, reactor=patch_reactor)
    try:
        await outage.prepare(no_objections)
        yield outage
    finally:
        await outage.close()


async def in_mid_patch(outage: Outage) -> Deferred[Report]:
    running = Deferred.fromCoroutine(outage.run())
    await until(lambda: len(outage.statements) == 1, "the first statement being applied")
    await pause(0.1)
    return running


async def in_mid_drain(outage: Outage) -> Deferred[Report]:
    running = Deferred.fromCoroutine(outage.run())
    await outage.watch(Phase.PREVENT)
    return running


def lets_in(database: Database) -> bool:
    try:
        psycopg2.connect(database.dsn_of("app"), connect_timeout=2).close()
    except psycopg2.OperationalError:
        return False
    return True


def patcher_of(database: Database) -> int:
    """The pid of the backend that is to apply the patch; to be asked before the gate closes."""
    ((pid,),) = database.server.admin_sql(
        "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name LIKE 'fastdowntime %%patch-1'",
        (database.name,))
    return int(pid)


def is_recorded(database: Database) -> bool:
    return database.admin_sql("SELECT id FROM fastdowntime.ledger") == [("patch-1",)]


def assert_nothing_is_left(database: Database) -> None:
    assert lets_in(database)
    assert database.admin_sql("SELECT to_regclass('added')") == [(None,)]
    assert not is_recorded(database)
    assert database.server.admin_sql("SELECT 1 FROM pg_db_role_setting WHERE array_to_string(setconfig, ',')"
                                     " LIKE %s", ("%fastdowntime closed%",)) == []


def told(report: Report) -> str:
    """What the phase that allows connections has in its log."""
    assert report.phases[-1].phase is Phase.ALLOW
    return report.phases[-1].log


@pytest.mark.deadline(seconds=120)
@pytest.mark.parametrize("moment", ["gate closed", "mid-patch"])
@pytest.mark.parametrize("kind", GATES)
async def test_a_server_that_is_killed_is_open_when_it_is_back(kind: str, moment: str, doomed: Database) -> None:
    """kill -9 takes guard and gate session too: the deployer, which lives, opens within moments of the restart."""
    lines: list[str] = []
    if moment == "gate closed":
        doomed.connect("app").cursor().execute("SELECT 1")
    async with prepared(doomed, gate=kind, drain_seconds=30.0, say=lines.append) as outage:
        running = await (in_mid_patch(outage) if moment == "mid-patch" else in_mid_drain(outage))
        doomed.server.kill()
        await until(lambda: lines, "the deployer finding the server gone")
        await pause(1.0)
        doomed.server.start()
        accepting = monotonic()
        await until(lambda: lets_in(doomed), "the database letting a client in")
        seconds = monotonic() - accepting
        report = await running
    print(f"gate {kind}, {moment}: open {seconds * 1000:.0f} ms after the server accepts connections")

    assert isinstance(report.error, errors.ConnectionLost)
    assert report.error.left is errors.Left.REOPENED
    assert report.phases[-1].state is PhaseState.DONE
    assert "cannot be reached" in lines[0]
    assert "trying until" in lines[0]
    assert lines[0] in told(report)
    assert_nothing_is_left(doomed)


@pytest.mark.deadline(seconds=120)
@pytest.mark.parametrize("kind", GATES)
async def test_a_killed_backend_takes_every_session_and_the_database_opens(kind: str, doomed: Database) -> None:
    """kill -9 of the patching backend: the server ends all others and recovers by itself, closed as it was."""
    async with prepared(doomed, gate=kind) as outage:
        patcher = patcher_of(doomed)
        running = await in_mid_patch(outage)
        os.kill(patcher, signal.SIGKILL)
        report = await running

    assert isinstance(report.error, errors.ConnectionLost)
    assert_nothing_is_left(doomed)


@pytest.mark.deadline(seconds=120)
@pytest.mark.parametrize("kind", GATES)
async def test_a_crash_at_the_commit_is_decided_by_the_ledger(kind: str, doomed: Database) -> None:
    """The COMMIT was carried out, its answer was lost, and the server crashed: the patch is in, and nobody guesses."""
    with Proxy("127.0.0.1", doomed.server.port) as proxy:
        async with prepared(doomed, sql="CREATE TABLE added (id int);", gate=kind,
                            target=through(proxy, doomed)) as outage:
            proxy.cut_after(b"COMMIT\0") if kind == "hold" else proxy.cut_after(b'RESET "application_name"\0')
            running = Deferred.fromCoroutine(outage.run())
            await until(lambda: proxy.has_fallen, "the last message")
            if kind == "hold":
                await until(lambda: is_recorded(doomed), "the COMMIT being carried out")
            doomed.server.kill()
            doomed.server.start()
            proxy.drop()
            report = await running

    assert report.applied is (kind == "hold")
    assert (report.error is None) is (kind == "hold")
    assert lets_in(doomed)
    assert is_recorded(doomed) is (kind == "hold")


@pytest.mark.deadline(seconds=120)
@pytest.mark.parametrize("kind", GATES)
async def test_a_cut_network_ends_an_abort_when_it_is_back(kind: str, database: Database) -> None:
    """Nobody answers the cancel request: the server opens by itself meanwhile, and the report is not a guess."""
    lines: list[str] = []
    with Proxy("127.0.0.1", database.server.port) as proxy:
        async with prepared(database, gate=kind, target=through(proxy, database), say=lines.append) as outage:
            running = await in_mid_patch(outage)
            proxy.cut()
            began = monotonic()
            outage.abort("stopped")
            await until(lambda: lines, "the deployer giving up its sessions")
            given_up = monotonic() - began
            proxy.drop()
            await until(lambda: lets_in(database), "the database letting a client in")
            proxy.restore()
            report = await running
    print(f"gate {kind}: sessions given up after {given_up:.1f} s")

    assert isinstance(report.error, errors.Aborted)
    assert given_up < PATIENCE_SECONDS
    assert_nothing_is_left(database)


@pytest.mark.deadline(seconds=120)
@pytest.mark.parametrize("kind", GATES)
async def test_a_patching_session_that_does_not_end_is_named(kind: str, database: Database) -> None:
    """Nobody opens while it might still commit; when it can end it is rolled back, and the database opens."""
    async with prepared(database, gate=kind, limit_seconds=1.0) as outage:
        patcher = patcher_of(database)
        running = await in_mid_patch(outage)
        with stopped(patcher):
            report = await running
            stayed_closed = not lets_in(database)
        await until(lambda: lets_in(database), "the database letting a client in", seconds=2 * PATIENCE_SECONDS)

    assert isinstance(report.error, errors.NeedsOperator)
    assert report.error.left is errors.Left.CLOSED
    assert f"pid {patcher}" in str(report.error)
    assert f"end process {patcher} on the server's machine" in report.error.advice
    assert stayed_closed
    assert isinstance(report.phases[3].error, errors.Aborted)
    assert report.phases[3].seconds < 6.0, "limit, and the time to cancel"
    assert_nothing_is_left(database)


@pytest.mark.deadline(seconds=120)
async def test_a_gate_whose_opening_is_delayed_is_tried_again(database: Database) -> None:
    """An administrator's open transaction stands in the way of the first attempts, not of the opening."""
    other = psycopg2.connect(database.server.superuser_dsn())
    async with prepared(database, sql="SELECT 1/0;", gate="refuse", drain_seconds=5.0) as outage:
        database.connect("app").cursor().execute("SELECT 1")
        running = await in_mid_drain(outage)
        other.cursor().execute(f"ALTER DATABASE {database.name} CONNECTION LIMIT 50")
        outage.abort("stopped")
        reactor.callLater(gate.MAINTENANCE_SECONDS * 1.5, other.rollback)  # type: ignore[attr-defined]
        report = await running
    other.close()

    assert isinstance(report.error, errors.Aborted)
    assert_nothing_is_left(database)


async def test_another_deployments_closing_is_not_opened(database: Database) -> None:
    """Ours was opened for us after a crash, and the next deployment has closed again: that is its own to open."""
    patcher = await a_node(database.target)
    door = gate.Refuse(database.target, reactor, limit_seconds=30)
    try:
        await door.arm(patcher)
        await door.prevent()
        database.server.admin_sql(
            f"ALTER ROLE patcher IN DATABASE {database.name} SET application_name = 'fastdowntime closed by another'")
        await door.allow()
        closed = not lets_in(database)
    finally:
        await door.disarm()
        patcher.close()
        database.server.admin_sql(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS true")

    assert closed


async def test_what_cannot_be_reached_for_long_needs_an_operator() -> None:
    """The last reason is told, with the next command; every reason is said once."""
    lines: list[str] = []

    async def attempt() -> None:
        raise errors.CannotConnect(node="db", reason="starting up")

    with pytest.raises(errors.NeedsOperator, match="cannot make sure that db is open: cannot connect to db") as caught:
        await reopening.patiently(attempt, label="db", say=lines.append, reactor=reactor, seconds=0.5)

    assert "starting up" in str(caught.value)
    assert caught.value.advice == "python -m downtime reopen"
    assert [line.split(";")[0] for line in lines] == ["db cannot be reached: cannot connect to db: starting up"]


class AFailingGate(gate.Hold):
    """Holds, and then fails as nobody has foreseen."""

    async def allow(self) -> None:
        raise ZeroDivisionError("allow")

    async def disarm(self) -> None:
        raise ZeroDivisionError("disarm")


class WithAFailingGate(Outage):
    async def prepare(self, objections: Any) -> tuple[str, ...]:
        found = await super().prepare(objections)
        self._prepared = replace(self._ready, gate=AFailingGate(reactor))
        await self._ready.gate.arm(self._ready.patcher)
        return found


async def test_an_outage_gives_its_report_whatever_fails(database: Database) -> None:
    """An error nobody has foreseen, in opening and in giving back: told in the report, and nothing is left behind."""
    outage = WithAFailingGate(database.target, a_deployment(sql="SELECT 1;"), Rules(spared=frozenset({"postgres"})))
    await outage.prepare(no_objections)
    report = await outage.run()
    await outage.close()

    assert isinstance(report.error, errors.NeedsOperator)
    assert "cannot make sure that" in str(report.error)
    assert report.applied
    assert database.server.admin_sql("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE"
                                     " 'fastdowntime%%patch-1%%' AND datname = %s", (database.name,)) == [(0,)]


class AForgetfulReactor:
    """Has no room left for whatever is to be told later."""

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)

    def callLater(self, seconds: float, what: Any, *arguments: Any, **keywords: Any) -> Any:
        if getattr(what, "__name__", "") == "_tell":
            raise OSError("No space left on device")
        return reactor.callLater(seconds, what, *arguments, **keywords)  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", GATES)
async def test_what_cannot_be_written_down_does_not_keep_a_database_closed(kind: str, database: Database) -> None:
    """The record of the phases fails, and so does whoever is told: rolled back, open, and a report all the same."""
    def fail(line: str) -> None:
        raise OSError("No space left on device")

    async with prepared(database, gate=kind, say=fail, patch_reactor=AForgetfulReactor()) as outage:
        report = await outage.run()

    assert report.error is not None
    assert "No space left on device" in str(report.error)
    assert_nothing_is_left(database)


async def test_a_watcher_that_fails_changes_nothing(database: Database) -> None:
    """A step whose log cannot be written fails by itself."""
    def fail(report: Any) -> None:
        raise OSError("No space left on device")

    async with prepared(database, sql="CREATE TABLE added (id int);", say=fail) as outage:
        failed: list[Any] = []
        for phase in Phase:
            outage.watch(phase).addCallback(fail).addErrback(failed.append)
        report = await outage.run()

    assert (report.error, report.applied, len(failed)) == (None, True, 5)


async def test_the_self_test_is_open_again_after_a_crash(doomed: Database) -> None:
    """It closes production for a moment, too: a crash in that moment must not leave it shut."""
    running = Deferred.fromCoroutine(selftest.run(doomed.target, "refuse", reactor))
    await until(lambda: doomed.server.admin_sql(
        "SELECT 1 FROM pg_database WHERE datname = %s AND NOT datallowconn", (doomed.name,)), "the gate closing")
    doomed.server.kill()
    doomed.server.start()
    with pytest.raises(errors.DowntimeError):
        await running

    assert lets_in(doomed)


@pytest.mark.parametrize("kind", GATES)
async def test_defaults_of_the_role_do_not_end_an_outage(kind: str, each_database: Database) -> None:
    """Timeouts that an administrator has given the patching role ended guard, control or patcher in mid-outage."""
    defaults = ["idle_session_timeout", "statement_timeout", "idle_in_transaction_session_timeout"]
    if each_database.server.installation.version >= 17:
        defaults.append("transaction_timeout")
    each_database.server.admin_sql("".join(f"ALTER ROLE patcher SET {name} = '400ms';" for name in defaults))
    try:
        sql = "RESET ALL;\nCREATE TABLE added (id int);\nSELECT pg_sleep(1.5);"
        async with prepared(each_database, sql=sql, gate=kind) as outage:
            await pause(0.8)
            report = await outage.run()
    finally:
        each_database.server.admin_sql("".join(f"ALTER ROLE patcher RESET {name};" for name in defaults))

    assert (report.error, report.applied) == (None, True)
    assert is_recorded(each_database)
    assert lets_in(each_database)


def through(proxy: Proxy, database: Database) -> Target:
    return Target(dsn=database.target.dsn.replace(f":{database.server.port}/", f":{proxy.port}/"),
                  password=database.target.password)

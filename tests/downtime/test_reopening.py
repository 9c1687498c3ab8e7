"""How outages end on servers that crash, hang or cannot be reached: open again, and the outcome is known."""

from __future__ import annotations

import os
import signal
from time import monotonic

import psycopg2
import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from demo.proxy import Proxy
from downtime import errors, gate, reopening
from downtime.phases import Phase, PhaseState, Report
from tests.builders import PATIENCE_SECONDS, a_deployment, a_node, pause, until
from tests.databases import Database
from tests.downtime.outages import (
    GATES,
    SLEEPING,
    assert_nothing_is_left,
    in_mid_drain,
    in_mid_patch,
    is_recorded,
    lets_in,
    patcher_of,
    prepared,
    stopped,
    through,
)


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
    async with prepared(doomed, SLEEPING, gate=kind, drain_seconds=30.0, say=lines.append) as outage:
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
    async with prepared(doomed, SLEEPING, gate=kind) as outage:
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
        async with prepared(doomed, gate=kind, target=through(proxy, doomed)) as outage:
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
        async with prepared(database, SLEEPING, gate=kind, target=through(proxy, database), say=lines.append) as outage:
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
    async with prepared(database, SLEEPING, gate=kind, limit_seconds=1.0) as outage:
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
    async with prepared(database, a_deployment(sql="SELECT 1/0;"), gate="refuse", drain_seconds=5.0) as outage:
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
    assert caught.value.advice.endswith("python -m downtime reopen --environment NAME")
    assert [line.split(";")[0] for line in lines] == ["db cannot be reached: cannot connect to db: starting up"]

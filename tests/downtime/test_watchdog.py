"""A watchdog lets go of what a deployer had paused and closed that is dead or stuck, and of nothing else."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, eventAsText

from demo.pgbouncer import PgBouncer
from downtime import errors, fence
from downtime.rescue import APPLICATION_NAME, Watched
from downtime.target import Target
from downtime.watchdog import SIGNALS_OF_OTHERS
from downtime.watching import Watchdog, WatchdogFailed
from tests.builders import a_node, until
from tests.databases import Database
from tests.downtime.outages import GATES, lets_in
from tests.downtime.watched import LONG_SECONDS, ROOT, a_pause, deploy, dying, is_open, rows
from tests.poolers import Callers, console_of, paused, waiting
from tests.standbys import Replicated


def process_is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("gate_name", GATES)
async def test_a_killed_deployers_clients_go_on(gate_name: str, database: Database, pooler: PgBouncer) -> None:
    """Although programs that it had started live on: the watchdog learns of the death at once, and leaves nothing."""
    with dying(database.target, gate_name=gate_name, pauses=[a_pause(pooler, database)]) as deployer:
        deployer.kill()
        began = monotonic()
        await until(lambda: not paused(pooler), "the pooler going on")
        resumed_seconds = monotonic() - began
        bystanders = [process_is_alive(pid) for pid in deployer.children]
        await until(lambda: not process_is_alive(deployer.watchdog), "the watchdog ending")

    print(f"gate {gate_name}: resumed {resumed_seconds * 1000:.0f} ms after kill -9")
    assert bystanders == [True, True]
    assert (is_open(database), lets_in(database), rows(database)) == (True, True, [])


@pytest.mark.parametrize("gate_name", GATES)
async def test_clients_of_a_killed_deployer_see_no_error(
        gate_name: str, database: Database, pooler: PgBouncer, callers: Callable[..., Callers]) -> None:
    """They wait until the database is open: it is opened first, and then the pooler goes on."""
    clients = callers(pooler.dsn(user="app", database=database.name), 20)
    await until(lambda: clients.connected == 20, "all clients have connected")
    with dying(database.target, gate_name=gate_name, pauses=[a_pause(pooler, database)]) as deployer:
        await until(lambda: waiting(pooler) == 20, "all clients want something")
        deployer.kill()
        calls = clients.calls
        await until(lambda: clients.calls > calls + 40, "all clients go on")
        await until(lambda: not process_is_alive(deployer.watchdog), "the watchdog ending")

    assert clients.errors == []


async def test_standbys_replay_again(replicated: Replicated) -> None:
    """Those that served reads through an outage whose deployer has died."""
    replicated.await_replay()
    deploying = await deploy(replicated.database.target, replays=replicated.targets)
    paused_before = [standby.admin_sql("SELECT pg_is_wal_replay_paused()") for standby in replicated.standbys]
    await deploying.watchdog.leave()
    left = [standby.admin_sql("SELECT pg_is_wal_replay_paused()") for standby in replicated.standbys]
    await deploying.end()

    assert (paused_before, left) == ([[(True,)], [(True,)]], [[(False,)], [(False,)]])
    assert rows(replicated.database) == []


@pytest.mark.parametrize("gate_name", GATES)
async def test_a_dismissed_watchdog_touches_nothing(gate_name: str, database: Database, pooler: PgBouncer) -> None:
    """What is paused then is its deployer's business, and so is the gate."""
    deploying = await deploy(database.target, gate_name=gate_name, pauses=[a_pause(pooler, database)])
    await deploying.watchdog.dismiss()
    alive = (await deploying.patcher.execute("SELECT 1")).scalar
    still_paused, gone = bool(paused(pooler)), not process_is_alive(deploying.watchdog.pid)
    await deploying.patcher.execute("ROLLBACK")
    await deploying.gate.allow()
    await deploying.end()

    assert (alive, still_paused, gone) == (1, True, True)
    assert [(kind, by) for kind, _, by in rows(database)] == [("pooler", deploying.watched.mark)]


async def test_a_deployer_that_is_stuck_is_ended_when_the_limit_has_passed(database: Database, pooler: PgBouncer
                                                                          ) -> None:
    """The watchdog fences it as if it were dead: its transaction is rolled back, nothing stays paused."""
    deploying = await deploy(database.target, pauses=[a_pause(pooler, database)], limit_seconds=1.0)
    await until(lambda: deploying.patcher.closed, "the patching session being ended")
    await until(lambda: deploying.watchdog.ended, "the watchdog ending")
    left = (bool(paused(pooler)), rows(database))
    await deploying.end()

    assert left == (False, [])
    assert lets_in(database)


async def test_what_ends_its_parent_does_not_end_it(database: Database, pooler: PgBouncer) -> None:
    """Neither a signal to the parent's group nor one to all processes of a service."""
    deploying = await deploy(database.target, pauses=[a_pause(pooler, database)])
    pid = deploying.watchdog.pid
    own_session, ours = os.getsid(pid), os.getsid(0)
    for number in SIGNALS_OF_OTHERS:
        os.kill(pid, number)
    await deploying.watchdog.leave()
    left = bool(paused(pooler))
    await deploying.end()

    assert (own_session, own_session != ours, left) == (pid, True, False)


async def test_a_watchdog_that_was_killed_is_no_error_to_its_deployer(database: Database, pooler: PgBouncer) -> None:
    """It is told in the log; the deployment goes on, and what it holds has its rows."""
    deploying = await deploy(database.target, pauses=[a_pause(pooler, database)])
    with capturedLogs() as said:
        os.kill(deploying.watchdog.pid, signal.SIGKILL)
        await until(lambda: deploying.watchdog.ended, "the watchdog being gone")
        await deploying.watchdog.dismiss()
    alive = (await deploying.patcher.execute("SELECT 1")).scalar
    still_paused = paused(pooler)
    await deploying.end()

    assert (alive, still_paused, len(rows(database))) == (1, {database.name}, 1)
    assert ["nobody lets go" in eventAsText(event) for event in said] == [True]


async def test_a_pause_that_arrives_later_is_undone_too(database: Database, pooler: PgBouncer) -> None:
    """The deployer had sent it before it died; the watchdog had already looked."""
    deploying = await deploy(database.target, pauses=[a_pause(pooler, database)])
    leaving = Deferred.fromCoroutine(deploying.watchdog.leave())
    await until(lambda: not paused(pooler), "the pooler going on")
    pooler.admin(f"PAUSE {database.name}")
    await leaving
    left = (bool(paused(pooler)), rows(database))
    await deploying.end()

    assert left == (False, [])


async def test_poolers_go_on_though_the_server_is_gone(doomed: Database, pooler: PgBouncer, database: Database
                                                       ) -> None:
    """Their clients then learn that it is; the rest is done when it has come back."""
    deploying = await deploy(doomed.target, gate_name="refuse", pauses=[a_pause(pooler, database)])
    closed = not is_open(doomed)
    doomed.server.kill()
    leaving = Deferred.fromCoroutine(deploying.watchdog.leave())
    await until(lambda: not paused(pooler), "the pooler going on")
    still_there = process_is_alive(deploying.watchdog.pid)
    doomed.server.start()
    await leaving
    deploying.patcher.close()
    with contextlib.suppress(errors.NodeError):
        await deploying.gate.disarm()

    assert (closed, still_there) == (True, True)
    assert (is_open(doomed), rows(doomed)) == (True, [])


async def test_a_pooler_that_is_restarted_meanwhile_is_no_error(database: Database, pooler: PgBouncer) -> None:
    """Its restart has ended the pause and the watchdog's session; it is looked at all the same, and the row goes."""
    deploying = await deploy(database.target, pauses=[a_pause(pooler, database)])
    pooler.restart()
    pooler.admin(f"PAUSE {database.name}")
    await deploying.watchdog.leave()
    left = (bool(paused(pooler)), rows(database))
    await deploying.end()

    assert left == (False, [])


async def test_it_gives_up_what_others_have_undone(database: Database, pooler: PgBouncer) -> None:
    """The row is gone: a later deployment may have paused the same pooler by the time it can be reached."""
    deploying = await deploy(database.target, pauses=[a_pause(pooler, database)])
    pooler.stop()
    leaving = Deferred.fromCoroutine(deploying.watchdog.leave())
    await until(lambda: deploying.patcher.closed, "the patching session being ended")
    still_there = process_is_alive(deploying.watchdog.pid)
    database.admin_sql("DELETE FROM fastdowntime.held")
    await leaving
    await deploying.end()

    assert still_there


async def test_it_does_not_look_again_at_what_others_have_undone(database: Database, pooler: PgBouncer) -> None:
    """Its row is gone, and a later deployment has paused the same pooler: that is not to be resumed."""
    deploying = await deploy(database.target, pauses=[a_pause(pooler, database)])
    leaving = Deferred.fromCoroutine(deploying.watchdog.leave())
    await until(lambda: not paused(pooler), "the pooler going on")
    database.admin_sql("DELETE FROM fastdowntime.held")
    pooler.admin(f"PAUSE {database.name}")
    await leaving
    left = bool(paused(pooler))
    await deploying.end()

    assert left


async def test_a_door_that_has_lost_its_guard_is_opened(each_database: Database) -> None:
    """On every version: with gate refuse somebody has ended the guard, and then the deployer dies."""
    deploying = await deploy(each_database.target, gate_name="refuse")
    each_database.server.admin_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                              " WHERE application_name = 'fastdowntime guard'")
    closed = not is_open(each_database)
    await deploying.watchdog.leave()
    opened = is_open(each_database)
    await deploying.end()

    assert (closed, opened) == (True, True)


async def test_a_door_that_an_administrator_has_closed_stays_closed(database: Database, pooler: PgBouncer) -> None:
    """The mark on it is not this deployment's: that had not closed it yet, or has opened it already."""
    deploying = await deploy(database.target, gate_name="refuse", pauses=[a_pause(pooler, database)])
    await deploying.patcher.execute("ROLLBACK")
    await deploying.gate.allow()
    database.server.admin_sql(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false")
    await deploying.watchdog.leave()
    left = is_open(database)
    database.server.admin_sql(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS true")
    await deploying.end()

    assert left is False


async def test_its_sessions_are_told_so_that_nobody_kicks_them(database: Database, pooler: PgBouncer) -> None:
    """Those on the server of the database: one inside, and with gate refuse one in the maintenance database."""
    deploying = await deploy(database.target, gate_name="refuse", pauses=[a_pause(pooler, database)])
    seen = {pid for (pid,) in database.server.admin_sql(
        "SELECT pid FROM pg_stat_activity WHERE application_name = %s", (APPLICATION_NAME,))}
    told = deploying.watchdog.pids
    await deploying.patcher.execute("ROLLBACK")
    await deploying.gate.allow()
    await deploying.end()

    assert told == seen
    assert len(told) == 2


async def test_without_all_its_sessions_there_is_no_watchdog(database: Database, pooler: PgBouncer) -> None:
    """It says which one, no process is left, and no password is in what it says."""
    patcher = await a_node(database.target)
    told = a_pause(pooler, database)
    wrong = replace(told, console=replace(told.console, password="no-such-password"))
    watched = Watched(target=database.target, patching=await fence.backend_of(patcher), gate="hold", mark="by a test",
                      pauses=(wrong,), replays=(), limit_seconds=60)
    with pytest.raises(WatchdogFailed) as caught:
        await Watchdog.start(watched, reactor=reactor)
    patcher.close()

    assert console_of(pooler).label in str(caught.value)
    assert "no-such-password" not in caught.value.explain()
    assert caught.value.left is errors.Left.UNTOUCHED
    assert database.server.admin_sql("SELECT 1 FROM pg_stat_activity WHERE application_name = %s",
                                     (APPLICATION_NAME,)) == []


class AFullMachine:
    """Has no room for one more process."""

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)

    def spawnProcess(self, *_: Any, **__: Any) -> None:
        raise OSError("Resource temporarily unavailable")


async def test_a_machine_that_is_full_has_no_watchdog() -> None:
    """It is refused in our own words, as everything that keeps a watchdog from standing by."""
    watched = Watched(target=Target(dsn="host=db1 dbname=app"), gate="hold", mark="by a test", pauses=(), replays=(),
                      patching=fence.Backend(pid=1, started_at=datetime.now(UTC)), limit_seconds=60)
    with pytest.raises(WatchdogFailed, match="db1:5432/app could not be started: Resource temporarily unavailable"):
        await Watchdog.start(watched, reactor=AFullMachine())


async def test_no_password_is_on_its_command_line_or_in_its_environment(database: Database, pooler: PgBouncer) -> None:
    """Everybody on the machine may read the one, its owner's other programs the other."""
    deploying = await deploy(database.target, pauses=[a_pause(pooler, database)])
    shown = [Path(f"/proc/{deploying.watchdog.pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
    await deploying.end()

    passwords = [database.target.password or "", console_of(pooler).password or ""]
    assert b"downtime.watchdog" in shown[0]
    assert [word for word in passwords if word.encode() in b"".join(shown)] == []
    assert [word for word in passwords if word in repr(deploying.watched)] == []


def test_a_watchdog_whose_order_is_cut_off_ends() -> None:
    """The deployer died while it gave it: nothing is paused before the watchdog has answered."""
    ended = subprocess.run([sys.executable, "-m", "downtime.watchdog"], input=b'{"target": ', capture_output=True,
                           cwd=ROOT, check=False, timeout=LONG_SECONDS)

    assert (ended.returncode, ended.stdout, ended.stderr) == (errors.ExitStatus.USAGE, b"", b"")

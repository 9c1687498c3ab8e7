"""Rows about a PgBouncer before production: it dies, cannot be paused; and who lets it go on when we die."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2

from demo import application
from demo.faults.aftermath import expect_deployed, expect_not_repeated
from demo.faults.around import Caller, behind_the_pooler, standby_replays, watchdogs
from demo.faults.circumstances import refused, settings, until
from demo.faults.moments import Moment, reach
from demo.faults.rows import Finding, Row
from demo.faults.world import World
from demo.pgbouncer import PgBouncer
from demo.servers import LOOPBACK, free_port
from demo.web import Build

WATCHDOG_SECONDS = 0.25   # from the master's death until a client behind the pooler is answered
RESTART_SECONDS = 20.0    # a master reads its settings and its state database first
COMMAND_SECONDS = 10.0
PATCH_SECONDS = 2.0       # long enough to do something to a pooler meanwhile
PAUSE_SECONDS = 1.0       # after which a client in a transaction is waited for no longer
IN_QUESTION = "A pooler dies, or cannot be paused"
DIED = "The buildmaster is killed"
WAITS = "its clients wait, and see no error"


def rows() -> tuple[Row, ...]:
    return (
        _row("PgBouncer is read anew (RELOAD)", Moment.STATEMENT, _reloaded, f"the patch is in; {WAITS}"),
        _row("PgBouncer is restarted", Moment.STATEMENT, _restarted,
             "the patch is in; its clients are cut off once, and go on"),
        _row("kill -9 of PgBouncer, started again", Moment.STATEMENT, _killed,
             "the patch is in; its clients go on when it is back"),
        _row("a client behind the pooler stays in its transaction", "as the pooler is paused", _busy,
             "refused at `pause_seconds` (here 1), nobody kicked; its clients go on"),
        _row("one of two poolers is dead", "before anything is paused", _one_of_two, "refused, untouched"),
        _row("kill -9 of the watchdog", Moment.STATEMENT, _watchdog_killed, f"the patch is in; {WAITS}"),
        _row("kill -9 of the master", "while a pooler is paused", _master_killed,
             f"{WAITS}; rolled back; after the restart not deployed again", WATCHDOG_SECONDS, DIED),
        _row("kill -9 of the master and of its watchdog, the master starts again", "while a pooler is paused",
             _both_killed_and_started, f"{WAITS} until then; rolled back, not deployed again", RESTART_SECONDS, DIED),
        _row("kill -9 of the master and of its watchdog, reopened by command", "while a pooler is paused",
             _both_killed_and_reopened, f"{WAITS} until then; rolled back, not deployed again", COMMAND_SECONDS, DIED),
    )


def _row(fault: str, moment: str, play: Callable[[World], Finding], must_hold: str,
         limit_seconds: float | None = None, in_question: str = IN_QUESTION) -> Row:
    return Row(fault=fault, moment=moment, must_hold=must_hold, limit_seconds=limit_seconds, play=play,
               in_question=in_question, surrounded=True)


def _reloaded(world: World) -> Finding:
    with _while_paused(world) as (build, calling):
        _pooler(world).reload()
        return _goes_on(world, build, calling, may_be_cut=False)


def _restarted(world: World) -> Finding:
    with _while_paused(world) as (build, calling):
        _pooler(world).restart()
        return _goes_on(world, build, calling, may_be_cut=True)


def _killed(world: World) -> Finding:
    with _while_paused(world) as (build, calling):
        _pooler(world).kill()
        time.sleep(PATCH_SECONDS)  # it is away as the patch commits
        _pooler(world).start()
        return _goes_on(world, build, calling, may_be_cut=True)


def _watchdog_killed(world: World) -> Finding:
    with _while_paused(world) as (build, calling):
        (watchdog,) = watchdogs(world)
        os.kill(watchdog, signal.SIGKILL)
        finding = _goes_on(world, build, calling, may_be_cut=False)
        log = world.master.log.read_text(errors="replace")
        finding.expect("nobody lets go of what is paused if we die" in log, "the log does not warn of it")
        return finding


def _busy(world: World) -> Finding:
    (usual,) = world.sandbox.surroundings.settings["poolers"]
    with settings(world, poolers=[{**usual, "pause_seconds": PAUSE_SECONDS}]), behind_the_pooler(world) as calling:
        build = world.ask()
        with _in_a_transaction(world):
            world.approve(build)
            ended = world.ended(build)
            finding = refused(world, ended, "could not be paused", untouched=False)
        calling.seconds_until_answered(time.monotonic())
        finding.expect(not calling.errors, f"clients behind the pooler saw errors: {calling.errors}")
        finding.expect(calling.longest_seconds < 5 * PAUSE_SECONDS,
                       f"they waited {calling.longest_seconds:.1f} s, which is much longer than pause_seconds")
        return finding


def _one_of_two(world: World) -> Finding:
    (usual,) = world.sandbox.surroundings.settings["poolers"]
    dead = {**usual, "console": f"postgresql://nobody@{LOOPBACK}:{free_port()}/pgbouncer"}
    with settings(world, poolers=[usual, dead]), behind_the_pooler(world) as calling:
        build = world.ask()
        world.approve(build)
        finding = refused(world, world.ended(build), "Connection refused", untouched=True)
        finding.expect(not calling.errors, f"clients of the other one saw errors: {calling.errors}")
        finding.expect(not _is_paused(world), "the other one is paused")
        return finding


def _master_killed(world: World) -> Finding:
    with _while_paused(world, until_killed=True) as (build, calling):
        since = world.strike_master()
        return _not_repeated(world, build, calling, Finding(seconds=calling.seconds_until_answered(since)))


def _both_killed_and_started(world: World) -> Finding:
    with _while_paused(world, until_killed=True) as (build, calling):
        since = _kill_both(world)
        world.restart_master()
        return _not_repeated(world, build, calling, Finding(seconds=calling.seconds_until_answered(since)))


def _both_killed_and_reopened(world: World) -> Finding:
    with _while_paused(world, until_killed=True) as (build, calling):
        _kill_both(world)
        until(lambda: _state(world, "status").returncode == 4, "`status` to call for an operator", COMMAND_SECONDS)
        since = time.monotonic()
        done = _state(world, "reopen")
        finding = Finding(seconds=calling.seconds_until_answered(since), said=done.stdout.strip())
        finding.expect(done.returncode == 0, f"`reopen` ended with {done.returncode}: {done.stderr}{done.stdout}")
        return _not_repeated(world, build, calling, finding)


def _state(world: World, command: str) -> Any:
    return world.sandbox.downtime(command, "--environment", "production")


def _kill_both(world: World) -> float:
    """The watchdog first: it would act at once. Returns when that was (monotonic)."""
    (watchdog,) = watchdogs(world)
    os.kill(watchdog, signal.SIGKILL)
    return world.strike_master()


def _not_repeated(world: World, build: Build, calling: Caller, finding: Finding) -> Finding:
    finding.expect(not calling.errors, f"clients behind the pooler saw errors: {calling.errors}")
    finding.expect(not _is_paused(world), "the pooler is paused still")
    until(lambda: standby_replays(world), "the standby to replay", COMMAND_SECONDS)  # let go beside, not before
    if world.master.process is None:
        world.restart_master()
    expect_not_repeated(finding, world, build, Moment.STATEMENT, applied=False)
    return finding


def _goes_on(world: World, build: Build, calling: Caller, *, may_be_cut: bool) -> Finding:
    """The deployment ends well, and its pooler's clients are served."""
    finding = Finding()
    expect_deployed(finding, world, build, Moment.STATEMENT)
    calling.seconds_until_answered(time.monotonic())
    finding.expect(may_be_cut or not calling.errors, f"clients behind the pooler saw errors: {calling.errors}")
    finding.expect(not _is_paused(world), "the pooler is paused still")
    return finding


@contextlib.contextmanager
def _while_paused(world: World, *, until_killed: bool = False) -> Iterator[tuple[Build, Caller]]:
    """In mid-statement, with a client that waits behind the pooler; the statement ends unless somebody is to die."""
    with behind_the_pooler(world) as calling:
        build = reach(world, Moment.STATEMENT, **({} if until_killed else {"sleep_seconds": PATCH_SECONDS}))
        until(lambda: any(row["cl_waiting"] for row in _pooler(world).admin("SHOW POOLS")), "a client to wait")
        yield build, calling


@contextlib.contextmanager
def _in_a_transaction(world: World) -> Iterator[None]:
    dsn = world.sandbox.surroundings.pooled_dsn(application.APPLICATION)
    with contextlib.closing(psycopg2.connect(dsn)) as client:
        client.cursor().execute("SELECT 1")
        yield


def _pooler(world: World) -> PgBouncer:
    pooler = world.sandbox.surroundings.pooler
    assert pooler is not None, "the row needs PgBouncer: apt install pgbouncer"
    return pooler


def _is_paused(world: World) -> bool:
    return any(row["paused"] for row in _pooler(world).admin("SHOW DATABASES"))

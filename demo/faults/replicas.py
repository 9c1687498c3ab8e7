"""Rows about a hot standby beside production: it lags, dies, is read from, or is promoted; and who lets it replay."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2

from demo import application
from demo.faults.aftermath import expect_aborted, expect_deployed, expect_not_repeated
from demo.faults.around import HELD, at_the_standby, standby_replays
from demo.faults.circumstances import refused, settings, until
from demo.faults.moments import SLEEPS, Moment, reach
from demo.faults.rows import Finding, Row, measured
from demo.faults.world import World
from demo.sandbox import DATABASE
from demo.servers import Server
from demo.standby import Standby
from downtime import marker

OPEN_SECONDS = 1.0       # as for whoever presses Stop
WATCHDOG_SECONDS = 0.25  # from the master's death until the standby replays
LAG_SECONDS = 1.0
PATCH_SECONDS = 1.0
PROMOTION_SECONDS = 4.0  # a patch that is under way for longer than a promotion takes on a busy machine
GAP_SECONDS = 0.3        # the longest that a reader at the standby is to wait, on a quiet machine
BUSY = 5.0
IN_QUESTION = "A standby lags, dies, or is promoted"
FAILOVER = "The primary fails over in the middle of it"
DIED = "The buildmaster is killed"
BEFORE = "before anything is closed"
NOWHERE = "neither patch nor ledger row on either server"


def rows() -> tuple[Row, ...]:
    return (
        _row("a standby lags", BEFORE, _lags, "refused at `lag_seconds` (here 1), untouched"),
        _row("replay is paused on a standby", BEFORE, _is_paused, "refused, untouched; it stays paused"),
        _row("a reader's long transaction on a standby", "as the gate closes", _long_transaction,
             "it is kicked as on the primary; the patch is in, on the standby as well"),
        _row("a reader's long transaction on a standby, serve_reads", Moment.STATEMENT, _served,
             "readers see no gap and no error; the transaction is ended after the COMMIT, when it blocks replay"),
        _row("kill -9 of a standby", Moment.STATEMENT, _dies, "rolled back, open", OPEN_SECONDS),
        _row("a standby is promoted", Moment.STATEMENT, _promoted,
             f"rolled back, open; {NOWHERE}; gate refuse: the new one opens with `reopen`", OPEN_SECONDS, FAILOVER),
        _row("kill -9 of PostgreSQL, and its standby is promoted", Moment.STATEMENT, _failed_over,
             f"the new primary is open; {NOWHERE}; not deployed again", None, FAILOVER),
        _row("kill -9 of the master", "while replay is paused", _master_killed,
             "it replays, readers see no error; rolled back; after the restart not deployed again", WATCHDOG_SECONDS,
             DIED),
    )


def _row(fault: str, moment: str, play: Callable[[World], Finding], must_hold: str,
         limit_seconds: float | None = None, in_question: str = IN_QUESTION) -> Row:
    return Row(fault=fault, moment=moment, must_hold=must_hold, limit_seconds=limit_seconds, play=play,
               in_question=in_question, surrounded=True)


def _lags(world: World) -> Finding:
    standby = _standby(world)
    standby.admin_sql("ALTER SYSTEM SET recovery_min_apply_delay = '10min'")
    standby.admin_sql("SELECT pg_reload_conf()")
    with _replicas(world, lag_seconds=LAG_SECONDS):
        return _refused(world, "is too far behind")


def _is_paused(world: World) -> Finding:
    _standby(world).admin_sql("SELECT pg_wal_replay_pause()")
    finding = _refused(world, "replay is paused on the standby")
    finding.expect(not standby_replays(world), "what an administrator has paused was resumed")
    return finding


def _refused(world: World, words: str) -> Finding:
    build = world.ask()
    world.approve(build)
    return refused(world, world.ended(build), words, untouched=True)


def _long_transaction(world: World) -> Finding:
    with _replicas(world, serve_reads=False), _reader_in_a_transaction(world) as reader:
        world.set_pace(PATCH_SECONDS)
        build = world.ask()
        world.approve(build)
        finding = Finding()
        expect_deployed(finding, world, build, Moment.STATEMENT)
        finding.expect(_is_there(world), "the standby does not have the patch")
        finding.expect(_is_cut(reader), "the reader was not kicked")
        return finding


def _served(world: World) -> Finding:
    with _reader_in_a_transaction(world) as reader, at_the_standby(world) as reading:
        build = reach(world, Moment.STATEMENT, sleep_seconds=PATCH_SECONDS)
        finding = Finding()
        finding.expect(not _is_cut(reader), "the reader was kicked, though nothing had to replay yet")
        expect_deployed(finding, world, build, Moment.STATEMENT)
        finding.expect(_is_there(world), "the standby does not have the patch")
        finding.expect(not reading.errors, f"readers saw errors: {reading.errors}")
        finding.expect(reading.longest_seconds < BUSY * GAP_SECONDS,
                       f"readers waited {reading.longest_seconds:.3f} s")
        return finding


def _dies(world: World) -> Finding:
    build = reach(world, Moment.STATEMENT, sleep_seconds=PATCH_SECONDS)
    _standby(world).kill()
    finding = _once_it_has_slept(world)
    expect_aborted(finding, world, build, Moment.STATEMENT)
    return finding


def _promoted(world: World) -> Finding:
    build = reach(world, Moment.STATEMENT, sleep_seconds=PROMOTION_SECONDS)
    _standby(world).promote()
    finding = _once_it_has_slept(world)
    expect_aborted(finding, world, build, Moment.STATEMENT)
    if not _is_open(_standby(world)):
        finding.expect(world.gate == "refuse", "this gate must not outlive its server")
        world.proxy.lead_to(_standby(world).port)  # the settings are pointed to the new primary
        done = world.sandbox.downtime("reopen", "--environment", "production")
        finding.expect(_is_open(_standby(world)), f"the new primary is shut: {done.stderr}{done.stdout}")
    _expect_nowhere(finding, world)
    return finding


def _failed_over(world: World) -> Finding:
    build = reach(world, Moment.STATEMENT)
    standby = _standby(world)
    world.production.kill()
    standby.promote()
    world.proxy.lead_to(standby.port)  # as a virtual address would
    ended = world.ended(build)
    finding = Finding(said=ended.state)
    finding.expect(not ended.good, f"it should have failed:\n{world.story_of(build)}")
    finding.expect(world.is_done_with(build), "Buildbot is going to build the request again")
    finding.expect(_is_open(standby), "the new primary is shut")
    world.production.start()
    world.production.admin_sql(marker.opening(DATABASE, role=application.PATCHER))  # nobody would use it as it is
    _expect_nowhere(finding, world)
    finding.expect(standby.admin_sql(HELD, database=DATABASE) == [], "the new primary has something written down")
    world.production.admin_sql("DELETE FROM fastdowntime.held", database=DATABASE)
    return finding


def _master_killed(world: World) -> Finding:
    with at_the_standby(world) as reading:
        build = reach(world, Moment.STATEMENT)
        assert not standby_replays(world), "the row is about this"
        since = world.strike_master()
        until(lambda: standby_replays(world), "the standby to replay")
        finding = Finding(seconds=time.monotonic() - since)
        world.restart_master()
        expect_not_repeated(finding, world, build, Moment.STATEMENT, applied=False)
        finding.expect(not reading.errors, f"readers saw errors: {reading.errors}")
        return finding


def _once_it_has_slept(world: World) -> Finding:
    """Open again, counted from the end of the patch's statement: what has happened is found out before the COMMIT."""
    until(lambda: not world.onlooker_sees(SLEEPS), "the patch's statement to end")
    return measured(world)


def _expect_nowhere(finding: Finding, world: World) -> None:
    for name, server in (("the old primary", world.production), ("the new one", _standby(world))):
        state = world.state(on=server)
        finding.expect(not state.column and not state.recorded, f"{name} has of the patch: {state}")


def _is_open(server: Server) -> bool:
    return server.admin_sql("SELECT datallowconn FROM pg_database WHERE datname = %s", (DATABASE,)) == [(True,)]


@contextlib.contextmanager
def _replicas(world: World, **keys: Any) -> Iterator[None]:
    with settings(world, replicas={**world.sandbox.surroundings.settings["replicas"], **keys}):
        yield


@contextlib.contextmanager
def _reader_in_a_transaction(world: World) -> Iterator[psycopg2.extensions.connection]:
    """It has read what the patch changes."""
    dsn = world.sandbox.surroundings.standby_dsn(application.APPLICATION)
    with contextlib.closing(psycopg2.connect(dsn)) as reader:
        reader.cursor().execute("SELECT count(*) FROM account")
        yield reader


def _is_cut(reader: psycopg2.extensions.connection) -> bool:
    try:
        reader.cursor().execute("SELECT 1")
    except psycopg2.Error:
        return True
    return False


def _standby(world: World) -> Standby:
    standby = world.sandbox.surroundings.standby
    assert standby is not None, "the world was made with one"
    return standby


def _is_there(world: World) -> bool:
    """Whether the standby has the patch."""
    state = world.state(on=_standby(world))
    return state.column and state.recorded

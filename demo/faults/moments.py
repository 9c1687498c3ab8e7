"""Bring a deployment to a moment, and hold it there until the fault has come."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum

from demo import application
from demo.faults.sample import LIVE_PATCH, PATCH
from demo.faults.world import World
from demo.web import Build

SLEEP_SECONDS = 60.0   # longer than anybody waits: the statement is never seen to end
MOMENT_SECONDS = 1.0   # long enough to arm the proxy while the patch sleeps
REACHED_SECONDS = 45.0  # from an approval; 1 s on a quiet machine
LOOK_SECONDS = 0.005
COMMIT = b"COMMIT"

# Asked by a session that was there before: none gets in while the gate is closed. Takes no lock that waits.
IS_CLOSED = {
    "hold": "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'pg_db_role_setting'::regclass AND granted"
            " AND mode = 'AccessExclusiveLock')",
    "refuse": "SELECT NOT datallowconn FROM pg_database WHERE datname = current_database()",
}
SLEEPS = ("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
          f" AND usename = '{application.PATCHER}')")
IS_KICKED = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'bystander')"


class Moment(StrEnum):
    """Where a deployment can be, in its running order."""

    WAITING = "waiting for approval"
    QUIESCED = "quiesced"
    CLOSED = "gate closed"
    KICKING = "mid-kick"
    STATEMENT = "mid-statement"
    BEFORE_COMMIT = "before COMMIT"
    AFTER_COMMIT = "after COMMIT, before the record"
    LIVE = "mid-statement of a live patch"


PHASES = (Moment.WAITING, Moment.QUIESCED, Moment.CLOSED, Moment.KICKING, Moment.STATEMENT)
BEGUN = frozenset(Moment) - {Moment.WAITING, Moment.QUIESCED}     # never built again
QUIESCED = frozenset(Moment) - {Moment.WAITING, Moment.LIVE}      # background tasks are owed


def reach(world: World, moment: Moment, *, sleep_seconds: float = SLEEP_SECONDS) -> Build:
    """Start a deployment and return when it is at the moment, where it stays (in a statement for `sleep_seconds`).

    Raises AssertionError or WebError.
    """
    world.watch()
    _prepare(world, moment, sleep_seconds)
    build = world.ask(LIVE_PATCH if moment is Moment.LIVE else PATCH)
    if moment is Moment.WAITING:
        return build
    world.approve(build)
    match moment:
        case Moment.QUIESCED:
            _until(world.quiesced.exists, world, moment, build)
        case Moment.CLOSED:
            _until(lambda: world.onlooker_sees(IS_CLOSED[world.gate]), world, moment, build)
        case Moment.KICKING:
            _until(lambda: world.onlooker_sees(IS_KICKED), world, moment, build)
        case Moment.STATEMENT | Moment.LIVE:
            _until(lambda: world.onlooker_sees(SLEEPS), world, moment, build)
        case Moment.BEFORE_COMMIT | Moment.AFTER_COMMIT:
            _until(lambda: world.onlooker_sees(SLEEPS), world, moment, build)
            (world.proxy.cut_before if moment is Moment.BEFORE_COMMIT else world.proxy.cut_after)(COMMIT)
            _until(lambda: world.proxy.has_fallen, world, moment, build)
    return build


def let_go_on(world: World, moment: Moment, build: Build) -> None:
    """Take away what holds the deployment at the moment; a statement ends by itself."""
    match moment:
        case Moment.WAITING:
            world.approve(build)
        case Moment.QUIESCED:
            world.hold_quiescing.unlink()
        case Moment.CLOSED:
            world.obstacle.close()
        case Moment.KICKING:
            world.thaw()


def _prepare(world: World, moment: Moment, sleep_seconds: float) -> None:
    """Put the obstacle in the way that holds the deployment at the moment."""
    match moment:
        case Moment.QUIESCED:
            world.hold_quiescing.touch()
        case Moment.CLOSED:
            world.obstacle = world.connect()
            with world.obstacle.cursor() as cursor:
                cursor.execute("BEGIN; SELECT 1")  # the deployment waits for it to end, behind the closed gate
        case Moment.KICKING:
            with world.connect().cursor() as cursor:
                cursor.execute("SET application_name TO 'bystander'")
            world.freeze(world.connect().info.backend_pid)
        case Moment.LIVE:
            world.skip_first_patch()
            world.set_pace(sleep_seconds)
        case Moment.STATEMENT:
            world.set_pace(sleep_seconds)
        case Moment.BEFORE_COMMIT | Moment.AFTER_COMMIT:
            world.set_pace(MOMENT_SECONDS)


def _until(happened: Callable[[], bool], world: World, moment: Moment, build: Build) -> None:
    deadline = time.monotonic() + REACHED_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            raise AssertionError(f"the deployment never came to be {moment}:\n{world.story_of(build)}")
        time.sleep(LOOK_SECONDS)

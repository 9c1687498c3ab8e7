"""kill -9 of production's PostgreSQL while its gate is closed: it starts again, with or without a master to see it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

from demo.faults.aftermath import expect_aborted, expect_not_repeated
from demo.faults.moments import Moment, reach
from demo.faults.rows import Finding, Row
from demo.faults.world import World

OPEN_AT_ONCE = 0.25
OPEN_SOON = 1.0
MASTER_SECONDS = 8.0    # a master needs 2 to 3 s to start, and looks before it answers
COMMAND_SECONDS = 5.0   # most of it is the start of Python
MOMENTS = (Moment.CLOSED, Moment.STATEMENT)
IN_QUESTION = "PostgreSQL crashes"


def rows() -> tuple[Row, ...]:
    return tuple(row for moment in MOMENTS for row in (
        Row(fault="kill -9 of PostgreSQL, the master lives", moment=moment, limit_seconds=OPEN_SOON,
            must_hold="after its restart open within 1 s of accepting connections, rolled back", play=_lives(moment),
            in_question=IN_QUESTION),
        Row(fault="kill -9 of PostgreSQL and of the master, the master starts again", moment=moment,
            limit_seconds=MASTER_SECONDS, play=_next_start(moment), in_question=IN_QUESTION,
            must_hold="open seconds after the start of the master, rolled back, not deployed again"),
        Row(fault="kill -9 of PostgreSQL and of the master, reopened by command", moment=moment,
            limit_seconds=COMMAND_SECONDS, play=_reopened(moment), in_question=IN_QUESTION,
            must_hold="open seconds after `python -m downtime reopen`, without a master")))


def _lives(moment: Moment) -> Callable[[World], Finding]:
    def play(world: World) -> Finding:
        build = reach(world, moment)
        world.production.kill()
        with _meanwhile(world.production.start):
            finding = Finding(seconds=world.seconds_shut_once_up())
        if world.gate == "hold":
            finding.expect(finding.seconds is not None and finding.seconds < 5 * OPEN_AT_ONCE,
                           "a crash must leave nothing of this gate")
        expect_aborted(finding, world, build, moment)
        return finding
    return play


def _next_start(moment: Moment) -> Callable[[World], Finding]:
    def play(world: World) -> Finding:
        build = reach(world, moment)
        _kill_both(world)
        since = time.monotonic()
        with _meanwhile(world.master.start):
            finding = Finding(seconds=world.seconds_until_open(since))
        expect_not_repeated(finding, world, build, moment, applied=False)
        return finding
    return play


def _reopened(moment: Moment) -> Callable[[World], Finding]:
    def play(world: World) -> Finding:
        build = reach(world, moment)
        _kill_both(world)
        since = time.monotonic()
        done = world.sandbox.downtime("reopen", "--environment", "production")
        finding = Finding(seconds=world.seconds_until_open(since))
        finding.expect(done.returncode == 0, f"`reopen` ended with {done.returncode}: {done.stderr}{done.stdout}")
        said = done.stdout.strip()
        world.master.start()
        expect_not_repeated(finding, world, build, moment, applied=False)
        finding.said = said
        return finding
    return play


@contextmanager
def _meanwhile(work: Callable[[], object]) -> Iterator[None]:
    """Something that takes its time goes on beside what is watched; it has ended when the watching is over."""
    thread = Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _kill_both(world: World) -> None:
    world.production.kill()  # first: the guard in it would open behind a master that dies alone
    world.master.kill()
    world.production.start()

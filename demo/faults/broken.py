"""What the deployment does not need for opening is broken behind its closed gate: state database, disk, a fragile user.

A broken settings file is among the rows of `reconfigured`.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from demo import application
from demo.faults import state
from demo.faults.aftermath import expect_aborted, expect_told
from demo.faults.moments import Moment, let_go_on, reach
from demo.faults.rows import Finding, Row, expect_whole, measured
from demo.faults.world import LIMIT_SECONDS, World

OPEN_LIMIT_SECONDS = 1.0
SLEEP_SECONDS = 1.0          # of the patch that runs on meanwhile
STATEMENT_LIMIT_SECONDS = SLEEP_SECONDS + OPEN_LIMIT_SECONDS
SHORT_DRAIN_SECONDS = 3
PATIENCE_SECONDS = 3.0       # with a master that cannot end its builds
NEVER_LIMIT_SECONDS = LIMIT_SECONDS + OPEN_LIMIT_SECONDS

IN_QUESTION = "Something breaks in the middle"
REOPENED = "open, patch and ledger agree; after the repair and a restart a build says so"
FRAGILE_WRITES = f"BEGIN; INSERT INTO upload (path) VALUES ('half an upload of {application.FRAGILE}')"


def rows() -> tuple[Row, ...]:
    return (
        Row(fault="a statement that never ends", moment=Moment.STATEMENT, limit_seconds=NEVER_LIMIT_SECONDS,
            must_hold="cut at `outage_limit_seconds` (here 8), rolled back, open", play=_never_ends,
            in_question="A statement never ends"),
        *(Row(fault=fault, moment=moment, must_hold=REOPENED, in_question=IN_QUESTION, play=_breaks(moment, breaking),
              limit_seconds=STATEMENT_LIMIT_SECONDS if moment is Moment.STATEMENT else OPEN_LIMIT_SECONDS)
          for moment in (Moment.CLOSED, Moment.STATEMENT) for fault, breaking in (
              ("the state database is overwritten", _overwritten), ("the state database is empty", _truncated),
              ("the disk is full", _full_disk))),
        Row(fault="a fragile user begins a transaction", moment=Moment.CLOSED,
            limit_seconds=SHORT_DRAIN_SECONDS + OPEN_LIMIT_SECONDS,
            must_hold="aborted after `drain_seconds` (here 3), open; its transaction goes on", play=_fragile_begins,
            in_question="A fragile user is at work"))


def _never_ends(world: World) -> Finding:
    build = reach(world, Moment.STATEMENT)
    finding = measured(world)
    expect_aborted(finding, world, build, Moment.STATEMENT)
    finding.expect("limit of 8 s" in world.story_of(build), f"the build names no limit:\n{world.story_of(build)}")
    return finding


def _fragile_begins(world: World) -> Finding:
    world.write_settings(drain_seconds=SHORT_DRAIN_SECONDS)  # so long a transaction is waited for, then it is judged
    world.reread()
    script = world.connect(application.FRAGILE)
    build = reach(world, Moment.CLOSED)
    with script.cursor() as cursor:
        cursor.execute(FRAGILE_WRITES)
        finding = measured(world)
        cursor.execute("COMMIT")  # raises where its session was harmed
    expect_aborted(finding, world, build, Moment.CLOSED)
    finding.expect(application.FRAGILE in world.story_of(build), f"nobody is named:\n{world.story_of(build)}")
    return finding


def _end_master(world: World) -> None:
    """As an operator does: by SIGTERM, and a master that waits for a build it cannot write down is killed."""
    process = world.master.process
    if process is not None:
        process.end(PATIENCE_SECONDS)
    world.master.kill()


Breaking = Callable[[World], Iterator[None]]


def _breaks(moment: Moment, breaking: Breaking) -> Callable[[World], Finding]:
    def play(world: World) -> Finding:
        build = reach(world, moment, sleep_seconds=SLEEP_SECONDS)
        with contextmanager(breaking)(world):
            since = time.monotonic()
            let_go_on(world, moment, build)
            finding = measured(world, since)
            expect_whole(finding, world, applied=None)
            _end_master(world)
        world.forget_sessions()
        world.master.start()
        expect_told(finding, world, build, moment, applied=None)
        return finding
    return play


def _overwritten(world: World) -> Iterator[None]:
    return _state_lost(world, state.overwrite)


def _truncated(world: World) -> Iterator[None]:
    return _state_lost(world, state.truncate)


def _state_lost(world: World, lose: Callable[[Path], None]) -> Iterator[None]:
    """Lost, and put back from a copy of a moment ago when the master has ended."""
    kept, copy = world.sandbox.master / state.STATE, world.sandbox.folder / "copy.sqlite"
    state.backup(kept, copy)
    try:
        lose(kept)
        yield
    finally:
        world.master.kill()
        state.put_back(copy, kept)


def _full_disk(world: World) -> Iterator[None]:
    """Not one byte can be written to any file by the master, its log and its state database among them."""
    process = world.master.process
    assert process is not None, "the deployment runs on it"
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, 0))
    yield

"""The worker is lost that a deployment runs on, which no deployment depends on: its code runs in the master."""

from __future__ import annotations

import time
from collections.abc import Callable

from demo.faults.aftermath import expect_aborted, expect_not_repeated
from demo.faults.moments import BEGUN, PHASES, Moment, reach
from demo.faults.rows import Finding, Row, measured
from demo.faults.world import World

LIMIT_SECONDS = 1.0
IN_QUESTION = "A worker is lost"


def rows() -> tuple[Row, ...]:
    return tuple(Row(fault="a remote worker is killed", moment=moment, limit_seconds=LIMIT_SECONDS, play=_lost(moment),
                     must_hold="rolled back, open, not deployed by itself", in_question=IN_QUESTION)
                 for moment in PHASES)


def _lost(moment: Moment) -> Callable[[World], Finding]:
    def play(world: World) -> Finding:
        world.remote_worker.start()
        world.reread()
        world.remote_worker.await_attached(world.as_("operator"))
        build = reach(world, moment)
        since = time.monotonic()
        world.remote_worker.kill()
        finding = measured(world, since)
        if moment in BEGUN:
            expect_aborted(finding, world, build, moment)
        else:
            world.remote_worker.start()  # what waited is asked for again as soon as there is a worker
            expect_not_repeated(finding, world, build, moment, applied=False)
        return finding
    return play

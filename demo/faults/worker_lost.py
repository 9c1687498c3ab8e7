"""The worker is lost that a deployment runs on, which no deployment depends on: its code runs in the master."""

from __future__ import annotations

import time
from collections.abc import Callable

from demo.faults.aftermath import expect_aborted, expect_deployed, expect_not_repeated
from demo.faults.moments import BEGUN, PHASES, Moment, let_go_on, reach
from demo.faults.rows import Finding, Row, measured
from demo.faults.world import World

LIMIT_SECONDS = 1.0
IN_QUESTION = "A worker is lost"


def rows() -> tuple[Row, ...]:
    return (*(Row(fault="a remote worker is killed", moment=moment, limit_seconds=LIMIT_SECONDS, play=_lost(moment),
                  must_hold="rolled back, open, not deployed by itself", in_question=IN_QUESTION)
              for moment in PHASES),
            Row(fault="the worker is told to shut down", moment=Moment.CLOSED, limit_seconds=LIMIT_SECONDS,
                must_hold="the deployment goes on as it began", play=_told_to_end, in_question=IN_QUESTION))


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


def _told_to_end(world: World) -> Finding:
    build = reach(world, Moment.CLOSED)
    operator = world.as_("operator")
    (found,) = operator.get(f"builds/{build.id}")["builds"]
    operator.call(f"workers/{found['workerid']}", "kill", reason="")
    finding = Finding()
    since = time.monotonic()
    let_go_on(world, Moment.CLOSED, build)
    finding.seconds = world.seconds_until_open(since)
    expect_deployed(finding, world, build, Moment.CLOSED)
    world.master.kill()  # it has the worker again when it starts
    return finding

"""The master's machine vanishes: nothing arrives from it any more, not even that it is gone."""

from __future__ import annotations

import time
from collections.abc import Callable

from demo.faults.aftermath import expect_aborted, expect_not_repeated
from demo.faults.moments import Moment, reach
from demo.faults.rows import Finding, Row, expect_whole, measured
from demo.faults.world import World

LIMIT_SECONDS = 5.0  # keepalives take 3 s to miss a machine, and so long a transaction may be idle
IN_QUESTION = "The buildmaster's machine vanishes"


def rows() -> tuple[Row, ...]:
    return tuple(row for moment in (Moment.CLOSED, Moment.STATEMENT) for row in (
        Row(fault="network cut, and the master dies", moment=moment, limit_seconds=LIMIT_SECONDS,
            must_hold="open, rolled back; after the restart not deployed again", play=_vanishes_at(moment),
            in_question=IN_QUESTION),
        Row(fault="network cut, and the master lives", moment=moment, limit_seconds=LIMIT_SECONDS,
            must_hold="open, rolled back; when the network is back the master commits nothing, and its build says so",
            play=_comes_back_at(moment), in_question=IN_QUESTION)))


def _vanishes_at(moment: Moment) -> Callable[[World], Finding]:
    def play(world: World) -> Finding:
        build = reach(world, moment)
        since = time.monotonic()
        world.proxy.cut()
        world.master.kill()
        finding = measured(world, since)
        world.proxy.drop()
        world.proxy.restore()
        world.master.start()
        expect_not_repeated(finding, world, build, moment, applied=False)
        return finding
    return play


def _comes_back_at(moment: Moment) -> Callable[[World], Finding]:
    def play(world: World) -> Finding:
        build = reach(world, moment)
        since = time.monotonic()
        world.proxy.cut()
        finding = measured(world, since)
        world.proxy.restore()  # what the old deployer has sent meanwhile arrives now
        expect_aborted(finding, world, build, moment)
        expect_whole(finding, world, applied=False)
        return finding
    return play

"""SIGHUP in the middle of a deployment: the settings have changed, or are broken. It goes on all the same."""

from __future__ import annotations

from collections.abc import Callable

from demo.faults.aftermath import expect_deployed
from demo.faults.moments import PHASES, Moment, let_go_on, reach
from demo.faults.rows import Finding, Row
from demo.faults.world import DRAIN_SECONDS, World

SLEEP_SECONDS = 2.0  # of the patch: longer than a buildmaster takes to read its settings, on a quiet machine
GARBAGE = "environments: [this is no settings file\n"
IN_QUESTION = "The settings are read again"


def rows() -> tuple[Row, ...]:
    return (*(Row(fault="reconfig with other settings", moment=moment, play=_reconfigured(moment, broken=""),
                  must_hold="the deployment goes on as it began", limit_seconds=None, in_question=IN_QUESTION)
              for moment in PHASES),
            *(Row(fault="reconfig with a broken settings file", moment=moment, limit_seconds=None,
                  must_hold="the old settings stay, the deployment goes on",
                  play=_reconfigured(moment, broken=GARBAGE), in_question=IN_QUESTION)
              for moment in PHASES))


def _reconfigured(moment: Moment, *, broken: str) -> Callable[[World], Finding]:
    def play(world: World) -> Finding:
        build = reach(world, moment, sleep_seconds=SLEEP_SECONDS)
        if broken:
            world.sandbox.settings.write_text(broken)
        else:
            world.write_settings(drain_seconds=DRAIN_SECONDS - 1)
        taken = world.reread()
        finding = Finding()
        finding.expect(taken is not bool(broken), f"the master has {'' if taken else 'not '}taken the new settings")
        let_go_on(world, moment, build)
        expect_deployed(finding, world, build, moment)
        return finding
    return play

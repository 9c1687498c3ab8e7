"""How steps of the runbook are stopped."""

from __future__ import annotations

from typing import Any

from buildbot.process.buildstep import create_step_from_step_or_factory

from steps.shared.base import RunbookStep
from steps.shared.results import SUCCESS


class Step(RunbookStep):
    name = "a step"

    async def act(self) -> int:
        return SUCCESS


def a_step() -> Any:
    return create_step_from_step_or_factory(Step(None))  # type: ignore[arg-type]


async def test_a_step_can_be_stopped_before_buildbot_knows_it() -> None:
    """A build has its next step a moment before Buildbot's database has: Stop was an error in that moment."""
    step = a_step()

    await step.interrupt("by an operator")

    assert (step.stopped, step.stop_reason) == (True, "stopped (by an operator)")


async def test_stopping_it_twice_is_stopping_it() -> None:
    """The second press of the button is no error either."""
    step = a_step()

    await step.interrupt("by an operator")
    await step.interrupt("by an operator again")

    assert step.stopped

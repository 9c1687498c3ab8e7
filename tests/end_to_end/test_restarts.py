"""What people have decided survives the buildmaster, however it ends: real masters, real signals, real databases."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import yaml

from demo import web
from demo.stage import DEPLOYED_SECONDS, WAITING, WAITING_SECONDS, Stage
from demo.web import Build
from steps.shared.names import FORCED_BY, BuilderName, Property
from tests.end_to_end.catching_up import HARMLESS, catch_up, next_patch

CLOSED = {"cron": ["0 0 29 2 *"], "minutes": 1}  # unless the tests run on a leap day at midnight


def restart(stage: Stage, number: signal.Signals) -> None:
    """End the master as the signal does, and start it again."""
    process = stage.master.process
    assert process is not None
    process.signal(number)
    process.end()
    stage.master.kill()  # its remains
    stage.master.start()


@pytest.fixture
def strict(told: Stage) -> Iterator[Stage]:
    """Two approvals are needed, and the window is years away."""
    catch_up(told)
    usual = told.sandbox.settings.read_text()
    settings = yaml.safe_load(usual)
    settings["approval"] = {"count": 2}
    settings["environments"]["production"]["windows"] = CLOSED
    told.sandbox.settings.write_text(yaml.safe_dump(settings))
    restart(told, signal.SIGTERM)
    yield told
    told.sandbox.settings.write_text(usual)
    restart(told, signal.SIGTERM)


def later_build(stage: Stage, build: Build, says: str) -> Build:
    """The build of the same request that a new master has made, when one of its steps says so."""
    operator = stage.as_("operator")
    (found,) = operator.get(f"builds/{build.id}")["builds"]

    def look() -> Build | None:
        latest = operator.build_of(build.builder, found["buildrequestid"], WAITING_SECONDS)
        return latest if latest.id != build.id and is_at(stage, latest, says) else None
    return web.wait(look, WAITING_SECONDS, f"the request to be built again, and to say {says}")


def is_at(stage: Stage, build: Build, says: str) -> bool:
    return any(step.state.startswith(says) for step in stage.as_("operator").steps(build))


def test_what_was_approved_stays_approved(strict: Stage) -> None:
    """One of two approvals, then both and a wait for the window: nobody has to repeat a word, and nothing is deployed
    before its time."""
    patch = next_patch(strict)
    strict.rehearse(patch, text=HARMLESS)
    first = strict.waiting(patch)
    strict.approve(first, "approver")
    restart(strict, signal.SIGKILL)
    second = later_build(strict, first, WAITING)
    again = strict.is_refused(second, "approver")
    strict.approve(second, "architect")
    web.wait(lambda: is_at(strict, second, "waiting for the window") or None, WAITING_SECONDS, "the window's turn")
    restart(strict, signal.SIGTERM)
    third = later_build(strict, second, "waiting for the window")
    before = strict.ledger("production", patch)
    operator = strict.as_("operator")
    operator.force(FORCED_BY[BuilderName.BEGIN_NOW], build=str(third.id), reason="the window is years away")
    ended = operator.ended(third, DEPLOYED_SECONDS)
    after = strict.ledger("production", patch)

    assert "approver has approved it already" in again
    assert before is None
    assert ended.good, operator.story_of(ended)
    assert after is not None
    assert after[2] == "approver, architect"
    assert ended.properties[Property.HURRIED] == "operator"

"""One buildmaster with its state on a PostgreSQL server of its own, moved there, and restarted under it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from demo import web
from demo.buildmaster import Buildmaster
from demo.installations import ServerError, installations
from demo.sandbox import Sandbox
from demo.stage import WAITING, WAITING_SECONDS, Stage
from demo.state_server import StateServer
from demo.web import Build
from tests.end_to_end.catching_up import HARMLESS, next_patch


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, StateServer]]:
    try:
        installations()
    except ServerError as error:
        pytest.skip(str(error))
    with ExitStack() as ending:
        sandbox = Sandbox.create(tmp_path_factory.mktemp("state") / "demo")
        ending.callback(sandbox.take_down)
        sandbox.record_baseline()
        state = StateServer.create(sandbox)
        ending.callback(state.destroy)
        master = Buildmaster(sandbox)
        master.create()
        master.start()
        ending.callback(master.stop)
        stage = Stage(master, print)
        ending.callback(stage.close)
        stage.rest()
        yield stage, state


def test_the_state_moves_to_a_server_and_everything_is_kept_there(world: tuple[Stage, StateServer]) -> None:
    """A request waits through kill -9 of the buildmaster, the move from a file to the server, and a restart of that
    server; it is deployed, and the file is needed no more."""
    stage, state = world
    patch = next_patch(stage)
    stage.rehearse(patch, text=HARMLESS)
    first = stage.waiting(patch)
    stage.master.kill()
    stage.master.copy_state(state.url)
    state.use(stage.sandbox)
    for file in stage.sandbox.master.glob("state.sqlite*"):
        file.unlink()
    stage.master.start()
    waiting = web.wait(lambda: _later(stage, first), WAITING_SECONDS, "the request to be built again")
    state.server.restart()
    stage.deploys(waiting)
    builds = state.rows("SELECT count(*) FROM builds WHERE complete_at IS NOT NULL")

    assert not list(stage.sandbox.master.glob("state.sqlite*"))
    assert builds == [(4,)]  # the rehearsal, the deployment that was killed, the one that was not, the approval


def _later(stage: Stage, first: Build) -> Build | None:
    found = [build for build in stage.as_("operator").builds(first.builder) if build.id > first.id]
    return found[0] if found and any(
        step.state.startswith(WAITING) for step in stage.as_("operator").steps(found[0])) else None

"""What a newcomer finds after `make up`: a patch wherever one can stand, and a way to go on."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from demo import history, story, upkeep
from demo.installations import ServerError, installations
from demo.stage import Stage
from downtime.history.stages import Stage as Place
from steps.shared.names import BuilderName, Property

PAGES = "plugins/wsgi_dashboards/deployments/"


@pytest.fixture(scope="module")
def newcomers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A demo that is up."""
    try:
        installations()
    except ServerError as error:
        pytest.skip(str(error))
    master = upkeep.start(tmp_path_factory.mktemp("history") / "demo", print)
    try:
        stage = Stage(master, print)
        story.play(stage, history.CHAPTERS)
        yield stage
        stage.close()
    finally:
        master.kill()  # told to end it would wait 5 s for builds that wait for somebody
        master.sandbox.take_down()


def places(stage: Stage) -> dict[str, str]:
    """Where each patch stands that is not in production, as the pages have it."""
    pending = json.loads(stage.as_("developer").text(f"{PAGES}queue.json"))["entries"]
    return {entry["patch"]: entry["stage"] for entry in pending}


def test_a_patch_stands_wherever_one_can(newcomers: Stage) -> None:
    """What the page explains is there to be seen; and what is in production has its word in the charts."""

    board = newcomers.as_("developer").text(f"{PAGES}board")
    assert places(newcomers) == {
        history.PENDING: Place.WAITING, history.SLOW: Place.WAITING, history.REJECTED: Place.REJECTED,
        history.MIXED: Place.HELD_BACK}
    assert [patch for patch in (story.COLD, story.LIVE, history.ABORTED) if not newcomers.ledger("production", patch)
            ] == []
    assert all(patch in board for patch in (story.COLD, history.PENDING, history.MIXED))
    assert history.WHY_REJECTED in board


def test_a_visitor_can_go_on(newcomers: Stage) -> None:
    """Nothing that is left pending stands before the patch that is left for an approver."""

    waiting = next(build for build in newcomers.as_("operator").builds(BuilderName.PRODUCTION)
                   if build.properties.get(Property.PATCH) == history.PENDING)
    newcomers.deploys(waiting)
    assert history.PENDING not in places(newcomers)

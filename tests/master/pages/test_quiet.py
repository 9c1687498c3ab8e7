"""Pages leave the processor to an outage that is under way."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from downtime.history import events
from downtime.history.events import Event
from master.pages.application import COSTLY, application
from master.pages.quiet import QUIET, closed_just_now
from tests.downtime.history.histories import NOW, a_patch
from tests.master.pages.told import Told, with_windows
from tests.master.settings_for_tests import a_settings


def closed(stage: str, *, seconds_ago: float = 0.5) -> list[Event]:
    *waiting, _ = a_patch("deploying" if stage != "live" else "live", "patch-1")
    at = NOW - timedelta(seconds=seconds_ago)
    return [*waiting, events.Closed(at=at, patch_id="patch-1", request_id=1, expected_seconds=1.0)]


def named(happened: list[Event], tmp_path: Path) -> str:
    return closed_just_now(Told(happened, a_settings(tmp_path)).journeys().values(), NOW)


@pytest.mark.parametrize("page", ["board", "deployment?patch=patch-1", "decisions", "charts", "deployments.json",
                                  "deployments.csv"])
def test_a_page_waits_while_the_database_is_closed(tmp_path: Path, page: str) -> None:
    """It says why and asks again by itself."""

    answer = application(Told(closed("cold"), with_windows(tmp_path))).test_client().get(f"/{page}")
    assert (answer.status_code, answer.headers["Refresh"]) == (503, "1")
    assert "patch-1 is being deployed at this moment" in answer.text


@pytest.mark.parametrize("page", ["status.json", "queue.json", "version", "index.html"])
def test_what_is_cheap_is_answered_all_the_time(tmp_path: Path, page: str) -> None:
    """A status page asks exactly then."""

    assert application(Told(closed("cold"), with_windows(tmp_path))).test_client().get(f"/{page}").status_code == 200


def test_a_long_outage_is_shown(tmp_path: Path) -> None:
    """After a moment a page costs it nothing that could be measured; and a live patch has no outage."""

    assert named(closed("cold"), tmp_path) == "patch-1"
    assert named(closed("cold", seconds_ago=QUIET.total_seconds() + 1), tmp_path) == ""
    assert named(closed("live"), tmp_path) == ""


def test_the_pages_come_back_when_it_is_over(tmp_path: Path) -> None:
    """However it ended."""

    ended = events.Ended(at=NOW, patch_id="patch-1", request_id=1, build_id=1, build_url="", sentence="",
                         outcome=events.Outcome.FAILED)
    assert named([*closed("cold"), ended], tmp_path) == ""


def test_every_costly_page_is_a_page(tmp_path: Path) -> None:
    """A route that was given another name would no longer wait."""

    assert set(application(Told([], a_settings(tmp_path))).view_functions) >= COSTLY

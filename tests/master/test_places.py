"""Who gets a place among the deployments."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from buildbot.process.properties import Properties

from downtime.history import journey
from downtime.history.events import FoundApplied, Landed
from downtime.history.journey import Journey
from master.places import Places
from tests.master.settings_for_tests import a_settings

AT = datetime(2026, 3, 4, 8, 30, tzinfo=UTC)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(a_settings(tmp_path))


def a_request(number: int, patch: str) -> Any:
    return SimpleNamespace(id=number, properties=Properties(patch=patch))


def journeys(*pending: str, applied: tuple[str, ...] = ()) -> dict[str, Journey]:
    found = {patch: journey.after(None, Landed(at=AT, patch_id=patch, commit="c" * 40)) for patch in pending}
    return found | {patch: journey.after(None, FoundApplied(at=AT, patch_id=patch, lane="cold", began_at=AT,
                                                            patch_seconds=1.0)) for patch in applied}


async def test_patches_begin_in_their_order(places: Places) -> None:
    """Whoever was asked for first waits for those before it anyway: it would hold a place for nothing."""
    requests = [a_request(1, "patch-10"), a_request(2, "patch-9"), a_request(3, "patch-9")]

    assert await places.next_request(None, requests) is requests[1]


def test_the_first_is_the_one_that_nobody_waits_for(places: Places) -> None:
    """Sixteen patches waited for one that was asked for again, and held every place: nothing went on."""
    waiting = journeys("patch-2", "patch-10", applied=("patch-1",))

    assert places.is_first("patch-2", waiting)
    assert not places.is_first("patch-10", waiting)
    assert places.is_first("patch-10", journeys("patch-10", applied=("patch-1", "patch-2")))

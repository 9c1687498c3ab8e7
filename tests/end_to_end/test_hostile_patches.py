"""Hostile patches, landed by git push on a real buildmaster's branch: each is turned away by name, or survives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.faults.landings import Landings
from demo.faults.patches import PATCHES, HostilePatch
from demo.faults.world import World
from downtime.lanes import Lane
from tests.end_to_end.worlds import a_world

MEGABYTE = 1_000_000
MAY_GROW_BYTES = 400 * MEGABYTE  # the buildmaster, over all patches: one file alone has 20 MB, one raises 100 MB



@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with a_world(tmp_path_factory.mktemp("hostile-patches") / "demo", gate="hold") as world:
        yield world


@pytest.fixture(scope="module")
def resident_before(world: World) -> int:
    return world.master.resident_bytes


@pytest.fixture(scope="module")
def landings(world: World, resident_before: int) -> Landings:
    return Landings(world)


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: f"{patch.fate}: {patch.name}")
def test_a_hostile_patch_is_named_or_survives(landings: Landings, patch: HostilePatch) -> None:
    """Who landed it reads file and line; what survives is deployed, and neither ledger nor next patch notice."""
    finding = landings.played(patch)
    print(finding.said)

    assert finding.broken == []


def test_a_patch_edited_after_it_was_applied_is_turned_away(landings: Landings) -> None:
    """What a database has is what the file says, for ever; giving it its bytes back is all it takes."""
    text = b"-- apply: cold\nSELECT 1;\n"
    (landed,) = landings.land(text)
    applied = landings.deploy(landed.patch_id, Lane.COLD)
    (edited,) = landings.push({landed.patch_id: b"-- apply: cold\nSELECT 2;\n"})
    story = landings.world.story_of(edited.build)
    (mended,) = landings.push({landed.patch_id: text})

    assert applied.good
    assert edited.build.outcome == "failure"
    assert f"{landed.path} was changed after it was applied; restore it" in story
    assert mended.build.good


def test_a_late_lower_number_is_turned_away(landings: Landings) -> None:
    """Databases have the same patches in the same order: a number below one that is applied never runs."""
    (first,) = landings.land(b"-- apply: cold\nSELECT 1;\n")
    (late,) = landings.push({f"{first.patch_id.removesuffix('-01-0')}-00-1": b"-- apply: cold\nSELECT 0;\n"})
    story = landings.world.story_of(late.build)
    landings.take_away(late)
    (after,) = landings.land(b"-- apply: cold\nSELECT 2;\n")

    assert late.build.outcome == "failure"
    assert f"{late.path} has a number that is not higher than that of {first.patch_id}, which is applied" in story
    assert landings.ledger("staging", late.patch_id) == []
    assert after.build.good


def test_the_buildmasters_memory_stays_bounded(landings: Landings, resident_before: int) -> None:
    """However much a patch has or says, the machine that deploys it goes on."""
    grown = landings.world.master.resident_bytes - resident_before
    print(f"the buildmaster has grown by {grown / MEGABYTE:.0f} MB, from {resident_before / MEGABYTE:.0f} MB")

    assert grown < MAY_GROW_BYTES

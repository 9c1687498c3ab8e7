"""What had been applied when a landing came."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from downtime.ledger import Entry
from steps.shared import landings


def an_entry(patch: str, minute: int) -> Entry:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
    return Entry(id=patch, sha256=f"sha256 of {patch}", lane="cold", commit="c", started_at=at, finished_at=at,
                 seconds=0.1, build_url="", requested_by="", approved_by="")


def test_a_landing_is_judged_by_what_was_applied_before_it() -> None:
    """The build of the landing before it has rehearsed its patch already, and one behind it: neither makes it late."""

    applied = [an_entry("patch-1", 1), an_entry("patch-2", 2), an_entry("patch-3", 3)]
    found = landings.before(applied, {("patch-2", "sha256 of patch-2")})
    assert [entry.id for entry in found] == ["patch-1"]


def test_an_applied_patch_that_a_landing_has_edited_counts_as_applied() -> None:
    """Its bytes are not those that were applied: that is what the policy is there to see."""

    applied = [an_entry("patch-1", 1), an_entry("patch-2", 2)]
    assert landings.before(applied, {("patch-1", "other bytes")}) == tuple(applied)

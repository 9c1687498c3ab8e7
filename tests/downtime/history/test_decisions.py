"""The record of what people have decided."""

from __future__ import annotations

from downtime.history import decisions
from downtime.history.decisions import ENTRIES
from downtime.history.events import Decided, Hurried
from tests.downtime.history.histories import NOW, a_patch, many


def test_the_record_is_newest_first_and_has_nothing_else() -> None:
    """Decisions, and who let a deployment begin early; no event that nobody decided."""

    hurried = Hurried(at=NOW, patch_id="patch-1", request_id=1, by="operator", reason="now")
    found = decisions.record([*a_patch("overridden", "patch-1"), *a_patch("rejected", "patch-2"), hurried], page=1)
    assert found.entries[0] == hurried
    assert [entry.patch_id for entry in found.entries] == ["patch-1", "patch-2", "patch-1"]
    assert all(isinstance(entry, (Decided, Hurried)) for entry in found.entries)


def test_every_decision_is_on_one_page() -> None:
    """A page behind the last one is the last one."""

    happened = many(450)
    pages = [decisions.record(happened, page=number) for number in (1, 2, 3)]
    assert [len(page.entries) for page in pages] == [ENTRIES, ENTRIES, pages[0].total - 2 * ENTRIES]
    assert len({id(entry) for page in pages for entry in page.entries}) == pages[0].total
    assert decisions.record(happened, page=99) == pages[2]


def test_an_empty_record_is_one_empty_page() -> None:
    """Nobody has decided anything."""

    assert decisions.record([], page=5) == decisions.Record(entries=(), total=0, page=1, pages=1)

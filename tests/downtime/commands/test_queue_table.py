"""The deployments to come in a terminal: what is known from where, and how it is laid out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from downtime import ledger
from downtime.commands.queue_of_buildbot import Answer, Told
from downtime.commands.queue_table import SHOWN, lines, queue
from downtime.forecast import Factor
from downtime.history.queue import Entry, Queue
from downtime.history.stages import Stage, Standing, Whose
from downtime.lanes import Lane
from downtime.patches import Patch
from tests.builders import a_patch
from tests.downtime.ledgers import an_entry

AT = datetime(2026, 3, 4, 8, 30, tzinfo=UTC)
URL = "http://localhost:8010/plugins/wsgi_dashboards/deployments/queue.json"
TWICE = Factor(value=2.0, patches=3)
ACTS = {Stage.HELD_BACK: Whose.AUTHOR, Stage.FAILED_ON_STAGING: Whose.AUTHOR, Stage.WAITING: Whose.SIGNOFF,
        Stage.REJECTED: Whose.AUTHOR, Stage.NOT_DEPLOYED: Whose.OPERATOR}
ANSWER, SILENT = Answer(url=URL), Answer(url=URL, silence="nothing within 2 s")


def applied(patch: Patch, *, seconds: float = 1.5, lane: str = "cold") -> ledger.Entry:
    return replace(an_entry(patch.id, day=1), sha256=patch.sha256, seconds=seconds, lane=lane)


def told(patch: Patch, *, sha256: str, staging_seconds: float = 9.0) -> dict[str, Told]:
    return {patch.id: Told(patch=patch.id, stage=Stage.WAITING, waits_for=Whose.SIGNOFF, sha256=sha256,
                           staging_seconds=staging_seconds)}


def an_entry_of(place: int = 1, *, patch_id: str = "", stage: Stage = Stage.WAITING, whose: Whose = Whose.APPROVER,
                expected: float | None = 0.045, lane: Lane = Lane.COLD, begins_at: datetime | None = None) -> Entry:
    return Entry(place=place, patch_id=patch_id or f"patch-2211-{place:02}-0", lane=lane, staging_seconds=expected,
                 expected_seconds=expected, begins_at=begins_at,
                 standing=Standing(stage=stage, whose=whose, sentence="as it is"))


def shown(*entries: Entry, answer: Answer = ANSWER, columns: int = 80) -> list[str]:
    return lines(Queue(entries=entries), answer, columns=columns)


def test_expected_is_what_staging_measured_of_these_bytes_times_what_production_taught() -> None:
    """A baseline was not run, and other bytes are another patch: neither says anything."""
    patches = [a_patch(sql=f"SELECT {number}", patch_id=f"patch-{number}") for number in range(1, 5)]
    staging = [applied(patches[0]), applied(patches[1], lane=ledger.BASELINE), an_entry("patch-3", day=2)]

    found = queue(patches, staging, TWICE, {})

    assert [entry.staging_seconds for entry in found.entries] == [1.5, None, None, None]
    assert [entry.expected_outage_seconds for entry in found.entries] == [3.0, None, None, None]
    assert [entry.place for entry in found.entries] == [1, 2, 3, 4]


def test_buildbot_says_who_waits_for_whom_and_does_not_contradict_a_ledger() -> None:
    """Neither order nor seconds are taken from it where staging's ledger was read."""
    first, second = a_patch(sql="SELECT 1", patch_id="patch-1"), a_patch(sql="SELECT 2", patch_id="patch-2")
    said = {**told(second, sha256=second.sha256), **told(first, sha256=first.sha256),
            "patch-9": Told(patch="patch-9", stage=Stage.LANDED, waits_for=Whose.NOBODY)}

    found = queue([first, second], [applied(first)], TWICE, said)

    assert [(entry.patch_id, entry.staging_seconds) for entry in found.entries] == [("patch-1", 1.5), ("patch-2", None)]
    assert [entry.standing and entry.standing.whose for entry in found.entries] == [Whose.SIGNOFF] * 2


def test_where_the_ledger_of_staging_was_not_read_its_seconds_are_as_buildbot_has_them() -> None:
    """Of exactly the bytes that are pending."""
    same, other = a_patch(sql="SELECT 1", patch_id="patch-1"), a_patch(sql="SELECT 2", patch_id="patch-2")

    found = queue([same, other], None, TWICE, {**told(same, sha256=same.sha256), **told(other, sha256="e" * 64)})

    assert [entry.expected_seconds for entry in found.entries] == [18.0, None]


def test_the_table_is_aligned_with_numbers_to_the_right() -> None:
    """As an operator reads it."""

    assert shown(
        an_entry_of(9, expected=12.0, stage=Stage.DEPLOYING, whose=Whose.NOBODY),
        an_entry_of(10, stage=Stage.WAITING_WINDOW, whose=Whose.NOBODY, begins_at=AT),
        an_entry_of(11, whose=Whose.SIGNOFF),
        an_entry_of(12, lane=Lane.LIVE, stage=Stage.REJECTED, whose=Whose.AUTHOR),
        replace(an_entry_of(13, expected=None), standing=None)) == [
        "5 deployments are pending: 3 cold with 12.1 s of outage in all (longest 12.0",
        "s), 1 live; 1 is not rehearsed yet.",
        "    patch            lane   staging    outage  stands → whose turn",
        " 9  patch-2211-09-0  cold  12.000 s  12.000 s  deploying",
        "10  patch-2211-10-0  cold   0.045 s   0.045 s  begins 2026-03-04 08:30 UTC",
        "11  patch-2211-11-0  cold   0.045 s   0.045 s  waits for a sign-off",
        "12  patch-2211-12-0  live   0.045 s      none  rejected → its author",
        "13  patch-2211-13-0  cold         -         -  unknown to Buildbot"]


def test_without_buildbot_the_queue_is_shown_all_the_same() -> None:
    """One column less, and a sentence that says why."""
    *table, last, rest = shown(an_entry_of(), answer=SILENT, columns=100)

    assert "stands" not in "".join(table)
    assert table[-1].split() == ["1", "patch-2211-01-0", "cold", "0.045", "s", "0.045", "s"]
    assert f"{last} {rest}" == (f"Buildbot does not answer at {URL} (nothing within 2 s): who waits for whom is not "
                                "known")


@pytest.mark.parametrize("columns", [0, 80, 100, 400])
def test_a_long_queue_of_long_ids_fits_the_terminal(columns: int) -> None:
    """Forty patches: the first thirty, no line longer than the terminal; the widest has 120 columns for us."""
    entries = [an_entry_of(place, patch_id=f"{20260304083000 + place}_{'add_customer_' * 9}", expected=1234.5678,
                           stage=stage, whose=ACTS.get(stage, Whose.NOBODY), begins_at=AT)
               for place, stage in enumerate(list(Stage) * 4, start=1)][:40]

    found = shown(*entries, columns=columns)

    assert max(map(len, found)) == min(max(columns, 80), 120) - 2
    assert sum("…" in line for line in found) == SHOWN
    assert found[-1] == "and 10 more"


def test_hostile_ids_cannot_steer_the_terminal_or_break_the_table() -> None:
    """A git path may contain line ends and escape sequences."""
    found = shown(an_entry_of(patch_id="patch-1\n\x1b[2J\u202e"))

    assert len(found) == 3
    assert "patch-1\\n\\x1b[2J\\u202e" in found[-1]

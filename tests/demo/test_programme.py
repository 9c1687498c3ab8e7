"""What the story ends with: a table for people and a summary for programs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from demo import programme
from demo.programme import Attempt, Outcome, StoryError, expect
from demo.witnesses import Calls


def an_attempt(*, outcome: Outcome = Outcome.DEPLOYED, patch_seconds: float | None = 0.25) -> Attempt:
    return Attempt(patch="patch-1", lane="cold", outcome=outcome, said="patch-1 deployed", staging_seconds=0.5,
                   approved_by="approver", patch_seconds=patch_seconds, outage_seconds=0.3, resolution_seconds=0.005,
                   kicked=7)


def test_the_table_has_a_line_per_attempt() -> None:
    """Figures stand under their headings."""
    heading, _, line = programme.table([an_attempt()]).splitlines()

    assert [heading.index(word) + len(word) for word in ("patch s", "outage s", "kicked")] == [
        line.index(figure) + len(figure) for figure in ("0.250", "0.300", " 7")]


def test_a_patch_that_did_not_get_in_has_no_seconds() -> None:
    """A dash, not a zero: nothing was applied."""
    line = programme.table([an_attempt(outcome=Outcome.ROLLED_BACK, patch_seconds=None)]).splitlines()[-1]

    assert "–" in line
    assert "rolled back" in line


def test_what_clients_saw_elsewhere_is_told_beside_it() -> None:
    """The longest call behind the pooler and at the standby, how many failed, and when the standby had it."""
    attempt = replace(an_attempt(), standby_seconds=0.021,
                      pooled=Calls(calls=100, errors={}, longest_seconds=0.27),
                      readers=Calls(calls=100, errors={"57P01": 1}, longest_seconds=0.012))
    heading, _, line = programme.table([attempt]).splitlines()

    assert line[heading.index("behind the pooler"):].startswith("0.270 s, no errors")
    assert line[heading.index("at the standby"):].startswith("0.012 s, 1 error ")
    assert line.index("0.021") + len("0.021") == heading.index("there after s") + len("there after s")


def test_the_summary_says_whether_all_was_as_told(tmp_path: Path) -> None:
    """A program needs no words to find out."""
    programme.write(tmp_path / "summary.json", programme.summary(
        [an_attempt()], seconds=61.04, verdict_seconds={"patch-1": 1.2345}, failure="nobody was kicked"))
    read = json.loads((tmp_path / "summary.json").read_text())

    assert (read["as_told"], read["failure"], read["seconds"]) == (False, "nobody was kicked", 61.0)
    assert read["attempts"][0]["kicked"] == 7
    assert read["push_to_verdict_seconds"] == {"patch-1": 1.234}


def test_an_expectation_that_fails_ends_the_story_with_its_message() -> None:
    """The message says what should have been."""
    with pytest.raises(StoryError, match="should be open"):
        expect([], "the database should be open")

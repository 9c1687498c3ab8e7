"""What a command writes."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from downtime.commands.output import Output, table
from downtime.errors import NeedsOperator


def test_control_characters_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """What comes from SQL, git or clients is shown, not obeyed."""
    output = Output(as_json=False)
    output.progress("\x1b[2J")
    output.answer("\x9b")

    assert capsys.readouterr() == ("\\x9b\n", "\\x1b[2J\n")


def test_a_text_answer_goes_to_standard_output_and_progress_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    """So that the answer can be piped."""
    output = Output(as_json=False)
    output.progress("working")
    output.answer("done", changed=True)
    output.end()

    assert capsys.readouterr() == ("done\n", "working\n")


def test_a_json_answer_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    """However many parts it was given in, instants with their offset."""
    output = Output(as_json=True)
    output.answer("one", first=datetime(2026, 1, 2, tzinfo=UTC))
    output.answer("two", second=(1, 2))
    output.end()

    assert json.loads(capsys.readouterr().out) == {"first": "2026-01-02T00:00:00+00:00", "second": [1, 2]}


def test_an_error_is_explained_and_part_of_the_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    """Its kind, how the database was left, what to type next and the exit status; beside what was known before."""
    output = Output(as_json=True)
    output.answer("begun", patch="patch-1")
    output.end(NeedsOperator(reason="still closed", command="python -m downtime reopen"))
    out, err = capsys.readouterr()

    assert json.loads(out) == {"patch": "patch-1", "error": {
        "kind": "NeedsOperator", "message": "still closed", "left": "unknown", "next": "python -m downtime reopen",
        "exit_status": 4}}
    assert err == "still closed\nThe database was left unknown.\nNext: python -m downtime reopen\n"


def test_columns_are_as_wide_as_what_is_in_them() -> None:
    """And no line ends in blanks."""

    assert table(("a", "b"), [("long", "x"), ("", "")]) == "a     b\nlong  x\n"

"""Texts for people."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from downtime.apply import AppliedStatement
from downtime.errors import Refused
from downtime.preflight import PreflightRefused
from downtime.statements import split
from steps.shared import wording


def test_a_summary_is_one_line_of_bounded_length() -> None:
    """Whatever the server has said."""

    line = wording.one_line("a\nb " + "c" * 1000)
    assert "\n" not in line
    assert len(line) == wording.LONGEST_SUMMARY


def test_a_headline_has_the_first_reason() -> None:
    """`not now:` alone tells nobody anything."""

    assert wording.headline(PreflightRefused(["a transaction is open", "another"])) == "not now: a transaction is open"


def test_a_headline_is_the_first_line() -> None:
    """Detail and hint are in the log."""

    assert wording.headline(Refused(reason="line 3: no\n  hint: yes")) == "line 3: no"


@pytest.mark.parametrize(("number", "noun", "words"), [
    (1, "session", "1 session"), (37, "session", "37 sessions"), (3, "patch", "3 patches"), (0, "retry", "0 retries")])
def test_counts_read_as_a_person_writes_them(number: int, noun: str, words: str) -> None:
    """Zero and many take the plural."""

    assert wording.count(number, noun) == words


def test_notices_are_quoted_below_their_statement() -> None:
    """A patch says what it did with RAISE NOTICE; nobody can make a log line look like another."""

    (statement,) = split("SELECT 1;")
    text = wording.statements([AppliedStatement(
        statement=statement, started_at=datetime.now(UTC), seconds=0.25, status="SELECT 1",
        notices=("NOTICE:  done\nline 9: DROP TABLE",))])
    assert text.splitlines() == [
        "line 1: SELECT: 0.250 s, SELECT 1", "    SELECT 1", '    "NOTICE:  done\\nline 9: DROP TABLE"']


def test_a_log_of_statements_is_bounded() -> None:
    """Of a statement of megabytes its beginning, of fifty thousand statements the first, the last and the slowest."""

    (long,) = split(f"SELECT '{'x' * 100_000}';")
    (short,) = split("SELECT 1;")
    applied = [AppliedStatement(statement=statement, started_at=datetime.now(UTC), seconds=0.25, status="SELECT 1",
                                notices=()) for statement in (long, *[short] * 50_000)]
    text = wording.statements(applied)

    assert "characters more" in text
    assert "… 49,701 statements, 12425.250 s in all, are not shown" in text
    assert len(text) < 50_000

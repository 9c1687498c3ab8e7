"""The table of faults itself: its verdicts and its form, and that the page for operators has every row of it."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from demo.faults import table
from demo.faults.rows import GATES, Finding, Row
from demo.faults.table import Format, Result, all_rows
from demo.faults.world import World

PAGE = Path(__file__).resolve().parents[2] / "docs" / "what-if.md"


def _nothing(_: World) -> Finding:
    return Finding()


def a_result(*, limit_seconds: float | None = 1.0, seconds: float | None = 0.25,
             broken: tuple[str, ...] = ()) -> Result:
    row = Row(fault="a fault", moment="gate closed", must_hold="open", limit_seconds=limit_seconds, play=_nothing)
    return Result(row=row, gate="hold", finding=Finding(seconds=seconds, broken=list(broken)))


@pytest.mark.parametrize("result", [a_result(), a_result(seconds=None), a_result(limit_seconds=None, seconds=None),
                                    a_result(limit_seconds=None, seconds=30.0)])
def test_what_is_in_time_and_whole_holds(result: Result) -> None:
    """Where no time is asked for, or nothing was closed, none counts."""
    assert result.holds
    assert result.complaints == []


@pytest.mark.parametrize(("result", "complaint"), [
    (a_result(seconds=1.25), "open after 1.2 s, the limit is 1.0 s"),
    (a_result(broken=("the patch should not be in",)), "the patch should not be in")])
def test_what_is_late_or_broken_does_not_hold(result: Result, complaint: str) -> None:
    """And says why, in one sentence."""
    assert not result.holds
    assert result.complaints == [complaint]
    assert "NO" in table.table([result])


def test_the_table_stands_in_columns() -> None:
    """Each cell under its heading."""
    heading, line = table.table([a_result()]).splitlines()

    assert [heading.index(name) for name in table.HEADINGS[:4]] == [
        line.index(cell) for cell in ("a fault", "gate closed", "hold", "open")]


def test_the_table_can_be_pasted_into_a_page() -> None:
    """As a table of Markdown."""
    lines = table.table([a_result()], Format.MARKDOWN).splitlines()

    assert lines[1] == "|---|---|---|---|---|---|---|"
    assert lines[2] == "| a fault | gate closed | hold | open | 1.0 s | 250 ms | yes |"


def test_a_name_that_no_row_has_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is played, and that is no success."""
    status = table.run(argparse.Namespace(gate=None, only="no such row", format=Format.TEXT))

    assert status == 2
    assert "no such row" in capsys.readouterr().err


def test_no_two_rows_have_one_name() -> None:
    """`--only` and the tests find each."""
    names = [row.name for row in all_rows()]

    assert sorted(names) == sorted(set(names))


def test_the_page_for_operators_has_every_row() -> None:
    """What is tried is told, and what is told is tried: fault, moment, gate, and what must hold."""
    told = set(re.findall(r"^\| ([^|]+) \| ([^|]*) \| (hold|refuse) \| ([^|]+) \|", PAGE.read_text(), re.MULTILINE))
    tried = {(row.fault, str(row.moment), gate, row.must_hold) for row in all_rows() for gate in row.gates}

    assert {gate for _, _, gate, _ in tried} == set(GATES)
    assert {tuple(cell.strip() for cell in cells) for cells in told} == tried


@pytest.mark.parametrize("heading", sorted({row.in_question for row in all_rows()}))
def test_the_page_for_operators_explains_every_row(heading: str) -> None:
    """Each row names the section that says what to do."""
    assert f"\n## {heading}\n" in PAGE.read_text()

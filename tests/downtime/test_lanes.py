from __future__ import annotations

import pytest

from downtime import lanes
from downtime.lanes import Lane


@pytest.mark.parametrize("sql", [
    "-- apply: live\nSELECT 1;",
    "-- why\n\n  --APPLY :  Live  \nSELECT 1;",
    "/* a /* nested */ comment */\n-- apply: live\r\nSELECT 1;",
    "-- apply: live\n-- apply: live\nSELECT 1;",
])
def test_lane_is_read_above_the_first_statement(sql: str) -> None:
    """Case, spaces, other comments and Windows line ends do not matter."""

    assert lanes.read(sql) == lanes.Declaration(lane=Lane.LIVE, mistakes=(), is_all=False)


def test_file_may_declare_nothing() -> None:
    """What an undeclared patch is, the settings say and not this module."""

    assert lanes.read("-- applies nothing\nSELECT 1;").lane is None


def test_contradiction_is_a_mistake_and_counts_as_cold() -> None:
    """In doubt the careful lane, and the second of the lines is named."""

    read = lanes.read("-- apply: live\n-- why\n-- apply: cold\nSELECT 1;")

    assert read.lane is Lane.COLD
    assert read.mistakes == ((3, "`-- apply: cold` contradicts `-- apply: live` in line 1; keep one of them"),)


def test_unknown_word_is_a_mistake() -> None:
    """A typing error must not silently become the default lane."""

    ((line, reason),) = lanes.read("\n-- apply: lvie\nSELECT 1;").mistakes

    assert (line, reason.partition(";")[0]) == (2, "`-- apply: lvie` names no lane")


def test_lane_line_below_the_first_statement_is_a_mistake() -> None:
    """A `cold` that nobody reads would let the patch run while clients work."""

    read = lanes.read("SELECT 1;\n-- apply: cold\nSELECT 2;")

    assert read.lane is None
    assert [line for line, _ in read.mistakes] == [2]


def test_other_comments_below_may_start_with_apply() -> None:
    """The body of a function is free to say `-- apply: the discount`."""

    assert lanes.read("SELECT $$\n-- apply: the discount\n$$;").mistakes == ()


@pytest.mark.parametrize("sql", ["", " \n", "-- only\n-- comments", "/* only */ ;\n", ";;"])
def test_file_without_statement_is_known(sql: str) -> None:
    """Comments and stray semicolons are no patch."""

    assert lanes.read(sql).is_all


@pytest.mark.parametrize("sql", ["SELECT 1", "/* unfinished", "/* a */ SELECT 1", "\xa0"])
def test_anything_else_may_be_a_statement(sql: str) -> None:
    """What is not surely a comment is left to the SQL parser, which names it."""

    assert not lanes.read(sql).is_all

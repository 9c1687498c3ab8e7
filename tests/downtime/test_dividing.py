"""A file with statements of both lanes is refused with the line to split it at."""

from __future__ import annotations

import pytest

from downtime import dividing, statements
from downtime.dividing import Part
from downtime.patches import Lane

TABLE, INDEX = "CREATE TABLE a ();\n", "CREATE INDEX CONCURRENTLY i ON t (a);\n"
CANNOT = "cannot run inside a transaction, as a cold patch does"


def objections_to(sql: str) -> list[tuple[int, str]]:
    return [(each.line, each.reason) for each in statements.objections(statements.split(sql), Lane.COLD)]


@pytest.mark.parametrize(("sql", "line", "advice"), [
    (INDEX, 1, "declare the file `-- apply: live`"),
    (TABLE + TABLE + INDEX, 3, "split the file before line 3 and declare the second part `-- apply: live`"),
    (INDEX + "\n" + TABLE + TABLE, 1, "split the file before line 3 and declare the first part `-- apply: live`"),
    (TABLE + INDEX + TABLE, 2,
     "split the file before line 2 and again before line 3, and declare the part between `-- apply: live`"),
    ("CREATE TABLE a (); " + INDEX, 1,
     "split the file in line 1, before CREATE INDEX CONCURRENTLY, and declare the second part `-- apply: live`"),
    ("CREATE TABLE a (\n); " + INDEX, 2,
     "split the file in line 2, before CREATE INDEX CONCURRENTLY, and declare the second part `-- apply: live`"),
])
def test_author_is_told_where_to_split(sql: str, line: int, advice: str) -> None:
    """The statement may come first, last or between; alone it needs no splitting."""

    assert objections_to(sql) == [(line, f"CREATE INDEX CONCURRENTLY {CANNOT}; {advice}")]


def test_statements_that_go_together_are_told_of_once() -> None:
    """Fifty indexes are one part of the file, and one sentence."""

    assert objections_to(TABLE + INDEX * 3) == [
        (2, f"CREATE INDEX CONCURRENTLY and 2 more statements {CANNOT}; split the file before line 2 and declare the "
            "second part `-- apply: live`")]


def test_every_part_is_told_of() -> None:
    """Whoever follows all the sentences has files of one lane each."""

    assert objections_to(INDEX + TABLE + INDEX + "VACUUM;\n" + TABLE + INDEX) == [
        (1, f"CREATE INDEX CONCURRENTLY {CANNOT}; split the file before line 2 and declare the first part "
            "`-- apply: live`"),
        (3, f"CREATE INDEX CONCURRENTLY and 1 more statement {CANNOT}; split the file before line 3 and again before "
            "line 5, and declare the part between `-- apply: live`"),
        (6, f"CREATE INDEX CONCURRENTLY {CANNOT}; split the file before line 6 and declare the last part "
            "`-- apply: live`")]


@pytest.mark.parametrize(("sql", "advice"), [
    ("SET statement_timeout = 0;\n" + INDEX + "RESET statement_timeout;\n", "declare the file `-- apply: live`"),
    (TABLE + "SET maintenance_work_mem = '1GB';\n" + INDEX,
     "split the file before line 2 and declare the second part `-- apply: live`"),
])
def test_settings_go_with_what_they_are_for(sql: str, advice: str) -> None:
    """A file of nothing but SET would be no patch."""
    ((_, reason),) = objections_to(sql)

    assert reason.endswith(f"; {advice}")


def test_what_must_go_anyway_divides_nothing() -> None:
    """A COMMIT between two indexes is refused for itself."""

    assert objections_to(INDEX + "COMMIT;\n" + INDEX)[0] == (
        1, f"CREATE INDEX CONCURRENTLY and 1 more statement {CANNOT}; declare the file `-- apply: live`")


def test_a_part_may_be_cold() -> None:
    """What a measurement found out about a live patch is advised in the same words."""
    found = statements.split(INDEX + "UPDATE t SET a = 1;\n")
    divided = dividing.parts([Lane.LIVE, Lane.COLD])

    assert dividing.advice(found, divided, divided[1]) == (
        "split the file before line 2 and declare the second part `-- apply: cold`")


def test_statements_of_no_lane_alone_are_no_part() -> None:
    """There is nothing to advise."""

    assert dividing.parts([None, None]) == ()
    assert dividing.parts([None, Lane.COLD, None, Lane.LIVE, None]) == (
        Part(lane=Lane.COLD, first=0, end=2), Part(lane=Lane.LIVE, first=2, end=5))

"""A reason in the patch answers the linter; what gives none, or answers nothing, is told."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

import pytest

from downtime import statements, waivers
from downtime.findings import Finding


def a_finding(*, line: int = 1, rule: str = "ban-drop-column", blocks: bool = True) -> Finding:
    return Finding(line=line, rule=rule, message="Dropping a column may break existing clients.", advice="",
                   blocks=blocks)


def judged(sql: str, *findings: Finding) -> Sequence[Finding]:
    return waivers.judge(sql, statements.split(sql), findings)


def waived(sql: str, *findings: Finding) -> list[tuple[int, str]]:
    """Line and reason of each finding that is no mistake of a waiver."""
    return [(each.line, each.waived) for each in judged(sql, *findings) if each.rule != waivers.RULE]


def mistakes(sql: str, *findings: Finding) -> list[str]:
    return [f"{each.line}: {each.message}" for each in judged(sql, *findings) if each.rule == waivers.RULE]


THREE = ("{0}\nALTER TABLE a\n  DROP COLUMN x;\n"
         "{1}\nALTER TABLE b DROP COLUMN x; {2}\n"
         "{3}\nALTER TABLE c DROP COLUMN x;\n")
WAIVER = "-- waive ban-drop-column: nobody reads it"
REASON = "nobody reads it"


@pytest.mark.parametrize(("place", "reasons"), [
    (0, [REASON, REASON, REASON]),  # above the first statement: the whole patch
    (1, ["", REASON, ""]),          # above a statement
    (2, ["", REASON, ""]),          # behind it, on its line
    (3, ["", "", REASON]),
])
def test_a_waiver_is_for_the_statement_it_stands_at(place: int, reasons: list[str]) -> None:
    """Above the first statement it is for the whole patch; a finding with a reason refuses nothing."""

    sql = THREE.format(*(WAIVER if here == place else "" for here in range(4)))
    found = judged(sql, *(a_finding(line=line) for line in (3, 5, 7)))
    assert [each.waived for each in found] == reasons
    assert [each.refuses for each in found] == [not reason for reason in reasons]


def test_a_waiver_inside_a_statement_is_for_that_statement() -> None:
    """Where a developer has put it beside the column it is about."""

    sql = f"ALTER TABLE a\n  DROP COLUMN x, {WAIVER}\n  ADD COLUMN y int;\nALTER TABLE b DROP COLUMN x;"
    assert waived(sql, a_finding(line=2), a_finding(line=4)) == [(2, REASON), (4, "")]


def test_a_waiver_is_for_its_rule_alone() -> None:
    """Other findings of the statement stand."""

    found = judged(f"{WAIVER}\nDROP TABLE a;", a_finding(line=2), a_finding(line=2, rule="ban-drop-table"))
    assert [(each.rule, each.waived) for each in found] == [("ban-drop-column", REASON), ("ban-drop-table", "")]


@pytest.mark.parametrize(("line", "mistake"), [
    ("-- waive ban-drop-column:", "`-- waive ban-drop-column` gives no reason"),
    ("-- waive ban-drop-column", "`-- waive ban-drop-column` gives no reason"),
    ("-- waive ban-drop-colum: gone", "ban-drop-colum is no rule of squawk; did you mean `ban-drop-column`?"),
    ("-- waive ban-drop-column, ban-drop-table: gone", "ban-drop-column, ban-drop-table is no rule of squawk"),
    ("-- waive: gone", "`-- waive `: nothing is no rule of squawk"),
    ("-- waive renaming-table: gone", "`-- waive renaming-table` waives nothing: the linter has found nothing of that"),
    ("-- waive prefer-identity: gone", "`-- waive prefer-identity` waives nothing: the rule is not looked for unless"),
])
def test_a_line_that_waives_nothing_is_told(line: str, mistake: str) -> None:
    """Nobody believes in a waiver that has none; the finding stays what it was."""

    found = judged(f"SELECT 1;\n{line}\nALTER TABLE a DROP COLUMN x;", a_finding(line=3))
    (said, finding) = found
    assert (said.line, said.rule, said.refuses) == (2, "waiver", False)
    assert mistake in said.message
    assert finding.refuses


def test_a_waiver_below_the_last_statement_is_told() -> None:
    """It stands above nothing."""

    assert mistakes(f"ALTER TABLE a DROP COLUMN x;\n{WAIVER}\n", a_finding()) == [
        "2: `-- waive ban-drop-column` waives nothing: the linter has found nothing of that rule in its statement, "
        "or another line waives it already"]


def test_prose_is_no_waiver() -> None:
    """A comment may use the word."""

    assert judged("-- waive the fee of old customers\nUPDATE a SET fee = 0;") == ()


@pytest.mark.parametrize(("comment", "message", "advice"), [
    ("-- squawk-ignore ban-drop-column", "`squawk-ignore` has no effect: it gives no reason",
     "write `-- waive ban-drop-column: reason`, a line for each rule"),
    ("/* squawk-ignore-file */", "`squawk-ignore-file` has no effect: it gives no reason",
     "write `-- waive RULE: reason`, a line for each rule"),
    ("-- squawk-disable-assume-in-transaction", "the lane says whether a patch runs in a transaction",
     "take the line out"),
])
def test_squawks_own_comments_hide_nothing(comment: str, message: str, advice: str) -> None:
    """They give no reason: squawk never reads them, and their author is told how to write it."""

    sql = f"{comment}\nALTER TABLE a DROP COLUMN x;"
    told, finding = judged(sql, a_finding(line=2))
    assert message in told.message
    assert told.advice == advice
    assert finding.refuses
    assert "squawk-" not in waivers.for_squawk(sql)
    assert len(waivers.for_squawk(sql)) == len(sql)


def test_a_reason_cannot_steer_a_terminal_and_has_an_end() -> None:
    """An approver reads it."""

    (finding,) = judged(f"-- waive ban-drop-column: \x1b[2Jgone {'x' * 5000}\nALTER TABLE a DROP COLUMN x;",
                        a_finding(line=2))
    assert finding.waived.startswith(r"\x1b[2Jgone ")
    assert len(finding.waived) < 400


def test_very_many_waivers_take_no_time() -> None:
    """One for each of many statements, and as many findings."""

    count = 20_000
    sql = f"SELECT 1;\n{f'{WAIVER}{chr(10)}ALTER TABLE a DROP COLUMN x;{chr(10)}' * count}"
    parsed = statements.split(sql)
    began = monotonic()
    found = waivers.judge(sql, parsed, [a_finding(line=3 + 2 * number) for number in range(count)])
    seconds = monotonic() - began

    print(f"{count:,} waivers judged in {seconds:.3f} s")
    assert len(found) == count
    assert all(each.waived for each in found)
    assert seconds < 10

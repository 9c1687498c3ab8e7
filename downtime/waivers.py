"""What a patch says to the linter: its lines `-- waive RULE: reason`. Pure.

Above the first statement such a line is for the whole patch. Below, it is for the statement that it stands in or
above, or behind on the same line. What does not waive anything is told, so that nobody believes in it: a line without
a reason, with a rule that there is not, or for a rule that has found nothing there. squawk's own comments
(`-- squawk-ignore RULE`) give no reason: they are taken out of what squawk reads, and told too.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from downtime import squawk_rules
from downtime.findings import Finding
from downtime.printable import cut, printable
from downtime.statements import Statement

RULE = "waiver"                   # of the findings about lines that waive nothing
NOT_LINTED = "not-linted"         # squawk gave no answer about the patch
OURS = (NOT_LINTED, "syntax-error")  # findings that are no rules of squawk and can be waived all the same

LINE = re.compile(r"--[ \t]*waive\b(?P<text>[^\r\n]*)", re.IGNORECASE)
SQUAWKS_OWN = re.compile(r"(?:--|/\*)\s*squawk-(?P<word>ignore-file|ignore|disable|enable)\b(?P<rules>[\w, \t-]*)")
DIRECTIVE = re.compile(r"squawk-(?=[A-Za-z])")

LONGEST_REASON = 300  # characters; an approver reads it
HOW = "write `-- waive RULE: reason`"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiver:
    line: int
    rule: str
    reason: str
    statement: int | None  # its place in the patch; None: all of them


def for_squawk(sql: str) -> str:
    """The text without squawk's own directives, every line and character where it was."""
    return DIRECTIVE.sub("squawk_", sql)


def judge(sql: str, statements: Sequence[Statement], findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings, those with a waiver with its reason, and one for every line that waives nothing; by line."""
    waivers, mistakes = _read(sql, statements)
    judged, used = _waived(findings, waivers, statements)
    useless = [_mistake(each.line, f"`-- waive {each.rule}` waives nothing: {_why_useless(each)}",
                        "take the line out, or move it to the statement that it is for")
               for each in waivers if each not in used]
    return tuple(sorted([*judged, *mistakes, *useless, *_of_squawk(sql)], key=lambda finding: finding.line))


def _read(sql: str, statements: Sequence[Statement]) -> tuple[list[_Waiver], list[Finding]]:
    """The waivers of a text, and findings for the lines that are none."""
    offsets = [statement.offset for statement in statements]
    waivers, mistakes = [], []
    for line, match in _numbered(LINE.finditer(sql), sql):
        rule, colon, reason = (part.strip() for part in match["text"].partition(":"))
        rule, reason = rule.lower(), cut(printable(reason), LONGEST_REASON)
        if not colon and "-" not in rule.split(" ")[0]:
            continue  # prose: `-- waive the fee of old customers`
        shown = cut(printable(rule), 60)
        if wrong := squawk_rules.unknown(rule, also=OURS):
            mistakes.append(_mistake(line, f"`-- waive {shown}`: {shown or 'nothing'} {wrong}", HOW))
        elif not reason:
            mistakes.append(_mistake(line, f"`-- waive {rule}` gives no reason", f"write `-- waive {rule}: reason`"))
        else:
            place = _statement_at(sql, match.start(), offsets, statements)
            waivers.append(_Waiver(line=line, rule=rule, reason=reason, statement=place))
    return waivers, mistakes


def _statement_at(sql: str, position: int, offsets: Sequence[int], statements: Sequence[Statement]) -> int | None:
    """The place of the statement that a comment at the position is for; one more than there are for none."""
    before = bisect_right(offsets, position) - 1
    if before < 0:
        return None
    end = offsets[before] + len(statements[before].text)
    return before if sql.find("\n", end, position) < 0 else before + 1


def _waived(findings: Sequence[Finding], waivers: Sequence[_Waiver], statements: Sequence[Statement]
            ) -> tuple[list[Finding], set[_Waiver]]:
    """The findings, with reasons where there are waivers, and the waivers that have waived one."""
    first_of: dict[tuple[int | None, str], _Waiver] = {}
    for each in waivers:
        first_of.setdefault((each.statement, each.rule), each)
    starts = [statement.line for statement in statements]
    ends = [statement.line + statement.text.count("\n") for statement in statements]

    @cache
    def on_line(line: int) -> range:
        return range(bisect_right(ends, line - 1), bisect_right(starts, line))

    @cache
    def waiver_for(line: int, rule: str) -> _Waiver | None:
        nearest = (first_of.get((place, rule)) for place in (*on_line(line), None))
        return next((waiver for waiver in nearest if waiver), None)

    judged = [(finding, waiver_for(finding.line, finding.rule)) for finding in findings]
    return ([replace(finding, waived=waiver.reason) if waiver else finding for finding, waiver in judged],
            {waiver for _, waiver in judged if waiver})


def _why_useless(waiver: _Waiver) -> str:
    if reason := squawk_rules.QUIET.get(waiver.rule):
        return f"the rule is not looked for unless the settings name it in lint.block, because {reason}"
    where = "in the patch" if waiver.statement is None else "in its statement"
    return f"the linter has found nothing of that rule {where}, or another line waives it already"


def _of_squawk(sql: str) -> Iterator[Finding]:
    for line, match in _numbered(SQUAWKS_OWN.finditer(sql), sql):
        word, rules = match["word"], " ".join(match["rules"].split())
        if word in ("disable", "enable"):
            yield _mistake(line, f"`squawk-{word}{rules}` has no effect: the lane says whether a patch runs in a "
                                 "transaction", "take the line out")
        else:
            rule = rules.split(",")[0].strip() or "RULE"
            yield _mistake(line, f"`squawk-{word}` has no effect: it gives no reason",
                           f"write `-- waive {rule}: reason`, a line for each rule")


def _mistake(line: int, message: str, advice: str) -> Finding:
    return Finding(line=line, rule=RULE, message=message, advice=advice, blocks=False)


def _numbered(matches: Iterator[re.Match[str]], sql: str) -> Iterator[tuple[int, re.Match[str]]]:
    """Each match with its line. The lines are counted on from match to match: there may be very many."""
    line, at = 1, 0
    for match in matches:
        line, at = line + sql.count("\n", at, match.start()), match.start()
        yield line, match

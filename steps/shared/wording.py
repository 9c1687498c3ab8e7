"""Texts for people: logs, summaries and figures. Whatever comes from SQL, git or clients is made printable here."""

from __future__ import annotations

from collections.abc import Sequence

from downtime import excerpt
from downtime.apply import AppliedStatement
from downtime.errors import DowntimeError
from downtime.printable import printable, quoted

LONGEST_SUMMARY = 250    # characters; the log has the rest
LONGEST_STATEMENT = 4000  # characters of each in a log; the patch's own log has the rest


def one_line(text: str) -> str:
    """The text as part of a summary."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= LONGEST_SUMMARY else f"{line[:LONGEST_SUMMARY - 1]}…"


def headline(error: DowntimeError) -> str:
    """The error's first line, and the first of its list where the first line only introduces one."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return one_line(" ".join(lines[:2]) if lines[0].endswith(":") else lines[0])


def count(number: int, noun: str) -> str:
    """`1 session`, `37 sessions`."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}es" if noun.endswith("ch") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def statements(applied: Sequence[AppliedStatement]) -> str:
    """Each statement with its time, its command tag, its SQL and what the server remarked; of many only some."""
    parts = [str(part) if isinstance(part, excerpt.Gap) else _statement(part) for part in excerpt.of(applied)]
    return "\n\n".join(parts) or "no statement was finished"


def _statement(each: AppliedStatement) -> str:
    head = f"line {each.statement.line}: {each.statement.kind}: {each.seconds:.3f} s, {each.status}"
    notices = [f"    {quoted(notice.strip())}" for notice in each.notices]
    return "\n".join([head, *_indented(each.statement.text), *notices])


def _indented(text: str) -> list[str]:
    left_out = len(text) - LONGEST_STATEMENT
    lines = printable(text[:LONGEST_STATEMENT]).splitlines()
    return [f"    {line}" for line in lines] + ([f"    … and {left_out:,} characters more"] if left_out > 0 else [])

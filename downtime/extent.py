"""The part of a file that is applied, in folders whose files also say how to go back. Pure.

Such files are divided by lines of comment: `-- migrate:up` above what is applied, `-- migrate:down` below it. The rest
is blanked out and not cut off, so that errors name the lines of the file. Lines of comment above the part stay: what
they declare holds for it.

The lines are looked for as text, and one inside a string, a function's body or a block comment counts like any other.
What is left of the file then breaks off in the middle of that, and the SQL parser refuses it with the line.

A line that differs in capital letters or spaces alone is a mistake: some tools take `--migrate:down` for the end, and
if we did not, the statements that go back would be applied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from downtime.printable import cut

NOT_COMMENT = re.compile(r"^(?![^\S\n]*--)[^\n]+", re.MULTILINE)
NOT_LINE_END = re.compile(r"[^\n]+")
SPACES = r"[^\S\n]*"

LONGEST_LINE = 60  # characters of a line that are repeated in a sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is applied of a file."""

    sql: str                                    # as long as the file, and empty where there is a mistake
    mistakes: tuple[tuple[int, str], ...] = ()  # line, and what is wrong there


@dataclass(frozen=True, slots=True)
class _Mark:
    """A line that divides a file."""

    line: int   # from 1
    start: int  # in characters
    end: int    # without its line end
    text: str


def applied_part(text: str, *, begin: str | None, end: str | None) -> Part:
    """What stands below the line that starts with `begin` and above the first one that starts with `end`."""
    begins, ends = _marks(text, begin), _marks(text, end)
    mistake = _almost(text, begin, begins) or _almost(text, end, ends) or _mistake(begin, begins, ends)
    if mistake is not None:
        return Part(sql="", mistakes=(mistake,))
    if ends:
        text = text[:ends[0].start] + _blank(NOT_LINE_END, text[ends[0].start:])
    if begins:
        text = _blank(NOT_COMMENT, text[:begins[0].end]) + text[begins[0].end:]
    return Part(sql=text)


def lines_starting(text: str, beginning: str) -> list[int]:
    """The numbers of the lines that start so, the white space before it left aside."""
    return [mark.line for mark in _marks(text, beginning)]


def _marks(text: str, beginning: str | None) -> list[_Mark]:
    """The lines that start so."""
    return list(_found(text, re.escape(beginning))) if beginning and beginning in text else []


def _found(text: str, beginning: str) -> Iterator[_Mark]:
    line = re.compile(f"^{SPACES}{beginning}[^\n]*", re.MULTILINE)
    return (_Mark(text.count("\n", 0, found.start()) + 1, found.start(), found.end(), found[0].strip())
            for found in line.finditer(text))


def _almost(text: str, beginning: str | None, marks: list[_Mark]) -> tuple[int, str] | None:
    """The line that is nearly the first of the marks, where it stands above that."""
    if not beginning:
        return None
    letters = SPACES.join(re.escape(letter) for letter in beginning if not letter.isspace())
    first = next(_found(text, f"(?i:{letters})"), None)
    if first is None or (marks and marks[0].line <= first.line):
        return None
    return first.line, (f"`{cut(first.text, LONGEST_LINE)}` differs from `{beginning}` of the settings in capital "
                        "letters or spaces; write it like that")


def _mistake(begin: str | None, begins: list[_Mark], ends: list[_Mark]) -> tuple[int, str] | None:
    if not begin:
        return None
    if not begins:
        return 1, f"no line starts with `{begin}`, so nothing of the file would be applied; write one above the SQL"
    first, *more = begins
    if ends and ends[0].start < first.start:
        return ends[0].line, (f"the part to be applied ends above the line where it begins ({first.line}); "
                              "put the two in order")
    if more:
        return more[0].line, f"a second line starts with `{begin}`, the first is line {first.line}; keep one of them"
    return None


def _blank(parts: re.Pattern[str], text: str) -> str:
    return parts.sub(lambda found: " " * len(found[0]), text)

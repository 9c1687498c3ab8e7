"""The lane of a patch, as its file declares it: above its first statement, or by a line that the settings name.

Such a line is another migration tool's word for "not in a transaction". It counts wherever it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from downtime import extent

LANE_LINE = re.compile(r"^[ \t]*--[ \t]*apply[ \t]*:(?P<word>[^\n]*)$", re.IGNORECASE | re.MULTILINE)
BLANK = re.compile(r"(?:[ \t\r\n\f\v;]|--[^\n]*)*+")    # a lone semicolon is no statement
COMMENT_EDGE = re.compile(r"/\*|\*/")          # PostgreSQL's block comments nest


class Lane(StrEnum):
    """How a patch is applied."""

    LIVE = "live"  # while clients work: outside the gate, statement by statement
    COLD = "cold"  # in a fast downtime: one transaction, with the database to itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What a file says of its lane."""

    lane: Lane | None                      # None: it does not say; COLD, the careful one, where it says too much
    mistakes: tuple[tuple[int, str], ...]  # line, and what is wrong there
    is_all: bool                           # there is nothing but comments in the file


def read(sql: str, *, file: str = "", live_lines: Sequence[str] = ()) -> Declaration:
    """Read the `-- apply:` lines of a patch, and of its whole file the lines that declare LIVE by their beginning."""
    top = _end_of_leading_comments(sql)
    declared = {Lane.LIVE: found} if (found := min(_live(file, live_lines), default=None)) else {}
    mistakes = []
    for match in LANE_LINE.finditer(sql):
        word, line = match["word"].strip(), sql.count("\n", 0, match.start()) + 1
        lane = next((lane for lane in Lane if lane == word.lower()), None)
        if mistake := _mistake(word, lane, is_at_top=match.start() < top):
            mistakes.append((line, mistake))
        elif lane and match.start() < top:
            declared.setdefault(lane, (line, f"-- apply: {lane}"))
    if len(declared) > 1:
        (first_line, first), (second_line, second) = sorted(declared.values())
        mistakes.append((second_line, f"`{second}` contradicts `{first}` in line {first_line}; keep one of them"))
    lane = Lane.COLD if len(declared) > 1 else next(iter(declared), None)
    return Declaration(lane=lane, mistakes=tuple(mistakes), is_all=top == len(sql))


def _live(file: str, live_lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Where the file has which of those lines."""
    return ((line, text) for text in live_lines for line in extent.lines_starting(file, text))


def _mistake(word: str, lane: Lane | None, *, is_at_top: bool) -> str:
    """What is wrong with one `-- apply:` line, or an empty string."""
    if is_at_top and lane is None:
        return f"`-- apply: {word}` names no lane; write `-- apply: live` or `-- apply: cold`"
    if lane is not None and not is_at_top:
        return (f"`-- apply: {word}` stands below the first statement, where it has no effect; "
                "move it to the top of the file")
    return ""  # below, other words: a comment of a function's body, say


def _end_of_leading_comments(sql: str) -> int:
    """Where the first statement starts; the length of the text where there is none."""
    position = _after_blank(sql, 0)
    while sql.startswith("/*", position):
        end = _end_of_block(sql, position)
        if end is None:
            break  # unfinished: the SQL parser will name it
        position = _after_blank(sql, end)
    return position


def _after_blank(sql: str, position: int) -> int:
    blank = BLANK.match(sql, position)
    return blank.end() if blank else position


def _end_of_block(sql: str, start: int) -> int | None:
    depth = 0
    for edge in COMMENT_EDGE.finditer(sql, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return None

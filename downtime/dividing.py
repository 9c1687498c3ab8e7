"""Where to split a file whose statements do not all belong in one lane: advice for its author. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from downtime.lanes import Lane


class Placed(Protocol):
    """A statement and where it is."""

    @property
    def text(self) -> str: ...

    @property
    def line(self) -> int: ...

    @property
    def kind(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Statements that follow each other in one lane."""

    lane: Lane
    first: int  # position of its first statement, from 0
    end: int    # position behind its last one


def parts(lanes: Sequence[Lane | None]) -> tuple[Part, ...]:
    """The parts of a file, from the lane of each statement.

    None is a statement for any lane, such as SET: it goes with what follows, and at the end with what is before it.
    """
    settled = list(lanes)
    for place in reversed(range(len(settled) - 1)):
        settled[place] = settled[place] or settled[place + 1]
    for place in range(1, len(settled)):
        settled[place] = settled[place] or settled[place - 1]
    found = []
    for lane, places in groupby(range(len(settled)), key=lambda place: settled[place]):
        first, *more = places
        if lane is not None:
            found.append(Part(lane=lane, first=first, end=first + len(more) + 1))
    return tuple(found)


def advice(statements: Sequence[Placed], divided: Sequence[Part], part: Part) -> str:
    """How that part becomes a file of its lane, half a sentence: `split the file before line 12 and …`."""
    if len(divided) == 1:
        return f"declare the file `-- apply: {part.lane}`"
    above, below = _before(statements, part.first), _before(statements, part.end)
    if part.first == 0:
        where, which = below, "first part"
    elif part.end == len(statements):
        where, which = above, "second part" if len(divided) == 2 else "last part"
    else:
        where, which = f"{above} and again {below},", "part between"
    return f"split the file {where} and declare the {which} `-- apply: {part.lane}`"


def _before(statements: Sequence[Placed], place: int) -> str:
    if not 0 < place < len(statements):
        return ""  # there is nothing to be split off
    previous, statement = statements[place - 1], statements[place]
    if previous.line + previous.text.count("\n") == statement.line:
        return f"in line {statement.line}, before {statement.kind},"
    return f"before line {statement.line}"

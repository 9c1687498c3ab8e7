"""What became of a patch on each database of an environment: values, their text and their JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from downtime import errors
from downtime.plan import listing


class State(StrEnum):
    """How far one database is; the value is what people read."""

    NOT_REACHED = "not reached"  # nothing was done there
    UNDER_WAY = "under way"
    HAS_IT = "has it already"    # by an earlier run, with the same bytes
    DONE = "done"
    FAILED = "failed"            # `said` says why, `left` how it was left


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How it went on one database; seconds are None where there was no outage, or no patch."""

    state: State
    said: str = ""                 # a sentence, where there is more to say than the state
    started_at: datetime | None = None
    outage_seconds: float | None = None
    patch_seconds: float | None = None
    kicked: int = 0
    over_budget: bool = False      # it took longer than it may: no other database is begun
    left: errors.Left | None = None  # how the database was left, where something went wrong
    needs_operator: bool = False   # something there does not come right by itself, whether the patch is in or not

    @property
    def has_patch(self) -> bool:
        return self.state in (State.HAS_IT, State.DONE)

    @property
    def stops(self) -> bool:
        """Whether nobody should go on without somebody's word."""
        return self.state is State.FAILED or self.over_budget or self.left is not None

    @classmethod
    def failed(cls, error: errors.DowntimeError, **known: Any) -> Result:
        return cls(state=State.FAILED, said=said_of(error), left=error.left,
                   needs_operator=isinstance(error, errors.NeedsOperator), **known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One database: its name among the others, where it is, and how it went."""

    name: str
    database: str  # host:port/database
    result: Result

    @property
    def sentence(self) -> str:
        """How it went there, in one line."""
        result = self.result
        times = [f"{what} {seconds:.3f} s" for what, seconds in (
            ("outage", result.outage_seconds), ("patch", result.patch_seconds)) if seconds is not None]
        said = [str(result.state), *times, *([result.said] if result.said else [])]
        return f"{self.name}: {', '.join(said)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """All databases of an environment, the canary first, and why no more of them were begun (empty: all were)."""

    rows: tuple[Row, ...]
    stopped: str = ""

    @property
    def complete(self) -> bool:
        """Whether every database has the patch."""
        return all(row.result.has_patch for row in self.rows)

    @property
    def failed(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.result.state is State.FAILED)

    @property
    def lacking(self) -> tuple[Row, ...]:
        """Those without the patch."""
        return tuple(row for row in self.rows if not row.result.has_patch)

    @property
    def progress(self) -> str:
        """`7 of 50 done, 5 under way`."""
        done = sum(row.result.has_patch for row in self.rows)
        counted = ", ".join(f"{count} {state}" for state in (State.UNDER_WAY, State.FAILED)
                            if (count := sum(row.result.state is state for row in self.rows)))
        return f"{done} of {len(self.rows)} done{', ' if counted else ''}{counted}"

    @property
    def longest_outage_seconds(self) -> float:
        return max((row.result.outage_seconds or 0.0 for row in self.rows), default=0.0)

    @property
    def sentence(self) -> str:
        """How it has ended, in one line."""
        if self.complete:
            return "; ".join([f"all {len(self.rows)} databases have it", *self._remarks])
        said = (f"{len(self.rows) - len(self.lacking)} of {len(self.rows)} databases have it; without it:"
                f" {listing([row.name for row in self.lacking])}")
        return f"{said}; {self.stopped}" if self.stopped else said

    @property
    def _remarks(self) -> tuple[str, ...]:
        """What is to be known of databases that have it."""
        late = [row.name for row in self.rows if row.result.over_budget]
        looks = [f"{row.name} needs a look: {row.result.said}" for row in self.rows if row.result.left is not None]
        return (*([f"{listing(late)} took too long"] if late else []), *looks)

    def lines(self) -> tuple[str, ...]:
        """As a table for terminals and logs."""
        cells = [("database", "where", "state", "outage ms", "patch ms", "kicked", ""), *map(_cells, self.rows)]
        widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
        return tuple("  ".join(cell.rjust(width) if 3 <= column <= 5 else cell.ljust(width)
                               for column, (cell, width) in enumerate(zip(line, widths, strict=True))).rstrip()
                     for line in cells)

    def to_json(self) -> dict[str, Any]:
        """Keys and units as docs/outage.md has them."""
        return {"sentence": self.sentence, "complete": self.complete, "stopped": self.stopped,
                "databases": [_facts(row) for row in self.rows]}


def said_of(error: errors.DowntimeError) -> str:
    """In one line, with what to type next where nothing comes right by itself."""
    advice = f"; next: {error.advice}" if isinstance(error, errors.NeedsOperator) and error.advice else ""
    return " ".join(f"{error}{advice}".split())


def changed(rows: Sequence[Row], name: str, result: Result) -> tuple[Row, ...]:
    """The rows with another result of one of them."""
    return tuple(Row(name=row.name, database=row.database, result=result) if row.name == name else row for row in rows)


def _cells(row: Row) -> tuple[str, ...]:
    result = row.result
    kicked = str(result.kicked) if result.outage_seconds is not None else "-"
    left = f"; left {result.left}" if result.left is not None else ""
    return (row.name, row.database, str(result.state), _ms(result.outage_seconds), _ms(result.patch_seconds), kicked,
            f"{result.said}{left}")


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f}"


def _facts(row: Row) -> dict[str, Any]:
    result = row.result
    return {"name": row.name, "database": row.database, "state": result.state.value, "said": result.said,
            "started_at": result.started_at.isoformat() if result.started_at is not None else None,
            "outage_seconds": result.outage_seconds, "patch_seconds": result.patch_seconds, "kicked": result.kicked,
            "over_budget": result.over_budget, "left": result.left.value if result.left is not None else None}

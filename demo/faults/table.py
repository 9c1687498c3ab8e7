"""The table of faults: plays every row with each gate, and prints what was measured and whether it holds."""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from demo.faults import (
    broken,
    master_killed,
    network,
    poolers,
    quiescing,
    reconfigured,
    replicas,
    rivals,
    server_killed,
    stopped,
    worker_lost,
)
from demo.faults.database import DATABASE_ROWS
from demo.faults.rows import GATES, Finding, Row, played
from demo.faults.world import World
from demo.stage import Tell

HEADINGS = ("fault", "moment", "gate", "must hold", "limit", "measured", "holds?")


class Format(StrEnum):
    TEXT = "text"
    MARKDOWN = "markdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One row played with one gate."""

    row: Row
    gate: str
    finding: Finding

    @property
    def in_time(self) -> bool:
        limit, seconds = self.row.limit_seconds, self.finding.seconds
        return limit is None or seconds is None or seconds <= limit  # None: nothing was closed, or `broken` says why

    @property
    def holds(self) -> bool:
        return not self.finding.broken and self.in_time

    @property
    def complaints(self) -> list[str]:
        """Complete sentences; none where it holds."""
        late = f"open after {shown(self.finding.seconds)}, the limit is {shown(self.row.limit_seconds)}"
        return [*self.finding.broken, *([] if self.in_time or self.finding.broken else [late])]

    @property
    def cells(self) -> tuple[str, ...]:
        return (self.row.fault, self.row.moment, self.gate, self.row.must_hold, shown(self.row.limit_seconds),
                shown(self.finding.seconds), "yes" if self.holds else "NO")


def all_rows() -> tuple[Row, ...]:
    """Those of a living master first: what needs a restart leaves the cold start to the next."""
    return (*master_killed.rows(), *network.rows(), *server_killed.rows(), *stopped.rows(), *worker_lost.rows(),
            *reconfigured.rows(), *broken.rows(), *rivals.rows(), *quiescing.rows(), *DATABASE_ROWS,
            *poolers.rows(), *replicas.rows())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gate", choices=GATES, default=None, help="with this gate alone (default: with both)")
    parser.add_argument("--only", metavar="TEXT", default="", help="the rows whose name has this text")
    parser.add_argument("--format", type=Format, choices=list(Format), default=Format.TEXT,
                        help="of the table (default: text)")


def run(arguments: argparse.Namespace) -> int:
    """Exit status 0: every row holds."""
    results: list[Result] = []
    for gate, surrounded in itertools.product((arguments.gate,) if arguments.gate else GATES, (False, True)):
        rows = [row for row in all_rows()
                if gate in row.gates and row.surrounded is surrounded and arguments.only in row.name]
        if rows:
            with tempfile.TemporaryDirectory() as folder:
                results += play(Path(folder) / "demo", rows, gate=gate, surrounded=surrounded, tell=_progress)
    if not results:
        print(f"no row has “{arguments.only}” in its name", file=sys.stderr)
        return 2
    print(table(results, arguments.format))
    failed = [result for result in results if not result.holds]
    for result in failed:
        print(f"\n{result.row.name} (gate {result.gate}):\n  " + "\n  ".join(result.complaints), file=sys.stderr)
    print(f"\n{len(results) - len(failed)} of {len(results)} rows hold", file=sys.stderr)
    return 1 if failed else 0


def play(folder: Path, rows: Sequence[Row], *, gate: str, surrounded: bool, tell: Tell) -> list[Result]:
    """The rows, one after the other, in a world of their own."""
    tell(f"gate {gate}: making the world of {len(rows)} rows")
    world = World.create(folder, gate=gate, surrounded=surrounded, tell=tell)
    try:
        return [_told(Result(row=row, gate=gate, finding=played(row, world)), tell) for row in rows]
    finally:
        world.close()


def table(results: Iterable[Result], form: Format = Format.TEXT) -> str:
    """A line for each row and gate."""
    cells = [HEADINGS, *(result.cells for result in results)]
    if form is Format.MARKDOWN:
        lines = [f"| {' | '.join(each)} |" for each in cells]
        return "\n".join([lines[0], f"|{'---|' * len(HEADINGS)}", *lines[1:]])
    widths = [max(len(each[column]) for each in cells) for column in range(len(HEADINGS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(each, widths, strict=True)).rstrip()
                     for each in cells)


def shown(seconds: float | None) -> str:
    """A duration as the table has it."""
    if seconds is None:
        return "–"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _told(result: Result, tell: Tell) -> Result:
    verdict = "holds" if result.holds else f"DOES NOT HOLD: {result.complaints[0].splitlines()[0]}"
    tell(f"{result.row.name} (gate {result.gate}): {shown(result.finding.seconds)}, {verdict}")
    return result


_BEGAN = time.monotonic()


def _progress(text: str) -> None:
    print(f"[{time.monotonic() - _BEGAN:6.1f} s] {text}", file=sys.stderr, flush=True)

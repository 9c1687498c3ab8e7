"""What the story promises and what came of it: expectations, the table at its end, and summary.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from demo.witnesses import Calls


class StoryError(AssertionError):
    """Something in the story was not as told; the message says what was expected and what happened."""


def expect(holds: object, message: str) -> None:
    """Raise StoryError unless it holds."""
    if not holds:
        raise StoryError(message)


class Outcome(StrEnum):
    """How far a patch got."""

    REJECTED = "rejected when it landed"
    FAILED_ON_STAGING = "failed on staging, rolled back"
    REFUSED = "refused, nobody was kicked"
    ROLLED_BACK = "failed, rolled back, open again"
    DEPLOYED = "deployed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One patch on its way, as far as it got. Durations in seconds; None where there is nothing to tell."""

    patch: str
    lane: str
    outcome: Outcome
    said: str                                # the build's own sentence
    staging_seconds: float | None = None
    approved_by: str = ""
    patch_seconds: float | None = None
    outage_seconds: float | None = None      # the longest gap between two new connections, as the prober saw it
    resolution_seconds: float | None = None  # the usual gap: what the prober sees where there is no outage
    kicked: int | None = None
    pooled: Calls | None = None              # what clients behind the pooler saw
    readers: Calls | None = None             # what those saw that read from the standby
    standby_seconds: float | None = None     # from the COMMIT until the standby had it


HEADINGS = ("patch", "lane", "staging s", "approved by", "patch s", "outage s", "kicked", "behind the pooler",
            "at the standby", "there after s", "outcome")
NUMBERS = ("staging s", "patch s", "outage s", "kicked", "there after s")


def table(rows: Sequence[Attempt]) -> str:
    """The attempts as text, one line each."""
    cells = [HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADINGS))]
    lines = ["  ".join(_aligned(text, width, number) for number, (text, width) in
                       enumerate(zip(row, widths, strict=True))).rstrip() for row in cells]
    rule = "  ".join("─" * width for width in widths)
    return "\n".join([lines[0], rule, *lines[1:]])


def summary(rows: Sequence[Attempt], *, seconds: float, verdict_seconds: Mapping[str, float], failure: str
            ) -> dict[str, object]:
    """The same for programs."""
    return {"as_told": not failure, "failure": failure, "seconds": round(seconds, 1),
            "push_to_verdict_seconds": {patch: round(each, 3) for patch, each in verdict_seconds.items()},
            "attempts": [asdict(row) for row in rows]}


def write(path: Path, document: Mapping[str, object]) -> None:
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def _cells(row: Attempt) -> tuple[str, ...]:
    return (row.patch, row.lane, _seconds(row.staging_seconds), row.approved_by or "–", _seconds(row.patch_seconds),
            _seconds(row.outage_seconds), "–" if row.kicked is None else str(row.kicked), _calls(row.pooled),
            _calls(row.readers), _seconds(row.standby_seconds), row.outcome)


def _calls(seen: Calls | None) -> str:
    """The longest call, and how many failed."""
    if seen is None:
        return "–"
    failed = sum(seen.errors.values())
    return f"{_seconds(seen.longest_seconds)} s, {failed or 'no'} error{'' if failed == 1 else 's'}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _aligned(text: str, width: int, column: int) -> str:
    return text.rjust(width) if HEADINGS[column] in NUMBERS else text.ljust(width)

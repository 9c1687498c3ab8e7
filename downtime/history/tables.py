"""Every attempt to deploy as one row, for programs and spreadsheets: the same rows as JSON and as CSV. Pure.

The columns are explained in docs/figures.md.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from downtime.history import lead_times
from downtime.history.events import Ended, Outcome
from downtime.history.journey import Attempt, Journey
from downtime.history.lead_times import Part
from downtime.history.selection import EVERYTHING, Selection, lane_of
from downtime.history.stages import standing
from downtime.printable import printable

FOUND = "found applied"  # in place of an outcome: production's ledger has it, and no attempt put it there
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the beginning of one
ELSEWHERE = re.compile(r"[;\t][ \"]*(?=[=+\-@])")

Cell = str | int | float | bool | datetime | tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One attempt, or a patch that was found in the ledger. None: it has not happened, or nobody knows."""

    patch: str
    request_id: int | None = None
    outcome: str | None = None   # None while it is under way
    stage: str | None = None     # of an attempt under way; None where it is over
    lane: str | None = None
    authors: tuple[str, ...] = ()
    requested_by: tuple[str, ...] = ()
    approved_by: tuple[str, ...] = ()
    override: bool = False
    landed_at: datetime | None = None
    rehearsed_at: datetime | None = None
    offered_at: datetime | None = None
    asked_at: datetime | None = None
    approved_at: datetime | None = None
    quiescing_at: datetime | None = None
    began_at: datetime | None = None
    ended_at: datetime | None = None
    staging_seconds: float | None = None
    expected_seconds: float | None = None
    patch_seconds: float | None = None
    overhead_seconds: float | None = None
    outage_seconds: float | None = None
    kicked_sessions: int | None = None
    fragile_users: tuple[str, ...] = ()
    left: str | None = None
    rehearsal_seconds: float | None = None
    earlier_attempts_seconds: float | None = None
    approval_seconds: float | None = None
    turn_seconds: float | None = None
    deploying_seconds: float | None = None
    lead_seconds: float | None = None
    sentence: str | None = None
    build_url: str | None = None


PART_COLUMNS = {Part.REHEARSAL: "rehearsal_seconds", Part.EARLIER: "earlier_attempts_seconds",
                Part.APPROVAL: "approval_seconds", Part.TURN: "turn_seconds", Part.DEPLOYING: "deploying_seconds"}
COLUMNS = tuple(each.name for each in fields(Row))
_values: Callable[[Row], tuple[Cell, ...]] = attrgetter(*COLUMNS)


def rows(journeys: Iterable[Journey], selection: Selection = EVERYTHING) -> tuple[Row, ...]:
    """The selection's attempts, newest first by when they ended; those under way count by when they were offered."""
    dated: list[tuple[datetime, Row]] = []
    for journey in journeys:
        for attempt in journey.attempts:
            at = attempt.ended.at if attempt.ended is not None else attempt.offered_at
            if selection.covers(at, lane_of(journey, attempt)):
                dated.append((at, _of_attempt(journey, attempt)))
        if journey.found is not None and selection.covers(journey.found.began_at, journey.found.lane):
            dated.append((journey.found.began_at, _found(journey)))
    return tuple(row for _, row in sorted(dated, key=lambda pair: pair[0], reverse=True))


def as_json(given: Sequence[Row]) -> list[dict[str, object]]:
    """The rows as JSON has them: instants in ISO 8601 and UTC, several names as a list."""
    return [{name: iso(value) if isinstance(value, datetime) else value
             for name, value in zip(COLUMNS, _values(row), strict=True)} for row in given]


def as_csv(given: Sequence[Row]) -> str:
    """The rows as RFC 4180 has them, with a line of names above; several names stand in one cell, one after another."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows([_cell(value) for value in _values(row)] for row in given)
    return text.getvalue()


def _of_attempt(journey: Journey, attempt: Attempt) -> Row:
    known, approved, ended = journey.rehearsed, attempt.approved, attempt.ended
    under_way = ended is None and attempt is journey.attempt
    columns: dict[str, Any] = {
        "patch": journey.patch_id, "request_id": attempt.request_id, "lane": lane_of(journey, attempt),
        "stage": standing(journey).stage if under_way else None,
        "authors": journey.authors, "requested_by": attempt.requested_by, "override": attempt.overridden,
        "landed_at": journey.landed_at, "offered_at": attempt.offered_at, "asked_at": attempt.asked_first_at,
        "quiescing_at": attempt.quiescing.at if attempt.quiescing is not None else None,
        "began_at": attempt.closed.at if attempt.closed is not None else None, "build_url": attempt.build_url or None}
    if approved is not None:
        columns |= {"approved_by": approved.by, "approved_at": approved.at}
    if known is not None:
        columns |= {"rehearsed_at": known.at, "staging_seconds": known.seconds,
                    "expected_seconds": known.expected_seconds}
    return Row(**columns) if ended is None else Row(**columns | _of_end(journey, attempt, ended))


def _of_end(journey: Journey, attempt: Attempt, ended: Ended) -> dict[str, Any]:
    """The columns that tell how an attempt ended; its times only where production was touched."""
    columns: dict[str, Any] = {
        "outcome": ended.outcome, "began_at": ended.began_at, "ended_at": ended.at, "fragile_users": ended.fragile,
        "left": ended.left or None, "sentence": ended.sentence}
    if ended.expected_seconds is not None:
        columns["expected_seconds"] = ended.expected_seconds
    if ended.began_at is not None:
        overhead = max(ended.outage_seconds - ended.patch_seconds, 0.0) if ended.outage_seconds else None
        columns |= {"patch_seconds": ended.patch_seconds, "overhead_seconds": overhead,
                    "outage_seconds": ended.outage_seconds, "kicked_sessions": ended.kicked}
    if ended.outcome is Outcome.DEPLOYED:
        parts = lead_times.parts_of(journey, attempt)
        columns |= {PART_COLUMNS[part]: seconds for part, seconds in parts.items()}
        columns["lead_seconds"] = sum(parts.values())
    return columns


def _found(journey: Journey) -> Row:
    found = journey.found
    assert found is not None, "the ledger has it"
    return Row(patch=journey.patch_id, outcome=FOUND, lane=found.lane, authors=journey.authors,
               requested_by=(found.requested_by,) if found.requested_by else (),
               approved_by=(found.approved_by,) if found.approved_by else (),
               landed_at=journey.landed.at if journey.landed is not None else None, began_at=found.began_at,
               patch_seconds=found.patch_seconds)


def iso(at: datetime) -> str:
    """To the millisecond, in UTC, as spreadsheets and browsers read it."""
    text = at.isoformat(timespec="milliseconds")
    if not text.endswith("+00:00"):
        text = at.astimezone(UTC).isoformat(timespec="milliseconds")
    return f"{text.removesuffix('+00:00')}Z"


def _cell(value: Cell) -> str:
    if value is None or value == ():
        return ""
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return _harmless(value if isinstance(value, str) else " ".join(value))


def _harmless(text: str) -> str:
    """Text of unknown origin: no control character, and no formula of a spreadsheet.

    One of another country takes a semicolon, or a tab, for the end of a cell.
    """
    guarded = f"'{text}" if text.lstrip(" ").startswith(FORMULA) else text
    guarded = ELSEWHERE.sub(r"\g<0>'", guarded) if ";" in guarded or "\t" in guarded else guarded
    return guarded if guarded.isprintable() else printable(guarded)

"""The deployments to come, as `status` knows and shows them: by git and the ledgers, with what Buildbot says beside it.

Order, lane and seconds are those of git and the ledgers. Buildbot's word is taken for who waits for whom, and for what
staging has measured only where staging's ledger was not read, of exactly the bytes that are pending. Pure.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC

from downtime import ledger
from downtime.commands.output import table
from downtime.commands.queue_of_buildbot import Answer, Told
from downtime.forecast import Factor
from downtime.history.queue import Entry, Queue
from downtime.history.stages import Stage, Whose
from downtime.lanes import Lane
from downtime.patches import Patch
from downtime.printable import printable

NARROWEST, WIDEST = 80, 120  # columns of a terminal; a narrower one breaks the lines itself
SHOWN = 30                   # of a longer queue the first ones: with what stands above they fill a screen
SHORTEST_ID = 10             # characters that are left of an id
INDENT = 2
UNKNOWN = "-"
HEADS = ("", "patch", "lane", "staging", "outage", "stands → whose turn")


def queue(pending: Sequence[Patch], staging: Sequence[ledger.Entry] | None, factor: Factor, told: Mapping[str, Told]
          ) -> Queue:
    """The pending patches, in their order, with what is known of each; no `staging`: its ledger was not read."""
    measured = {(entry.id, entry.sha256): entry.seconds for entry in staging or () if entry.lane != ledger.BASELINE}
    if staging is None:
        measured = {(each.patch, each.sha256): each.staging_seconds for each in told.values()
                    if each.staging_seconds is not None}
    return Queue(entries=tuple(
        _entry(place, patch, measured.get((patch.id, patch.sha256)), factor, told.get(patch.id))
        for place, patch in enumerate(pending, start=1)))


def _entry(place: int, patch: Patch, staging_seconds: float | None, factor: Factor, told: Told | None) -> Entry:
    return Entry(
        place=place, patch_id=patch.id, lane=patch.lane, sha256=patch.sha256 if staging_seconds is not None else "",
        staging_seconds=staging_seconds,
        expected_seconds=staging_seconds * factor.value if staging_seconds is not None else None,
        standing=told.standing if told else None, begins_at=told.begins_at if told else None,
        behind=told.behind if told else (), build_url=told.build_url if told else "")


def lines(found: Queue, answer: Answer, *, columns: int) -> list[str]:
    """For a terminal of so many columns: what the queue comes to, the table, and what is not known; not indented."""
    width = max(NARROWEST, min(columns, WIDEST)) - INDENT
    return [*_wrapped(found.sentence, width), *_table(found.entries[:SHOWN], answer, width),
            *([f"and {len(found.entries) - SHOWN} more"] if len(found.entries) > SHOWN else []),
            *(_wrapped(answer.sentence, width) if answer.silence else [])]


def _table(entries: Sequence[Entry], answer: Answer, width: int) -> list[str]:
    rows = [(str(entry.place), _cell(entry.patch_id), str(entry.lane or UNKNOWN), _seconds(entry.staging_seconds),
             _outage(entry), _stands(entry)) for entry in entries]
    if answer.silence:
        return _fitted(HEADS[:-1], [row[:-1] for row in rows], width)
    return _fitted(HEADS, rows, width)


def _fitted(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]], width: int) -> list[str]:
    """The table with numbers to the right, and the ids as long as there is room for."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    others = sum(widths) - widths[1] + 2 * (len(heads) - 1)
    room = max(SHORTEST_ID, width - others)

    def fitted(cells: tuple[str, ...]) -> tuple[str, ...]:
        place, patch, lane, *seconds_and_rest = cells
        seconds = [cell.rjust(widths[column]) for column, cell in enumerate(seconds_and_rest[:2], start=3)]
        return (place.rjust(widths[0]), _shortened(patch, room), lane, *seconds, *seconds_and_rest[2:])

    return table(fitted(heads), [fitted(row) for row in rows]).splitlines()


def _outage(entry: Entry) -> str:
    return "none" if entry.expected_outage_seconds == 0 and entry.lane is Lane.LIVE else _seconds(
        entry.expected_outage_seconds)


def _seconds(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else f"{seconds:.3f} s"


def _stands(entry: Entry) -> str:
    """Its stage and who has to act, in at most 31 characters."""
    if entry.standing is None:
        return "unknown to Buildbot"
    stage, whose = entry.standing.stage, entry.standing.whose
    if stage in (Stage.WAITING_WINDOW, Stage.QUIESCING) and entry.begins_at is not None:
        said = "begins" if stage is Stage.WAITING_WINDOW else "quiescing,"
        return f"{said} {entry.begins_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if stage is Stage.WAITING:
        return f"waits for {whose}"
    return str(stage) if whose is Whose.NOBODY else f"{stage} → {whose}"


def _cell(text: str) -> str:
    """Text of unknown origin on one line, every character of it one that is seen."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest - 1]}…"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(_cell(text), width, break_on_hyphens=False)

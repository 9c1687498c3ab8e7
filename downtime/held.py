"""What a deployment holds outside its database's own transaction: paused poolers, standbys whose replay is paused.

Gate "hold" lets go by itself when its deployer dies, and gate "refuse" has a guard in the server. A pooler has neither:
it stays paused. So whoever pauses one writes a row into the database first, committed by itself, and removes it when
the pooler goes on. `downtime.watchdog` undoes what the rows name within moments of its deployer's death,
`downtime.recovery` whatever a dead run has left, on any later primary too. A row of something that is not paused (any
more) is harmless: every undoing looks first.

The rows can be written by whatever runs as the patching role, so nobody connects to where a row says: a row is matched
by its place with a server that the settings name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from downtime import errors, pooler, replay, sqlstates
from downtime.node import Node
from downtime.pooler import Pause
from downtime.printable import cut, escaped
from downtime.target import Target

LONGEST_SHOWN = 200  # characters of a text that somebody else may have written

# What is held, oldest first. Takes ACCESS SHARE on the table. Somebody may have written an instant that Python has not.
SELECT_HELD = """
SELECT kind, place, undo, "by", CASE WHEN since BETWEEN '2000-01-01' AND clock_timestamp() THEN since END AS since
  FROM fastdowntime.held AS held ORDER BY held.since, kind, place
"""

# Takes ROW EXCLUSIVE. A row that is there already is of a run that died: what it says of the state before must stay.
INSERT_HELD = """
INSERT INTO fastdowntime.held (kind, place, undo, "by")
SELECT kind, place, undo, "by" FROM jsonb_to_recordset(%s::jsonb) AS given(kind text, place text, undo jsonb, "by" text)
    ON CONFLICT DO NOTHING
RETURNING kind, place
"""

# Only rows of the same deployment: a later one may hold the same thing by now. Takes ROW EXCLUSIVE.
DELETE_HELD = """
DELETE FROM fastdowntime.held AS held
 USING jsonb_to_recordset(%s::jsonb) AS given(kind text, place text, "by" text)
 WHERE held.kind = given.kind AND held.place = given.place AND held."by" = given."by"
"""


class Kind(StrEnum):
    """What is held."""

    POOLER = "pooler"  # a PgBouncer is paused
    REPLAY = "replay"  # a standby does not replay


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One row. `by` names the deployment and no other; `since` is None until it was written."""

    kind: Kind
    place: str                  # Target.label of the console or the standby
    undo: Mapping[str, Any]     # as JSON; a pooler's Pause without its password
    by: str
    since: datetime | None = None

    @property
    def sentence(self) -> str:
        """For people: what is held, since when, by whom."""
        where = _shown(self.place)
        what = f"pooler {where} is paused" if self.kind is Kind.POOLER else f"replay is paused on standby {where}"
        since = f" since {self.since.isoformat(sep=' ', timespec='seconds')}" if self.since is not None else ""
        return f"{what}{since}, {_shown(self.by)}"


class LeftBehind(errors.NeedsOperator):
    """A dead run holds what a deployment wants to hold; pausing it again would lose what it was like before."""

    happened = "a dead run has left held: {listing}"
    next_step = "python -m downtime reopen --environment NAME"
    left = errors.Left.UNTOUCHED

    def __init__(self, holdings: Sequence[Holding]) -> None:
        self.holdings = tuple(holdings)
        super().__init__(listing="; ".join(each.sentence for each in holdings))


class CannotUndo(errors.NodeError):
    """A row that says nothing we could do."""

    happened = "{node}: what was written down about it cannot be read: {reason}"


def of_pause(pause: Pause, *, by: str) -> Holding:
    """The row of a pooler that a deployment is about to pause."""
    return Holding(kind=Kind.POOLER, place=pause.console.label, undo=pause.to_json(), by=by)


def of_replay(target: Target, *, by: str) -> Holding:
    """The row of a standby on which a deployment is about to pause replay."""
    return Holding(kind=Kind.REPLAY, place=target.label, undo={}, by=by)


async def write(node: Node, holdings: Sequence[Holding]) -> None:
    """Write rows in a transaction of their own, on a session of the database. Raises LeftBehind or NodeError."""
    if not holdings:
        return
    async with node.transaction():
        written = await node.execute(INSERT_HELD, (_as_json(holdings),))
        if len(written.rows) < len(holdings):
            ours = {(row["kind"], row["place"]) for row in written.rows}
            wanted = {(each.kind, each.place) for each in holdings} - ours
            raise LeftBehind([each for each in await read(node) if (each.kind, each.place) in wanted])


async def read(node: Node) -> tuple[Holding, ...]:
    """What is held, oldest first; nothing where the installation is older than the table or missing."""
    try:
        rows = (await node.execute(SELECT_HELD)).rows
    except errors.StatementFailed as error:
        if error.sqlstate in (sqlstates.UNDEFINED_TABLE, sqlstates.INVALID_SCHEMA_NAME,
                              sqlstates.INSUFFICIENT_PRIVILEGE):
            return ()
        raise
    return tuple(Holding(**{**row, "kind": Kind(row["kind"])}) for row in rows)


async def remove(node: Node, holdings: Sequence[Holding]) -> None:
    """Remove rows, in a transaction of its own. Rows that are gone, or are another deployment's, are no error.

    It is one statement to the session: several may remove theirs side by side over the same one.
    """
    if holdings:
        # lost in a failover, the row is there again: harmless; a standby that is away must not delay it
        await node.execute(f"SET LOCAL synchronous_commit TO local; {DELETE_HELD}", (_as_json(holdings),))


async def undo(holding: Holding, where: Target, *, reactor: Any) -> tuple[str, ...]:
    """Let it go on if it is paused still; lines for a log. Raises NodeError, CannotUndo among them.

    `where` is what the settings say of the place, password included.
    """
    if holding.kind is Kind.REPLAY:
        return await replay.undo_replay(where, reactor=reactor)
    try:
        pause = replace(Pause.from_json(holding.undo), console=where)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CannotUndo(node=where.label, reason=type(error).__name__) from error
    return await pooler.undo(pause, reactor=reactor)


def _as_json(holdings: Sequence[Holding]) -> str:
    return json.dumps([{"kind": each.kind, "place": each.place, "undo": each.undo, "by": each.by}
                       for each in holdings])


def _shown(text: str) -> str:
    return cut(escaped(text), LONGEST_SHOWN)

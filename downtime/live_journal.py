"""What is written down of a live patch in its database, so that a second run goes on where the first one ended.

A statement in a transaction writes its row there: it is in if the row is. One outside transactions writes two: that it
has begun, before, and that it is finished, behind. Begun and not finished means that the run was cut off: what it has
left is looked at by `downtime.standalone`.
"""

from __future__ import annotations

from dataclasses import dataclass

from downtime import errors, ledger, sqlstates
from downtime.node import Node
from downtime.patches import Patch

SELECT_FINISHED = "SELECT statement, sha256 FROM fastdowntime.live_journal WHERE id = %s"
SELECT_BEGUN = "SELECT statement, sha256, builds FROM fastdowntime.live_begun WHERE id = %s"
INSERT_FINISHED = "INSERT INTO fastdowntime.live_journal (id, sha256, statement) VALUES (%s, %s, %s)"
INSERT_BEGUN = """
INSERT INTO fastdowntime.live_begun (id, sha256, statement, builds) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
OF_AN_OLDER_VERSION = {sqlstates.UNDEFINED_TABLE, sqlstates.INSUFFICIENT_PRIVILEGE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """What earlier runs have written down of these very bytes; statements by their place, from 1."""

    finished: frozenset[int]
    begun: frozenset[int]    # outside transactions, and not finished
    builds: frozenset[str]   # indexes, as schema.name in SQL, that were not there before a run of the patch began them


class EditedHalfWay(errors.Refused):
    """The file was changed after an earlier run had finished some of its statements."""

    happened = "{path} was edited after {count} of its statements were applied"
    next_step = ("restore the file, or take those statements back by hand and DELETE their rows from"
                 " fastdowntime.live_journal as its owner")


async def read(node: Node, patch: Patch) -> Journal:
    """Raises EditedHalfWay, Outdated where the database has the tables of an older version, or NodeError."""
    finished = (await node.execute(SELECT_FINISHED, (patch.id,))).rows
    if any(row["sha256"] != patch.sha256 for row in finished):
        raise EditedHalfWay(path=patch.path, count=len(finished))
    try:
        begun = (await node.execute(SELECT_BEGUN, (patch.id,))).rows
    except errors.StatementFailed as error:
        if error.sqlstate in OF_AN_OLDER_VERSION:
            raise ledger.Outdated(node=node.label, reason=error.facts["reason"]) from error
        raise
    done = frozenset(row["statement"] for row in finished)
    return Journal(finished=done, builds=frozenset(row["builds"] for row in begun if row["builds"]),
                   begun=frozenset(row["statement"] for row in begun if row["sha256"] == patch.sha256) - done)


async def begin(node: Node, patch: Patch, number: int, *, builds: str) -> None:
    """Say that a statement outside transactions begins; `builds` is the index it makes where none was."""
    await node.execute(INSERT_BEGUN, (patch.id, patch.sha256, number, builds))


async def finish(node: Node, patch: Patch, number: int) -> None:
    await node.execute(INSERT_FINISHED, (patch.id, patch.sha256, number))

"""Statements of a live patch that cannot run in a transaction: journalled around, and taken up where a run was cut off.

Nothing rolls them back. So before one runs it is looked at what is there: what an earlier run has begun and the server
has finished is taken as done, an invalid index is dropped and built again, a partition that is half detached is
detached for good. An index of the wanted name that is another one is never taken for it, whatever the statement says.

CREATE, DROP and REINDEX INDEX CONCURRENTLY wait for old transactions without queueing for a lock that stands in a
client's way, so no lock_timeout cuts them. Where they do queue for one (REINDEX CONCURRENTLY of a partitioned table
begins with SHARE on all its partitions) `downtime.lock_waiting` sees it, and they are tried again. DETACH PARTITION …
CONCURRENTLY ends with ACCESS EXCLUSIVE on the partition: it queues for lock_seconds at most, and what is left then is
the partition "pending detach", which DETACH … FINALIZE takes up, in a transaction and attempt by attempt.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from enum import StrEnum

from downtime import errors, indexes
from downtime import statement_kinds as kinds
from downtime.live_journal import Journal
from downtime.node import Node
from downtime.parameters import milliseconds
from downtime.statements import Statement

OF_REINDEX = re.compile(r"_cc(new|old)[0-9]*$")  # how PostgreSQL names the copies that REINDEX CONCURRENTLY makes

CLEAN_UP_SECONDS = 5.0  # for a drop behind a failure: longer, and the report of the failure waits for old transactions

# Whether the partition is one still, and half detached. Takes no lock on either.
SELECT_PARTITION = """
SELECT inhdetachpending AS pending FROM pg_catalog.pg_inherits
 WHERE inhparent = pg_catalog.to_regclass(%s) AND inhrelid = pg_catalog.to_regclass(%s)
"""

# Whether a relation is the table that REINDEX is about, or the index, or whether it is about a schema or database ("").
SELECT_CONCERNED = """
SELECT %(relation)s = '' OR EXISTS (
    SELECT FROM pg_catalog.pg_index own
      JOIN pg_catalog.pg_index copy ON copy.indexrelid = %(copy)s
      JOIN pg_catalog.pg_class t ON t.oid = own.indrelid
     WHERE pg_catalog.to_regclass(%(relation)s) IN (own.indexrelid, own.indrelid)
       AND copy.indrelid IN (t.oid, t.reltoastrelid)) AS concerned
"""


class Standing(StrEnum):
    """How a statement stands before it runs."""

    AHEAD = "ahead"      # it is to be run
    DONE = "done"        # an earlier run, or somebody by hand, has brought about what it would
    PENDING = "pending"  # its partition is half detached


class IndexDiffers(errors.DowntimeError):
    """An index of the wanted name is there that is not the one the statement would build."""

    happened = ("line {line}: {index} is there already and is another index{invalid}:\n"
                "  there:  {there}\n  wanted: {wanted}")


class IndexIsBeingBuilt(errors.DowntimeError):
    """Another session is building the index."""

    happened = "line {line}: {index} is being built by another session; wait for it to end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What was found before a statement runs."""

    standing: Standing
    builds: str = ""       # the index that it makes and that is not there, as schema.name
    remark: str = ""       # for the log


async def look(node: Node, statement: Statement, number: int, journal: Journal) -> Before:
    """How a statement stands; what an earlier run left invalid is dropped. Raises IndexDiffers or NodeError."""
    begun = number in journal.begun
    if statement.kind == kinds.CREATE_INDEX_CONCURRENTLY and statement.index:
        return await _look_at_index(node, statement, journal)
    if statement.kind == kinds.DROP_INDEX_CONCURRENTLY and begun and not await _is_there(node, statement.relations[0]):
        return Before(standing=Standing.DONE, remark=f"{statement.relations[0]} is dropped: an earlier run was cut off"
                                                     " behind it")
    if statement.kind == kinds.DETACH_CONCURRENTLY:
        rows = (await node.execute(SELECT_PARTITION, statement.relations)).rows
        if rows and rows[0]["pending"]:
            return Before(standing=Standing.PENDING)
        if not rows and begun:
            return Before(standing=Standing.DONE, remark=f"{statement.relations[1]} is detached: an earlier run was cut"
                                                         " off behind it")
    if _reindexes(statement) and begun:
        dropped = await _drop_copies(node, statement)
        return Before(standing=Standing.AHEAD, remark=f"dropped what an earlier run left: {', '.join(dropped)}"
                      if dropped else "")
    return Before(standing=Standing.AHEAD)


async def _look_at_index(node: Node, statement: Statement, journal: Journal) -> Before:
    where = await indexes.place(node, statement)
    if where is None:
        return Before(standing=Standing.AHEAD)  # the server will say that the table is not there
    if not where.taken:
        return Before(standing=Standing.AHEAD, builds=where.qualified)
    if await indexes.is_being_built(node, where):
        raise IndexIsBeingBuilt(line=statement.line, index=where.qualified)
    wanted = await indexes.wanted(node, statement, where)
    same = where.on_table and indexes.alike(where.definition, wanted)
    ours = where.on_table and where.qualified in journal.builds
    if where.valid and same:
        return Before(standing=Standing.DONE, remark=f"{where.qualified} is there, valid and as wanted: taken as done")
    if where.valid or not (same or ours):
        raise IndexDiffers(line=statement.line, index=where.qualified, there=where.definition or "no index",
                           wanted=wanted, invalid="" if where.valid or not where.on_table else ", and invalid")
    await indexes.drop(node, where.qualified)
    return Before(standing=Standing.AHEAD, builds=where.qualified,
                  remark=f"{where.qualified} was there and invalid: dropped, to be built again")


async def clean_up(node: Node, statement: Statement, *, builds: str) -> tuple[str, ...]:
    """Drop the invalid indexes that a failed statement has left, within CLEAN_UP_SECONDS; which. Raises NodeError.

    `builds` is the index that was not there before; empty where it was, or where it is not known.
    """
    async with waiting_at_most(node, CLEAN_UP_SECONDS):
        if _reindexes(statement):
            return await _drop_copies(node, statement)
        if builds and any(each.qualified == builds for each in await indexes.invalid(node)):
            await indexes.drop(node, builds)
            return (builds,)
    return ()


@asynccontextmanager
async def waiting_at_most(node: Node, seconds: float | None) -> AsyncIterator[None]:
    """Statements outside transactions in the block wait no longer than that for a lock, or for a transaction."""
    if seconds is None:
        yield
        return
    await node.execute(f"SET lock_timeout = '{milliseconds(seconds)}'")
    try:
        yield
    finally:
        if not node.closed:
            await node.execute("RESET lock_timeout")


def finalizing(statement: Statement) -> Statement:
    """The statement that detaches a partition for good which is half detached; it runs in a transaction."""
    parent, partition = statement.relations
    return replace(statement, text=f"ALTER TABLE {parent} DETACH PARTITION {partition} FINALIZE", transactional=True)


def is_about(statement: Statement, invalid: indexes.Invalid) -> bool:
    """Whether a statement puts an invalid index right by itself, as far as its name tells: it drops or makes it."""
    named = {_bare(name) for name in (statement.index, *statement.relations) if name}
    return invalid.name in named if not OF_REINDEX.search(invalid.name) else _reindexes(statement)


def _bare(name: str) -> str:
    """The last part of a name as SQL has it, unquoted."""
    last: str = re.findall(r'"(?:[^"]|"")*"|[^.]+', name)[-1]
    return last[1:-1].replace('""', '"') if last.startswith('"') else last.lower()


def _reindexes(statement: Statement) -> bool:
    return statement.kind.startswith("REINDEX ")


async def _drop_copies(node: Node, statement: Statement) -> tuple[str, ...]:
    """The copies that REINDEX CONCURRENTLY has left of the indexes it is about, but for those of TOAST tables."""
    dropped = []
    for each in await indexes.invalid(node):
        if OF_REINDEX.search(each.name) and each.within_reach and (await node.execute(SELECT_CONCERNED, {
                "relation": next(iter(statement.relations), ""), "copy": each.oid})).scalar:
            await indexes.drop(node, each.qualified)
            dropped.append(each.qualified)
    return tuple(dropped)


async def _is_there(node: Node, name: str) -> bool:
    return bool((await node.execute("SELECT pg_catalog.to_regclass(%s) IS NOT NULL", (name,))).scalar)

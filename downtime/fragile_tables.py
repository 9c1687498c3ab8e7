"""Keeps fragile users from writing while their sessions are ended, so that no finished write of theirs is lost.

A session that was idle when it was looked at may have begun a transaction, written, and been told so when the signal
that ends it arrives. It cannot while the patching transaction holds a lock in SHARE mode on the tables it would write.
The lock is asked for without waiting: if it is not to be had, somebody is in the middle of a transaction that has
written, and the outage aborts. It is given back when the sessions are gone, so that the patch finds its transaction
as if it had not been.

What it does not reach: tables the patching role may not lock (they are named), foreign tables, all of them where the
server has no room for so many locks (max_locks_per_transaction; they are named, too), what a fragile user writes by
way of a view, a trigger or a function with its owner's rights, and transactions that have only read or only begun.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from psycopg2 import sql

from downtime import blockers, errors, sqlstates
from downtime.node import Node
from downtime.parameters import milliseconds
from downtime.sessions import FragileUsersActive

AUTOVACUUM_SECONDS = 0.1  # for an autovacuum to give way; with `deadlock_timeout` as installed it does so within 20 ms

# Tables of this database that the users, or a role they may become, may write, and whether we may lock them. Takes
# ACCESS SHARE on catalogs; does not read pg_roles, which waits while gate "hold" is closed.
SELECT_TABLES = """
WITH RECURSIVE writer(role) AS (
         SELECT pg_catalog.to_regrole(pg_catalog.quote_ident(name))::oid FROM unnest(%s) AS name
         UNION
         SELECT m.roleid FROM pg_catalog.pg_auth_members m JOIN writer ON m.member = writer.role)
SELECT n.nspname AS schema, c.relname AS name,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE')
       AND pg_catalog.has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE') AS lockable
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema', 'fastdowntime')
   AND EXISTS (SELECT FROM writer
                WHERE pg_catalog.has_any_column_privilege(writer.role, c.oid, 'INSERT, UPDATE')
                   OR pg_catalog.has_table_privilege(writer.role, c.oid, 'DELETE, TRUNCATE'))
 ORDER BY 1, 2
"""


class FragileTablesLocked(FragileUsersActive):
    """A table that fragile users write is locked by a transaction: one of theirs, or of a user that is spared."""

    happened = "somebody is in the middle of writing to a table of fragile users: {listing}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table that a fragile user may write."""

    schema: str
    name: str
    lockable: bool

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


async def written_by(users: Collection[str], node: Node) -> tuple[Table, ...]:
    """The tables that these users may write, as the role of `node` sees them."""
    found = await node.execute(SELECT_TABLES, (sorted(users),))
    return tuple(Table(**row) for row in found.rows)


@asynccontextmanager
async def locked(users: Collection[str], patcher: Node, control: Node, *, ours: Collection[int]
                 ) -> AsyncIterator[tuple[Table, ...]]:
    """Nobody writes to the tables of these users while the block runs; gives the tables that could not be locked.

    `patcher` is in its transaction. Raises FragileTablesLocked, and lets FragileUsersActive of the block pass: then
    the locks are given back, too. On NodeError the transaction is to be rolled back.
    """
    tables = await written_by(users, patcher)
    await patcher.execute("SAVEPOINT fragile")
    try:
        yield await _lock_all(tables, patcher, control, ours)
    except FragileUsersActive:
        await _give_back(patcher)
        raise
    await _give_back(patcher)


async def _lock_all(tables: Sequence[Table], patcher: Node, control: Node, ours: Collection[int]
                    ) -> tuple[Table, ...]:
    """Returns those that could not be locked. Raises FragileTablesLocked."""
    lockable = [table for table in tables if table.lockable]
    try:
        if lockable:
            await _lock(lockable, patcher, control, ours)
    except errors.StatementFailed as error:
        if error.sqlstate != sqlstates.OUT_OF_MEMORY:
            raise
        await patcher.execute("ROLLBACK TO SAVEPOINT fragile")
        return tuple(tables)
    return tuple(table for table in tables if not table.lockable)


async def _give_back(patcher: Node) -> None:
    await patcher.execute("ROLLBACK TO SAVEPOINT fragile; RELEASE SAVEPOINT fragile")


async def _lock(tables: Sequence[Table], patcher: Node, control: Node, ours: Collection[int]) -> None:
    # parents without their children: who writes by way of a parent locks it, too
    names = (sql.SQL("ONLY {}").format(sql.Identifier(table.schema, table.name)) for table in tables)
    statement = sql.SQL("LOCK TABLE {} IN SHARE MODE").format(sql.SQL(", ").join(names))
    try:
        await patcher.execute(sql.SQL("{} NOWAIT").format(statement))
        return
    except errors.LockNotAvailable as error:
        found = await _hindering(patcher, control, ours)
        if not all(holder.gives_way for holder in found):
            raise FragileTablesLocked(listing=blockers.listing(found)) from error
    # only autovacuum, which the server ends when somebody waits for it: not for a vacuum is a deployment refused
    wait = milliseconds(AUTOVACUUM_SECONDS)
    await patcher.execute(f"ROLLBACK TO SAVEPOINT fragile; SET LOCAL lock_timeout = '{wait}'")
    try:
        await patcher.execute(statement)
    except errors.LockNotAvailable as error:
        found = await _hindering(patcher, control, ours)
        raise FragileTablesLocked(listing=blockers.listing(found)) from error


async def _hindering(patcher: Node, control: Node, ours: Collection[int]) -> list[blockers.Holder]:
    found = await blockers.holders(control, ours=ours, patcher=patcher.pid)
    return [holder for holder in found if holder.hinders_share]

"""Indexes that a live patch builds: whether one is there, valid and the one that is wanted; and which are invalid.

`IF NOT EXISTS` asks for the name alone, and CREATE INDEX CONCURRENTLY leaves an invalid index under it when it fails:
so an index of that name is compared with the one that the statement would make. The server itself says what that is,
from an empty copy of the table in a transaction that is rolled back.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg2 import sql as composed

from downtime import errors, statements
from downtime.node import Node
from downtime.statements import Statement

# What others are building only a role with pg_read_all_stats is shown: the one that has logged in has it, one that the
# patch has SET may not, and would take an index for left behind that is being built. To the end of the transaction,
# which is that of the one message it is sent with.
AS_LOGGED_IN = "SET LOCAL SESSION AUTHORIZATION DEFAULT; SET LOCAL ROLE NONE;"

# Invalid indexes that nobody is building. Takes ACCESS SHARE on catalogs.
SELECT_INVALID = f"""
{AS_LOGGED_IN}
SELECT i.indexrelid::regclass::text AS index, i.indrelid::regclass::text AS table, c.relname AS name,
       pg_catalog.format('%I.%I', n.nspname, c.relname) AS qualified, c.oid,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS within_reach
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid AND c.relkind = 'i'
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT i.indisvalid
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid)
 ORDER BY 1
"""

# The table a statement names, and what has the name of its index in that table's schema. Takes no lock on either.
SELECT_PLACE = """
SELECT n.nspname AS schema, t.relname AS table,
       pg_catalog.format('%%I.%%I', n.nspname, (pg_catalog.parse_ident(%(index)s))[1]::name) AS qualified,
       x.oid IS NOT NULL AS taken, i.indrelid IS NOT DISTINCT FROM t.oid AS on_table,
       coalesce(i.indisvalid AND i.indisready AND i.indislive, false) AS valid,
       x.oid,
       coalesce(pg_catalog.pg_get_indexdef(i.indexrelid), '') AS definition
  FROM pg_catalog.pg_class t
  JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
  LEFT JOIN pg_catalog.pg_class x ON x.relnamespace = t.relnamespace
                                 AND x.relname = (pg_catalog.parse_ident(%(index)s))[1]::name
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = x.oid
 WHERE t.oid = pg_catalog.to_regclass(%(table)s)
"""

IS_BEING_BUILT = f"""
{AS_LOGGED_IN}
SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index WHERE index_relid = %s) AS is_being_built
"""

# The only index of the empty copy.
SELECT_WANTED = """
SELECT pg_catalog.pg_get_indexdef(indexrelid) AS definition FROM pg_catalog.pg_index WHERE indrelid = %s::regclass
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalid:
    """An index that no query uses and every write pays for."""

    index: str      # as the session that asked may name it
    table: str
    name: str       # without schema and quotes
    qualified: str  # schema.index, ready for SQL whatever the search_path
    oid: int
    within_reach: bool  # the role that asked may name it; what REINDEX leaves of a TOAST table only superusers may

    @property
    def cure(self) -> str:
        return f"DROP INDEX CONCURRENTLY {self.index}{'' if self.within_reach else ' (as a superuser)'}"

    def __str__(self) -> str:
        return f"{self.index} on {self.table}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a CREATE INDEX puts its index, and what is there already."""

    schema: str
    table: str
    qualified: str    # schema.index, ready for SQL
    taken: bool       # something has that name
    on_table: bool    # it is an index on that table
    valid: bool
    oid: int | None   # of what has that name
    definition: str   # the server's; empty for what is no index


class _SeenEnough(errors.DowntimeError):
    """Takes the empty copy back; not a failure."""


async def invalid(node: Node) -> tuple[Invalid, ...]:
    """All of the database that nobody is building. Raises NodeError."""
    return tuple(Invalid(**row) for row in (await node.execute(SELECT_INVALID)).rows)


async def place(node: Node, statement: Statement) -> Place | None:
    """As the session's search_path has it; None where the table is not there. Raises NodeError."""
    (table,) = statement.relations
    rows = (await node.execute(SELECT_PLACE, {"table": table, "index": statement.index})).rows
    return Place(**rows[0]) if rows else None


async def is_being_built(node: Node, where: Place) -> bool:
    """Outside transactions. Raises NodeError."""
    return bool((await node.execute(IS_BEING_BUILT, (where.oid,))).scalar)


async def wanted(node: Node, statement: Statement, where: Place) -> str:
    """The definition of the index that the statement would make. Raises NodeError, or SqlSyntaxError."""
    copy = composed.SQL("pg_temp.{}").format(composed.Identifier(where.table))
    original = composed.Identifier(where.schema, where.table)
    found = ""
    try:
        async with node.transaction():
            # the same name: an expression may show it
            await node.execute(composed.SQL("CREATE TABLE {} (LIKE {})").format(copy, original))
            name = str((await node.execute("SELECT pg_catalog.format('pg_temp.%%I', %s)", (where.table,))).scalar)
            await node.execute(statements.index_on(statement, name, index=statement.index))
            found = str((await node.execute(SELECT_WANTED, (name,))).scalar)
            raise _SeenEnough(reason="rolled back as meant")
    except _SeenEnough:
        return found


def alike(one: str, other: str) -> bool:
    """Whether two definitions of the server make the same index, whatever schema the tables are in."""
    return _comparable(one) == _comparable(other)


async def drop(node: Node, qualified: str) -> None:
    """Without keeping a client waiting. Raises NodeError."""
    await node.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {qualified}")


def _comparable(definition: str) -> tuple[bool, str]:
    """Uniqueness, and what stands behind the names: method, columns, options, predicate."""
    return definition.startswith("CREATE UNIQUE "), definition.partition(" USING ")[2]

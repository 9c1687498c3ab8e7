"""What a server and some of its tables are like, so far as the time of a patch depends on it.

Reading must cost production nothing: catalogs, and the sizes of the tables under ACCESS SHARE for as long as one file
is looked at. A table that is locked just now is left unread after LOCK_MILLISECONDS; nobody queues behind that wait
but who would have to wait for the same lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from downtime import errors, ledger
from downtime.node import Node, Row, connect
from downtime.target import Target

LOCK_MILLISECONDS = 100
STATEMENT_SECONDS = 5.0
ON_PRODUCTION = {"lock_timeout": f"{LOCK_MILLISECONDS}ms", "default_transaction_read_only": "on"}
MOST_TABLES = 100     # of one patch: each that is locked costs the wait above
LARGEST_TABLES = 2000  # where all are looked at: what is not among them is small

# The server's clock, its settings as they hold for the patching role, encoding and collation of the database. The
# columns of the collation's provider differ between versions. Takes ACCESS SHARE on catalogs.
SELECT_SETTINGS = """
SELECT pg_catalog.clock_timestamp() AS read_at, name, pg_catalog.current_setting(name) AS value,
       CASE WHEN vartype IN ('integer', 'real') THEN setting::double precision END AS amount
  FROM pg_catalog.pg_settings WHERE name = ANY (%(names)s)
UNION ALL
SELECT pg_catalog.clock_timestamp(), trait.name, trait.value, NULL
  FROM pg_catalog.pg_database d
  CROSS JOIN pg_catalog.to_jsonb(d) AS facts
  CROSS JOIN LATERAL (VALUES
      ('encoding', pg_catalog.pg_encoding_to_char(d.encoding)::text),
      ('collation', pg_catalog.concat_ws(
          ' ', CASE facts ->> 'datlocprovider' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END,
          coalesce(facts ->> 'datlocale', facts ->> 'daticulocale', d.datcollate)))) AS trait(name, value)
 WHERE d.datname = pg_catalog.current_database()
"""

SELECT_EXTENSIONS = "SELECT extname::text AS name, extversion AS version FROM pg_catalog.pg_extension ORDER BY extname"

# What catalogs say of the tables of these names, or where none are given of the largest ones. Takes ACCESS SHARE on
# catalogs, and no lock on the tables.
SELECT_TABLES = """
SELECT c.oid, named.relation, c.reltuples::bigint AS rows,
       (SELECT count(*) FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid) AS indexes
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  CROSS JOIN LATERAL (SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname)) AS
      named(relation)
 WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'
   AND CASE WHEN %(names)s::text[] IS NULL THEN n.nspname NOT IN ('pg_catalog', 'information_schema', 'fastdowntime')
            ELSE named.relation = ANY (%(names)s) END
 ORDER BY c.relpages DESC, c.oid LIMIT %(most)s
"""

# Takes ACCESS SHARE on each table and its indexes, and lets go of it at once. NULL for what was dropped meanwhile.
SELECT_SIZES = """
SELECT oid, pg_catalog.pg_table_size(oid) AS table_bytes, pg_catalog.pg_indexes_size(oid) AS index_bytes
  FROM pg_catalog.unnest(%s::oid[]) AS oid
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting of a server or a trait of its database, as SHOW has it; `amount` in the server's own unit."""

    value: str
    amount: float | None  # None: it is no number


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """How large one table is."""

    rows: int         # the planner's estimate; -1: never analysed
    table_bytes: int  # with TOAST, without indexes; 0 for a partitioned table: its partitions have the rows
    index_bytes: int
    indexes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """One look at one database."""

    read_at: datetime                   # by the server's clock
    server_version: int                 # as libpq gives it: 150020 is 15.20
    settings: Mapping[str, Setting]     # without those that the version does not have
    extensions: Mapping[str, str]       # version by name
    tables: Mapping[str, Table]         # by name as in a footprint; without those that are not there
    unread: tuple[str, ...]             # tables that are there, and locked too strongly to be looked at
    entries: tuple[ledger.Entry, ...]   # of its ledger, oldest first; empty where there is none


async def observe(target: Target, tables: Sequence[str] | None, settings: Sequence[str], *, reactor: Any = None
                  ) -> Traits:
    """Look at the first MOST_TABLES of these tables, named as footprints name them; None: at the largest ones of all.

    Raises NodeError.
    """
    names = None if tables is None else list(tables[:MOST_TABLES])
    node = await connect(target, application_name="fastdowntime likeness", settings=ON_PRODUCTION,
                         statement_timeout_seconds=STATEMENT_SECONDS, reactor=reactor)
    try:
        found = (await node.execute(SELECT_SETTINGS, {"names": list(settings)})).rows
        extensions = (await node.execute(SELECT_EXTENSIONS)).rows
        listed = (await node.execute(SELECT_TABLES, {"names": names, "most": LARGEST_TABLES})).rows
        sizes, locked = await _sizes(node, [row["oid"] for row in listed])
        return Traits(
            read_at=found[0]["read_at"], server_version=node.server_version,
            settings={row["name"]: Setting(value=row["value"], amount=row["amount"]) for row in found},
            extensions={row["name"]: row["version"] for row in extensions},
            tables={row["relation"]: _table(row, sizes[row["oid"]]) for row in listed if row["oid"] in sizes},
            unread=tuple(row["relation"] for row in listed if row["oid"] in locked),
            entries=await _entries(node))
    finally:
        node.close()


async def _sizes(node: Node, oids: Sequence[int]) -> tuple[dict[int, Row], set[int]]:
    """The sizes by oid, and which tables are locked; one by one only where one of them is."""
    try:
        return await _sizes_of(node, oids), set()
    except errors.LockNotAvailable:
        sizes: dict[int, Row] = {}
        locked: set[int] = set()
    for oid in oids:
        try:
            sizes |= await _sizes_of(node, [oid])
        except errors.LockNotAvailable:
            locked.add(oid)
    return sizes, locked


async def _sizes_of(node: Node, oids: Sequence[int]) -> dict[int, Row]:
    rows = (await node.execute(SELECT_SIZES, (list(oids),))).rows
    return {row["oid"]: row for row in rows if row["table_bytes"] is not None}


def _table(listed: Row, sizes: Row) -> Table:
    return Table(rows=listed["rows"], indexes=listed["indexes"], table_bytes=sizes["table_bytes"],
                 index_bytes=sizes["index_bytes"] or 0)


async def _entries(node: Node) -> tuple[ledger.Entry, ...]:
    try:
        return await ledger.read(node)
    except ledger.Outdated:
        raise
    except ledger.NotInstalled:
        return ()

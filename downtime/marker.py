"""The mark that gate "refuse" leaves on a database it closed, so that only what we closed is ever opened by us.

It is a setting of the patching role in that database (`ALTER ROLE … IN DATABASE … SET application_name`): it concerns
nobody else, every role can read it from any database of the cluster, it survives a crash, and it is written and
removed in the same transactions that close and open the database. A parameter name of our own would need a superuser
(PostgreSQL checks custom names in stored settings), a comment would overwrite the administrator's.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg2 import sql

from downtime import errors
from downtime.node import Node

PARAMETER = "application_name"
PREFIX = "fastdowntime closed "

# Databases that are closed or carry the mark. Readable by every role; takes ACCESS SHARE on two catalogs.
SELECT_CLOSED = """
SELECT d.datname AS database, d.datallowconn AS open, marks.role, marks.text
  FROM pg_catalog.pg_database d
  LEFT JOIN LATERAL (
       SELECT pg_catalog.pg_get_userbyid(s.setrole) AS role,
              substr(setting, length(%(parameter)s) + 2) AS text
         FROM pg_catalog.pg_db_role_setting s CROSS JOIN LATERAL unnest(s.setconfig) AS setting
        WHERE s.setdatabase = d.oid AND starts_with(setting, %(parameter)s || '=' || %(prefix)s)) AS marks ON true
 WHERE d.datname = %(database)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Whether a database accepts connections, and the mark on it, if any."""

    database: str
    open: bool
    role: str | None  # whose setting the mark is; None: there is no mark
    text: str | None

    @property
    def closed_by_us(self) -> bool:
        return self.text is not None


async def read(node: Node, database: str) -> Door:
    """Look from any database of the cluster."""
    return (await _read_all(node, database))[0]  # several roles' marks are taken away one after the other


async def stands(node: Node, database: str, *, by: str) -> bool:
    """Whether the mark of this very closing is there, perhaps beside others that dead runs have left."""
    return any(door.text == PREFIX + by for door in await _read_all(node, database))


async def _read_all(node: Node, database: str) -> list[Door]:
    found = await node.execute(SELECT_CLOSED, {"parameter": PARAMETER, "prefix": PREFIX, "database": database})
    if not found.rows:
        raise errors.CannotConnect(node=node.label, reason=f"there is no database {database!r}")
    return [Door(**row) for row in found.rows]


def closing(database: str, *, by: str) -> sql.Composed:
    """SQL that refuses new connections and says who did it; to be run in one transaction, from another database."""
    return sql.SQL("ALTER ROLE CURRENT_USER IN DATABASE {database} SET {parameter} TO {text};"
                   " ALTER DATABASE {database} ALLOW_CONNECTIONS false").format(
        database=sql.Identifier(database), parameter=sql.Identifier(PARAMETER), text=sql.Literal(PREFIX + by))


def opening(database: str, *, role: str | None = None) -> sql.Composed:
    """SQL that allows connections and takes the mark of `role` (default: the role that runs it) away."""
    return sql.SQL("ALTER DATABASE {database} ALLOW_CONNECTIONS true; ").format(
        database=sql.Identifier(database)) + removing(database, role=role)


def removing(database: str, *, role: str | None = None) -> sql.Composed:
    """SQL that takes the mark of `role` (default: the role that runs it) away and leaves the door as it is."""
    return sql.SQL("ALTER ROLE {role} IN DATABASE {database} RESET {parameter}").format(
        database=sql.Identifier(database), parameter=sql.Identifier(PARAMETER),
        role=sql.Identifier(role) if role is not None else sql.SQL("CURRENT_USER"))

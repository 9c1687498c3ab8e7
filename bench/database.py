"""The sample application's database on a server of its own: all that a deployment without a buildmaster needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg2
from psycopg2 import sql

from demo import application
from demo.installations import installations
from demo.servers import SUPERUSER, Server
from downtime import install
from downtime.target import Target

NAME = "app"
SPARED = frozenset({SUPERUSER})  # our own look-ups are nobody's clients

FILL_LEDGER = """
DELETE FROM fastdowntime.ledger;
INSERT INTO fastdowntime.ledger (id, sha256, lane, commit, started_at, seconds)
SELECT id, sha256, 'cold', repeat('c', 40), now(), 0.1 FROM unnest(%s::text[], %s::text[]) AS given(id, sha256)
"""


@dataclass(frozen=True, slots=True)
class Database:
    """An installed database that runs."""

    server: Server

    @property
    def target(self) -> Target:
        """Where the patching role connects."""
        return Target(dsn=self.server.dsn(user=application.PATCHER, database=NAME),
                      password=application.password_of(application.PATCHER))

    def dsn(self, user: str = application.APPLICATION) -> str:
        """A connection string with the password in it: for a child's environment, never for a command line."""
        return self.server.dsn(user=user, database=NAME, password=application.password_of(user))

    def connect(self, user: str = application.APPLICATION) -> Any:
        """A plain session in autocommit."""
        connection = psycopg2.connect(self.dsn(user))
        connection.autocommit = True
        return connection

    def admin_sql(self, statement: str | sql.Composable, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run SQL in it as superuser, committed at once, and return its rows."""
        return self.server.admin_sql(statement, parameters or None, database=NAME)


    def fill_ledger(self, sha256_of: Mapping[str, str], *, name: str = NAME) -> None:
        """The ledger of this database of the server has these patches, and no other."""
        self.server.admin_sql(FILL_LEDGER, (list(sha256_of), list(sha256_of.values())), database=name)


@contextmanager
def a_database(folder: Path, *, gate: Literal["hold", "refuse"] = "hold", settings: Mapping[str, str] | None = None
               ) -> Iterator[Database]:
    """Make it in a folder that must not exist yet; gone afterwards, whatever happens. Raises ServerError."""
    server = Server.create(folder, installations()[0], settings=settings)
    try:
        server.start()
        server.admin_sql(application.ROLES)
        server.admin_sql(sql.SQL("CREATE DATABASE {} OWNER {}").format(
            sql.Identifier(NAME), sql.Identifier(application.PATCHER)))
        database = Database(server)
        database.admin_sql(application.TABLES)
        database.admin_sql(install.script(NAME, application.PATCHER, gate))
        yield database
    finally:
        server.destroy()

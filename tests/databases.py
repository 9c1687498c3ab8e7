"""Fixtures of real servers: one per PostgreSQL at hand for the session, and a fresh database for each test.

| fixture         | gives                                                                                 |
|-----------------|---------------------------------------------------------------------------------------|
| `server`        | the oldest PostgreSQL at hand, shared by the session                                  |
| `each_server`   | the test runs once on every PostgreSQL at hand                                        |
| `database`      | a fresh, installed database on `server`                                               |
| `each_database` | the same on `each_server`                                                             |
| `make_database` | makes more of them: `make_database(server, gate="refuse")`, `gate=None`: not installed |
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import psycopg2
import psycopg2.extensions
import pytest
from psycopg2 import sql as composed

from demo import application
from demo.installations import Installation, ServerError, installations
from demo.servers import Server
from downtime import install
from downtime.target import Target

Gate = Literal["hold", "refuse"]
MakeDatabase = Callable[..., "Database"]

SETTINGS = {"max_prepared_transactions": "10", "max_wal_size": "128MB"}  # twelve servers at once, perhaps in memory

_numbers = itertools.count(1)


class Database:
    """One test's own database: tables `account` and `upload` of `patcher`, open to `app` and `process_upload`."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self._connections: list[psycopg2.extensions.connection] = []

    @property
    def target(self) -> Target:
        """Where the patching role connects."""
        return self.target_of(application.PATCHER)

    def target_of(self, user: str) -> Target:
        return Target(dsn=self.server.dsn(user=user, database=self.name), password=application.password_of(user))

    @property
    def superuser_dsn(self) -> str:
        return self.server.superuser_dsn(self.name)

    def dsn_of(self, user: str) -> str:
        """A complete DSN, password included."""
        return self.server.dsn(user=user, database=self.name, password=application.password_of(user))

    def connect(self, user: str = "app", **keywords: Any) -> psycopg2.extensions.connection:
        """A plain psycopg2 session (not in autocommit); closed when the test ends."""
        connection = psycopg2.connect(self.dsn_of(user), **keywords)
        self._connections.append(connection)
        return connection

    def admin_sql(self, statement: str | composed.Composable, parameters: tuple[Any, ...] | None = None
                  ) -> list[tuple[Any, ...]]:
        """Run SQL in this database as superuser, committed at once, and return its rows."""
        return self.server.admin_sql(statement, parameters, database=self.name)

    def install(self, gate: Gate) -> None:
        """What a DBA does once, with the SQL that `python -m downtime install` prints."""
        self.admin_sql(install.script(self.name, application.PATCHER, gate))

    def close_connections(self) -> None:
        for connection in self._connections:
            connection.close()


def create(server: Server, *, gate: Gate | None = "hold") -> Database:
    """A new database on a running server; `gate=None` leaves it without the installation."""
    database = Database(server, f"app_{next(_numbers)}")
    # copied as files: half the processor of WAL, for a thousand databases
    server.admin_sql(composed.SQL("CREATE DATABASE {} OWNER patcher TEMPLATE {} STRATEGY file_copy").format(
        composed.Identifier(database.name), composed.Identifier(_template(server).name)))
    if gate is not None:
        database.install(gate)
    return database


def _template(server: Server) -> Database:
    """A database with the tables, made when the first one of a server is."""
    template = Database(server, "tables")
    if not server.admin_sql("SELECT 1 FROM pg_database WHERE datname = %s", (template.name,)):
        server.admin_sql(composed.SQL("CREATE DATABASE {} OWNER patcher").format(composed.Identifier(template.name)))
        template.admin_sql(application.TABLES)
    return template


def drop(database: Database) -> None:
    """Remove a database whatever the test did to its server; fails the test if it left the door shut."""
    database.close_connections()
    server = database.server
    if not server.running:
        server.start()
    try:
        _drop_all(database)
    except psycopg2.OperationalError as error:
        server.restart("immediate")
        _drop_all(database)
        pytest.fail(f"the test left a session that keeps others out of {database.name}: {error}", pytrace=False)


def _drop_all(database: Database) -> None:
    server = database.server
    server.admin_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                     " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'")
    for (name,) in server.admin_sql("SELECT gid FROM pg_prepared_xacts WHERE database = %s", (database.name,)):
        database.admin_sql("ROLLBACK PREPARED %s", (name,))
    server.admin_sql(composed.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(
        composed.Identifier(database.name)))


@pytest.fixture(scope="session")
def server_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Installation], Server]]:
    """Starts one server per installation when first asked for it."""
    running: dict[int, Server] = {}

    def start(installation: Installation) -> Server:
        if installation.version not in running:
            folder: Path = tmp_path_factory.mktemp("servers") / str(installation.version)
            server = Server.create(folder, installation, settings=SETTINGS)
            server.start()
            server.admin_sql(application.ROLES)
            running[installation.version] = server
        return running[installation.version]

    yield start
    for server in running.values():
        server.destroy()


@pytest.fixture(scope="session")
def server(server_of: Callable[[Installation], Server]) -> Server:
    return server_of(_installations_or_skip()[0])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "each_server" in metafunc.fixturenames:
        metafunc.parametrize("each_server", _known_installations(), ids=lambda each: f"postgresql-{each.version}",
                             indirect=True, scope="session")


@pytest.fixture(scope="session")
def each_server(request: pytest.FixtureRequest, server_of: Callable[[Installation], Server]) -> Server:
    return server_of(request.param)


@pytest.fixture
def make_database() -> Iterator[MakeDatabase]:
    made: list[Database] = []

    def make(on: Server, *, gate: Gate | None = "hold") -> Database:
        made.append(create(on, gate=gate))
        return made[-1]

    yield make
    for database in made:
        drop(database)


@pytest.fixture
def database(server: Server, make_database: MakeDatabase) -> Database:
    return make_database(server)


@pytest.fixture
def each_database(each_server: Server, make_database: MakeDatabase) -> Database:
    return make_database(each_server)


def _known_installations() -> list[Installation]:
    try:
        return installations()
    except ServerError:
        return []  # pytest skips a test that has no parameters, and the header says why


def _installations_or_skip() -> list[Installation]:
    try:
        return installations()
    except ServerError as error:
        pytest.skip(str(error))

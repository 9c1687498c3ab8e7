"""Fixtures of real PgBouncers, and clients behind them.

| fixture       | gives                                                                                          |
|---------------|------------------------------------------------------------------------------------------------|
| `make_pooler` | `make_pooler(names={"app": database}, more={"*": "host=…"}, pool_mode="session")`: running      |
| `pooler`      | one in transaction mode before `database`, under the database's own name                       |
| `callers`     | `callers(dsn, 50)`: so many clients that call again and again in a thread, until the test ends |
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from time import monotonic
from typing import Any

import psycopg2
import psycopg2.extensions
import pytest

from demo import application
from demo.clients import Loop, Steps, answered, execute
from demo.installations import ServerError
from demo.pgbouncer import PgBouncer, program
from downtime.settings.cluster import Pooler
from downtime.target import Target
from tests.databases import Database

QUICK_LOGINS = {"auth_type": "plain"}  # scram costs 5 ms a login on both sides, which is much for hundreds
MakePooler = Callable[..., PgBouncer]


def leads_to(database: Database, **more: str) -> str:
    """What pgbouncer.ini says of a name."""
    words = {"host": "127.0.0.1", "port": str(database.server.port), "dbname": database.name, **more}
    return " ".join(f"{key}={value}" for key, value in words.items())


def console_of(pooler: PgBouncer, user: str | None = None) -> Target:
    users = () if user is None else (user,)
    return Target(dsn=pooler.console_dsn(*users), password=pooler.password_of(*users))


def settings_of(pooler: PgBouncer, **more: Any) -> Pooler:
    """As the settings file would have it; the password beside it."""
    console = Target(dsn=pooler.console_dsn(), password=pooler.password_of())
    return Pooler.model_construct(**{**Pooler(console=pooler.console_dsn()).__dict__, **more, "console": console})


def paused(pooler: PgBouncer) -> set[str]:
    return {row["name"] for row in pooler.admin("SHOW DATABASES") if row["paused"]}


def setting(pooler: PgBouncer, name: str) -> str:
    (value,) = [row["value"] for row in pooler.admin("SHOW CONFIG") if row["key"] == name]
    return str(value)


def login_retry(pooler: PgBouncer) -> str:
    return setting(pooler, "server_login_retry")


def waiting(pooler: PgBouncer) -> int:
    """Clients that wait for a server connection."""
    return sum(row["cl_waiting"] for row in pooler.admin("SHOW POOLS"))


class Callers:
    """Clients that call a statement again and again; what they saw."""

    def __init__(self, dsn: str, number: int, statement: str, rest_seconds: float) -> None:
        self.calls = 0
        self.connected = 0
        self.errors: list[str] = []
        self.longest_seconds = 0.0
        self._dsn, self._statement, self._rest_seconds = dsn, statement, rest_seconds
        self._loop = Loop()
        for index in range(number):
            self._loop.add(self._steps(), after_seconds=rest_seconds * index / number)
        self._loop.add(self._tick())
        self._thread = threading.Thread(target=self._loop.run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._loop.ended = True
        self._thread.join()

    def _tick(self) -> Steps:
        """The loop looks whether it is to end only when something happens."""
        while True:
            yield 0.02

    def _steps(self) -> Steps:
        while True:
            try:
                yield from self._session()
            except psycopg2.Error as error:
                self.errors.append(" ".join(str(error).split()))
                yield self._rest_seconds

    def _session(self) -> Steps:
        connection = psycopg2.connect(self._dsn, async_=1)
        try:
            yield from answered(connection)
            self.connected += 1
            while True:
                began = monotonic()
                yield from execute(connection, self._statement)
                self.calls += 1
                self.longest_seconds = max(self.longest_seconds, monotonic() - began)
                yield self._rest_seconds
        finally:
            connection.close()


@pytest.fixture(scope="session")
def _program() -> None:
    try:
        program()
    except ServerError as error:
        pytest.skip(str(error))


@pytest.fixture
def make_pooler(_program: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakePooler]:
    made: list[PgBouncer] = []

    def make(names: Mapping[str, Database], *, more: Mapping[str, str] | None = None, **settings: str) -> PgBouncer:
        databases = {**{name: leads_to(database) for name, database in names.items()}, **(more or {})}
        roles = (application.APPLICATION, application.FRAGILE, application.PATCHER)
        made.append(PgBouncer.create(
            tmp_path_factory.mktemp("poolers") / "pooler", databases, settings={**QUICK_LOGINS, **settings},
            passwords={role: application.password_of(role) for role in roles}))
        made[-1].start()
        return made[-1]

    yield make
    for pooler in made:
        pooler.destroy()


@pytest.fixture
def pooler(make_pooler: MakePooler, database: Database) -> PgBouncer:
    return make_pooler({database.name: database})


@pytest.fixture
def callers(make_pooler: MakePooler) -> Iterator[Callable[..., Callers]]:
    """They end before their pooler does."""
    made: list[Callers] = []

    def make(dsn: str, number: int, *, statement: str = "SELECT count(*) FROM account", rest_seconds: float = 0.02
             ) -> Callers:
        made.append(Callers(dsn, number, statement, rest_seconds))
        return made[-1]

    yield make
    for each in made:
        each.end()

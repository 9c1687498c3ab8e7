"""Fixtures of hot standbys: a primary with two of them for the session, and a fresh database that all three have.

| fixture           | gives                                                                                    |
|-------------------|------------------------------------------------------------------------------------------|
| `replicated`      | a database on a primary of the oldest PostgreSQL at hand, with two standbys              |
| `each_replicated` | the same on every PostgreSQL at hand                                                     |
| `make_standby`    | makes more standbys, to be promoted, killed or delayed: `make_standby(primary, **settings)` |
| `make_primary`    | makes primaries that may be killed, with the roles of the sample application             |
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg2
import psycopg2.extensions
import pytest

from demo import application
from demo.installations import Installation
from demo.servers import SUPERUSER, Server
from demo.standby import Standby
from downtime.settings.cluster import Replicas as Settings
from downtime.target import Target
from tests.databases import Database, create, drop

STANDBYS = 2
SHORT_WAL = {"max_wal_size": "96MB"}  # a standby that restarts replays all since the last checkpoint
MakeStandby = Callable[..., Standby]
MakePrimary = Callable[..., Server]

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicated:
    """One test's database on its primary, and the standbys that have it too."""

    database: Database
    standbys: Sequence[Standby]
    _watches: dict[int, psycopg2.extensions.connection] = field(default_factory=dict)

    @property
    def primary(self) -> Server:
        return self.database.server

    def on(self, standby: Server) -> Database:
        """The same database, as seen on a standby."""
        return Database(standby, self.database.name)

    @property
    def targets(self) -> tuple[Target, ...]:
        """Where the patching role connects on the standbys."""
        return tuple(self.on(standby).target for standby in self.standbys)

    def settings(self, **given: object) -> Settings:
        """As an environment gives them, the password taken from it."""
        settings = Settings.model_validate({"servers": [target.dsn for target in self.targets], **given})
        settings.take_password(application.password_of(application.PATCHER))
        return settings

    def ask(self, server: Server, statement: str) -> list[tuple[Any, ...]]:
        """Run SQL as superuser over a session that was there before a gate closed, and return its rows."""
        watch = self._watches.get(server.port)
        if watch is None or watch.closed:
            watch = self._watches[server.port] = psycopg2.connect(self.on(server).superuser_dsn, connect_timeout=3)
            watch.autocommit = True
        try:
            with watch.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall())
        except psycopg2.OperationalError:
            if not watch.closed:
                raise
            return self.ask(server, statement)  # the test has restarted the server

    def close(self) -> None:
        """End the sessions that `ask` has opened."""
        for watch in self._watches.values():
            watch.close()

    def reader(self, standby: Server, user: str = "app") -> psycopg2.extensions.connection:
        """A plain session on a standby (not in autocommit); whoever asks closes it."""
        at = self.on(standby)
        return psycopg2.connect(at.superuser_dsn if user == SUPERUSER else at.dsn_of(user), connect_timeout=3)

    def await_replay(self) -> None:
        """All that the primary has written is on the standbys."""
        for standby in self.standbys:
            standby.await_replay_of(self.primary)


@pytest.fixture(scope="session")
def standbys_of(tmp_path_factory: pytest.TempPathFactory
                ) -> Iterator[Callable[[Installation], tuple[Server, Sequence[Standby]]]]:
    """Starts one primary with its standbys per installation when first asked for it."""
    running: dict[int, tuple[Server, Sequence[Standby]]] = {}

    def start(installation: Installation) -> tuple[Server, Sequence[Standby]]:
        if installation.version not in running:
            folder = tmp_path_factory.mktemp(f"replicated{installation.version}")
            primary = Server.create(folder / "primary", installation, settings=SHORT_WAL)
            primary.start()
            primary.admin_sql(application.ROLES)
            standbys = [Standby.create_of(primary, folder / f"standby{number}") for number in range(STANDBYS)]
            for standby in standbys:
                standby.start()
            running[installation.version] = primary, standbys
        return running[installation.version]

    yield start
    for primary, standbys in running.values():
        for server in (*standbys, primary):
            server.destroy()


@pytest.fixture
def replicated(server: Server, standbys_of: Callable[[Installation], tuple[Server, Sequence[Standby]]]
               ) -> Iterator[Replicated]:
    yield from _database_on(*standbys_of(server.installation))


@pytest.fixture
def each_replicated(each_server: Server, standbys_of: Callable[[Installation], tuple[Server, Sequence[Standby]]]
                    ) -> Iterator[Replicated]:
    yield from _database_on(*standbys_of(each_server.installation))


@pytest.fixture
def make_standby(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeStandby]:
    made: list[Standby] = []

    def make(primary: Server, **settings: str) -> Standby:
        folder = tmp_path_factory.mktemp("standby") / f"made{next(_numbers)}"
        made.append(standby := Standby.create_of(primary, folder, settings=settings))
        standby.start()
        return standby

    yield make
    for standby in made:
        standby.destroy()


@pytest.fixture
def make_primary(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakePrimary]:
    made: list[Server] = []

    def make(**settings: str) -> Server:
        primary = Server.create(tmp_path_factory.mktemp("primary") / "primary", server.installation, settings=settings)
        made.append(primary)
        primary.start()
        primary.admin_sql(application.ROLES)
        return primary

    yield make
    for primary in made:
        primary.destroy()


def replicate(primary: Server, *standbys: Standby) -> Replicated:
    """A new database on servers of the test's own, who end with it."""
    replicated = Replicated(database=create(primary), standbys=standbys)
    replicated.await_replay()
    for server in (primary, *standbys):
        replicated.ask(server, "SELECT 1")
    return replicated


def _database_on(primary: Server, standbys: Sequence[Standby]) -> Iterator[Replicated]:
    replicated = replicate(primary, *standbys)
    yield replicated
    replicated.close()
    for standby in standbys:
        if not standby.running:
            standby.start()
        if standby.admin_sql("SELECT pg_is_wal_replay_paused()") == [(True,)]:
            standby.admin_sql("SELECT pg_wal_replay_resume()")
            pytest.fail(f"the test left replay paused on {standby.folder.name}", pytrace=False)
    drop(replicated.database)

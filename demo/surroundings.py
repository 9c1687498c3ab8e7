"""What stands around the demo's production: a PgBouncer before it and a hot standby beside it.

    pooler/    PgBouncer, in transaction mode, under the database's own name; where there is none on the machine, none
    standby/   a hot standby, which serves reads through an outage

Some of the application's clients go through the one, some read from the other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from demo import application
from demo.installations import ServerError
from demo.pgbouncer import PgBouncer, program
from demo.servers import LOOPBACK, Server
from demo.standby import Standby

POOLER, STANDBY = "pooler", "standby"
ROLES = (application.PATCHER, application.APPLICATION, application.FRAGILE, application.SPARED)
QUICK_LOGINS = {"auth_type": "plain"}  # scram would cost 5 ms a login on both sides


class Surroundings:
    """Make them with `create`, find them again with `open`. Blocking."""

    def __init__(self, folder: Path, *, database: str, pooler: PgBouncer | None, standby: Standby | None) -> None:
        self.pooler = pooler
        self.standby = standby
        self._folder = folder
        self._database = database

    @classmethod
    def create(cls, folder: Path, production: Server, *, database: str, outlives_us: bool = False) -> Self:
        """Copy production, which runs, and start both. Raises ServerError."""
        pooler = None
        with contextlib.suppress(ServerError):  # a machine without PgBouncer shows everything else
            program()
            leads_to = f"host={LOOPBACK} port={production.port} dbname={database}"
            pooler = PgBouncer.create(folder / POOLER, {database: leads_to}, settings=QUICK_LOGINS,
                                      passwords={role: application.password_of(role) for role in ROLES})
        standby = Standby.create_of(production, folder / STANDBY)
        made = cls(folder, database=database, pooler=pooler, standby=standby)
        for each in made.named.values():
            each.start(outlives_us=outlives_us)
        return made

    @classmethod
    def open(cls, folder: Path, *, database: str) -> Self:
        """What is there, perhaps nothing; running or not."""
        pooler = standby = None
        with contextlib.suppress(ServerError):
            pooler = PgBouncer.open(folder / POOLER)
        with contextlib.suppress(ServerError):
            standby = Standby.open(folder / STANDBY)
        return cls(folder, database=database, pooler=pooler, standby=standby)

    @property
    def named(self) -> dict[str, PgBouncer | Standby]:
        """Those that there are, by what they are."""
        here = {"production's pooler: PgBouncer": self.pooler, "production's hot standby: PostgreSQL": self.standby}
        return {name: each for name, each in here.items() if each is not None}

    @property
    def passwords(self) -> list[str]:
        """Those of its own."""
        return [self.pooler.password_of()] if self.pooler is not None else []

    @property
    def settings(self) -> dict[str, Any]:
        """The keys of production in the settings file; passwords are in `secrets`."""
        keys: dict[str, Any] = {}
        if self.pooler is not None:
            # named, because production may be reached by another way than the pooler's
            keys["poolers"] = [{"console": self.pooler.console_dsn(), "password_file": f"secrets/{POOLER}",
                                "databases": [self._database]}]
        if self.standby is not None:
            keys["replicas"] = {"servers": [self.standby.dsn(user=application.PATCHER, database=self._database)],
                                "serve_reads": True}
        return keys

    def write_secrets(self, folder: Path) -> None:
        """The console's password, where `settings` says."""
        if self.pooler is not None:
            (folder / POOLER).touch(mode=0o600)
            (folder / POOLER).write_text(self.pooler.password_of() + "\n")

    def pooled_dsn(self, user: str) -> str | None:
        """A connection string through the pooler, password included; None where there is none."""
        return self.pooler.dsn(user=user, database=self._database) if self.pooler is not None else None

    def standby_dsn(self, user: str) -> str | None:
        """The same for reading from the standby."""
        if self.standby is None:
            return None
        return self.standby.dsn(user=user, database=self._database, password=application.password_of(user))

    def renew_standby(self, production: Server) -> None:
        """Another copy of production in the place of the standby. Raises ServerError."""
        if self.standby is not None:
            port = self.standby.port
            self.standby.destroy()
            self.standby = Standby.create_of(production, self._folder / STANDBY, port=port)
            self.standby.start()

    def destroy(self) -> Iterator[str]:
        """End them and remove their files; says what was ended."""
        for name, each in self.named.items():
            if each.running:
                yield f"{name} (port {each.port})"
            each.destroy()

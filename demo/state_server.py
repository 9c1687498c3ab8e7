"""Buildbot's state on a PostgreSQL server of its own, as a site has it that has outgrown a file."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import yaml
from psycopg2 import sql as composed

from demo import application
from demo.sandbox import Sandbox, chosen_installation
from demo.servers import Server
from downtime.settings.buildmaster import POSTGRESQL

ROLE = DATABASE = "buildbot"


class StateServer:
    """One more server in the folder of a sandbox. Keep it as long as it should live; `destroy` before the sandbox."""

    def __init__(self, server: Server, passwords: Path) -> None:
        self.server = server
        self._passwords = passwords

    @classmethod
    def create(cls, sandbox: Sandbox) -> Self:
        """Make and start it, with an empty database. Raises ServerError."""
        server = Server.create(sandbox.folder / "state", chosen_installation())
        server.start()
        server.admin_sql(composed.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
            composed.Identifier(ROLE), composed.Literal(application.password_of(ROLE))))
        server.admin_sql(composed.SQL("CREATE DATABASE {} OWNER {}").format(
            composed.Identifier(DATABASE), composed.Identifier(ROLE)))
        passwords = sandbox.folder / "secrets" / "pgpass"
        passwords.touch(mode=0o600)
        passwords.write_text(f"*:{server.port}:{DATABASE}:{ROLE}:{application.password_of(ROLE)}\n")
        return cls(server, passwords)

    @property
    def url(self) -> str:
        """As SQLAlchemy reads it. The password stays out of it: libpq has it from a file."""
        address = self.server.dsn(user=ROLE, database=DATABASE).replace("postgresql://", POSTGRESQL)
        return f"{address}?passfile={self._passwords}"

    def use(self, sandbox: Sandbox) -> None:
        """Let the settings of a sandbox name it; its buildmaster reads them when it is made or started."""
        settings = yaml.safe_load(sandbox.settings.read_text())
        settings["buildmaster"]["state"] = self.url
        sandbox.settings.write_text(yaml.safe_dump(settings))

    def destroy(self) -> None:
        self.server.destroy()

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        """What the state database answers, as superuser."""
        return self.server.admin_sql(statement, database=DATABASE)

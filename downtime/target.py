"""Where a PostgreSQL server is, and whether the way to it leaves this machine.

Pure: `parse_dsn` and `make_dsn` are libpq's own readers of connection strings and open no connection.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

import psycopg2.extensions


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to connect: a libpq URI or DSN without its password, and the password (never shown)."""

    dsn: str
    password: str | None = field(default=None, repr=False)

    @property
    def parameters(self) -> dict[str, str]:
        """The DSN's parts under libpq's keywords (`host`, `port`, `dbname`, `user`, …)."""
        return dict(psycopg2.extensions.parse_dsn(self.dsn))

    @property
    def database(self) -> str:
        return self.parameters.get("dbname", "postgres")

    @property
    def server(self) -> str:
        """`host:port` for comparing: all spellings of loopback are one server. Aliases in DNS are not seen through."""
        parts = self.parameters
        host = (parts.get("hostaddr") or parts.get("host", "local socket")).lower()
        return f"{'localhost' if is_loopback(host) else host}:{parts.get('port', '5432')}"

    @property
    def label(self) -> str:
        """What messages call it: `host:port/database`."""
        parts = self.parameters
        return f"{parts.get('host', 'local socket')}:{parts.get('port', '5432')}/{self.database}"

    @property
    def stays_on_this_machine(self) -> bool:
        """Whether every host of the DSN is a Unix socket or a loopback address."""
        parts = self.parameters
        hosts = parts.get("hostaddr") or parts.get("host", "")
        return all(host.startswith(("/", "@")) or not host or is_loopback(host) for host in hosts.split(","))

    @property
    def proves_its_server(self) -> bool:
        """Whether libpq refuses a server that cannot show a certificate for the host's name."""
        return self.parameters.get("sslmode") == "verify-full"

    def with_database(self, name: str) -> Target:
        """The same server and user, another database of the cluster."""
        return Target(dsn=psycopg2.extensions.make_dsn(self.dsn, dbname=name), password=self.password)


def is_loopback(host: str) -> bool:
    """Whether a host name or address never leaves this machine. A name other than `localhost` is taken to leave it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

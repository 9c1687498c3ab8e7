"""What libpq is given to open a session of ours: addresses, keepalives, and the settings a session begins with.

They are start-up options: those win over defaults of the role and the database, and a patch's `RESET ALL` returns to
them. PostgreSQL 14 knows them all; a server refuses a session that names one it does not know.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from twisted.internet import defer
from twisted.internet.threads import deferToThread

from downtime import errors
from downtime.target import Target

# With these the server finds a vanished deployer within about 3 s (measured: 2.9 s); the kernel's defaults take
# hours. The check interval lets a busy backend notice that its client is gone (14+): 53 ms at 50 ms, measured.
SERVER_SETTINGS = {
    "tcp_keepalives_idle": "1", "tcp_keepalives_interval": "1", "tcp_keepalives_count": "2",
    "tcp_user_timeout": "3s",  # Linux sends no keepalives while something it has sent waits to be acknowledged
    "client_connection_check_interval": "50ms",
    "idle_session_timeout": "0",          # control has nothing to say while the patch is applied
    "standard_conforming_strings": "on",  # patches and what psycopg2 quotes are read so
    "client_min_messages": "notice",      # lower: a debugging role floods us; higher: a patch's NOTICEs are lost
}
# For sessions that close and open a database: a synchronous standby that is away must not keep it shut.
NO_STANDBY = {"synchronous_commit": "local"}
KEEPALIVES = {"keepalives": 1, "keepalives_idle": 5, "keepalives_interval": 1, "keepalives_count": 3}


async def of_session(target: Target, *, application_name: str, statement_timeout_seconds: float | None,
                     settings: Mapping[str, str], resolve_seconds: float, reactor: Any) -> dict[str, Any]:
    """Keyword arguments for psycopg2's `connect`. Raises CannotConnect or DeadlineExceeded: names are resolved here."""
    parameters = await _with_addresses(target, reactor, resolve_seconds)
    timeout = "0" if statement_timeout_seconds is None else milliseconds(statement_timeout_seconds)
    options = {**SERVER_SETTINGS, "statement_timeout": timeout, **settings}
    given = [parameters["options"]] if "options" in parameters else []
    keywords: dict[str, Any] = {
        **parameters, **KEEPALIVES, "application_name": application_name, "client_encoding": "UTF8",
        "options": " ".join([*given, *(f"-c {name}={value}" for name, value in options.items())])}
    return keywords if target.password is None else {**keywords, "password": target.password}


async def of_console(target: Target, *, application_name: str, resolve_seconds: float, reactor: Any) -> dict[str, Any]:
    """The same for the console of a PgBouncer, which takes no start-up options. Raises as `of_session` does."""
    parameters = await _with_addresses(target, reactor, resolve_seconds)
    keywords: dict[str, Any] = {**parameters, **KEEPALIVES, "application_name": application_name,
                                "client_encoding": "UTF8"}
    keywords.pop("options", None)
    return keywords if target.password is None else {**keywords, "password": target.password}


def milliseconds(seconds: float) -> str:
    """A duration as PostgreSQL's timeouts want it; at least 1, because 0 means "never"."""
    return f"{max(1, round(seconds * 1000))}ms"


async def _with_addresses(target: Target, reactor: Any, seconds: float) -> dict[str, str]:
    """The DSN's parameters with the host's addresses beside its name, resolved outside the reactor's thread."""
    parameters = target.parameters
    host, port = parameters.get("host", ""), parameters.get("port", "5432")
    if not host or host.startswith("/") or "," in host or "hostaddr" in parameters:
        return parameters
    answer = deferToThread(socket.getaddrinfo, host, int(port), type=socket.SOCK_STREAM)
    answer.addTimeout(seconds, reactor)  # the thread stays until the resolver gives up
    try:
        found = await answer
    except defer.TimeoutError as error:
        raise errors.DeadlineExceeded(node=target.label, what=f"resolve {host!r}", seconds=seconds) from error
    except (OSError, UnicodeError) as error:
        raise errors.CannotConnect(node=target.label, reason=f"host name {host!r} is not known: {error}") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    return {**parameters, "host": ",".join([host] * len(addresses)), "hostaddr": ",".join(addresses),
            "port": ",".join([port] * len(addresses))}

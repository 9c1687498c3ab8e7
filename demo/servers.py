"""Throw-away PostgreSQL servers for the demo, the benchmarks and the tests. Blocking; knows nothing of Twisted.

How a server lives and ends:

* It listens on 127.0.0.1 only, on a port that no outgoing connection can be given, and every role needs a
  password: other people on the machine are kept out.
* When we are root its processes run as another user, and its folder may be a link: see `demo.installations`.
* It ends with the process that started it, however that dies: a small guard process reads a pipe that only we hold
  open, and stops the server when the pipe closes. `outlives_us=True` starts it without a guard, for
  `make up`; `Server.open` finds it again.

Durability is off (`fsync`): a server may be killed as often as you like, the machine may not.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TextIO
from urllib.parse import quote

import psycopg2
from psycopg2 import sql as composed

from demo.installations import (
    Installation,
    ServerError,
    give_away,
    reachable_folder,
    reachable_installation,
    unprivileged,
)
from demo.processes import without_postgres_variables

SUPERUSER = "postgres"
LOOPBACK = "127.0.0.1"
START_SECONDS = 30         # a start takes 0.1 s; recovery after a kill on a busy machine takes longest
STOP_SECONDS = 30
ADMIN_CONNECT_SECONDS = 3  # longer: a test that left the door shut hangs; shorter: a busy machine fails it
LOG_TAIL_LINES = 15

SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",   # a socket's path may not exceed 107 bytes; temporary folders do
    "max_connections": "300",
    "shared_buffers": "32MB",
    "fsync": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d %a ",
}


class Server:
    """One cluster in one folder. Make it with `Server.create`, or find it again with `Server.open`."""

    def __init__(self, folder: Path, *, installation: Installation, port: int, superuser_password: str) -> None:
        self.folder = folder.resolve()   # data, log and server.json
        self._asked_for = folder         # a link to it where the server's user could not reach that
        self.installation = installation
        self.port = port
        self.superuser_password = superuser_password
        self._guard: subprocess.Popen[bytes] | None = None

    @classmethod
    def create(cls, folder: Path, installation: Installation, *, port: int | None = None,
               settings: Mapping[str, str] | None = None) -> Self:
        """Initialise a cluster in a folder that must not exist yet. It is not started. Raises ServerError."""
        place = reachable_folder(folder)
        server = cls(folder, installation=reachable_installation(installation, place), port=port or free_port(),
                     superuser_password=secrets.token_hex(16))
        server._initialise({**SETTINGS, **(settings or {})})
        return server

    @classmethod
    def open(cls, folder: Path) -> Self:
        """A server made earlier, perhaps by another process; running or not. Raises ServerError."""
        try:
            record = json.loads((folder / "server.json").read_text())
        except OSError as error:
            raise ServerError(f"{folder} holds no server: {error.strerror}") from error
        installation = Installation(version=record["version"], release=record["release"], bin=Path(record["bin"]))
        return cls(folder, installation=installation, port=record["port"],
                   superuser_password=record["superuser_password"])

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def pid(self) -> int | None:
        """The postmaster's process id; None where none runs."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None
        return pid if _alive(pid) else None

    @property
    def running(self) -> bool:
        return self.pid is not None

    def start(self, *, outlives_us: bool = False) -> None:
        """Start and return when it accepts connections. Raises ServerError with the end of its log."""
        if not outlives_us:
            self._stand_guard()
        self._run("pg_ctl", "start", "-D", self.data, "-l", self.log, "-w", "-t", START_SECONDS, "-s")

    def stop(self, mode: str = "fast") -> None:
        """Stop (`smart`, `fast` or `immediate`) and return when it is gone; nothing happens if it is not running."""
        if self.running:
            self._run("pg_ctl", "stop", "-D", self.data, "-m", mode, "-w", "-t", STOP_SECONDS, "-s")
        self._dismiss_guard()

    def restart(self, mode: str = "fast") -> None:
        guarded = self._guard is not None
        self.stop(mode)
        self.start(outlives_us=not guarded)

    def kill(self) -> None:
        """SIGKILL for every process of the server, as a power cut would; returns when all are gone."""
        postmaster = self.pid
        if postmaster is None:
            return  # already gone
        _halt(postmaster)  # or it might fork one more while we look
        doomed = [postmaster, *_children(postmaster)]
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _await_end(doomed)
        # where nobody reaps the postmaster (a container without an init) its pid looks taken to the next start
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def destroy(self) -> None:
        """Stop at once and remove all files."""
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._asked_for.is_symlink():
            self._asked_for.unlink()

    def dsn(self, *, user: str, database: str, password: str | None = None) -> str:
        """A libpq URI; without the password where that travels by another way."""
        secret = f":{quote(password, safe='')}" if password is not None else ""
        return f"postgresql://{quote(user, safe='')}{secret}@{LOOPBACK}:{self.port}/{quote(database, safe='')}"

    def superuser_dsn(self, database: str = "postgres") -> str:
        return self.dsn(user=SUPERUSER, database=database, password=self.superuser_password)

    def admin_sql(self, statement: str | composed.Composable, parameters: Sequence[Any] | None = None, *,
                  database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run SQL as superuser, committed at once, and return its rows (of the last statement, if several)."""
        connection = psycopg2.connect(self.superuser_dsn(database), connect_timeout=ADMIN_CONNECT_SECONDS,
                                      application_name="admin")
        with contextlib.closing(connection):
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                return list(cursor.fetchall()) if cursor.description else []

    def _initialise(self, settings: Mapping[str, str]) -> None:
        secret = self.folder / "superuser-password"
        with _private_file(secret) as file:
            file.write(self.superuser_password)
        give_away(secret)
        self._run("initdb", "-D", self.data, "-U", SUPERUSER, "--pwfile", secret, "--auth=scram-sha-256",
                  "--encoding=UTF8", "--no-locale", "--no-sync")
        secret.unlink()
        lines = [f"{name} = '{value}'\n" for name, value in {**settings, "port": str(self.port)}.items()]
        with (self.data / "postgresql.conf").open("a") as configuration:
            configuration.writelines(lines)
        self._remember()

    def _remember(self) -> None:
        """For `open`."""
        with _private_file(self.folder / "server.json") as file:
            json.dump({"version": self.installation.version, "release": self.installation.release,
                       "bin": str(self.installation.bin), "port": self.port,
                       "superuser_password": self.superuser_password}, file)

    def _run(self, program: str, *arguments: object, **environment: str) -> None:
        done = subprocess.run([self.installation.bin / program, *map(str, arguments)], **self._as_server(**environment),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
        if done.returncode != 0:
            raise ServerError(f"{program} of {self.installation} failed on {self.data}:\n"
                              f"{done.stdout}{self._log_tail()}")

    def _as_server(self, **environment: str) -> dict[str, Any]:
        """How our children run: unprivileged, in their own folder, blind to our PG* variables."""
        return {**unprivileged(), "cwd": self.folder, "env": without_postgres_variables(**environment)}

    def _log_tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def _stand_guard(self) -> None:
        if self._guard is not None:
            return  # it reads the server's pid when it acts, so it serves across restarts
        script = 'read -r _; exec "$0" stop -D "$1" -m immediate -s'
        self._guard = subprocess.Popen(
            ["sh", "-c", script, self.installation.bin / "pg_ctl", self.data],
            **self._as_server(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True)  # an interrupt at the terminal must not take the guard first
        atexit.register(self._relieve_guard)

    def _relieve_guard(self) -> None:
        """At our orderly end: let the guard stop the server, and wait for it so that nothing is left behind."""
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.communicate(timeout=STOP_SECONDS)

    def _dismiss_guard(self) -> None:
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.kill()
            guard.communicate()
            atexit.unregister(self._relieve_guard)


def free_port() -> int:
    """A free TCP port below the range that outgoing connections are given theirs from.

    A port of that range could be taken while a server restarts; worse, a client that retries at once can be given
    the very port it calls and then talks to itself for ever.
    """
    for _ in range(100):
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, port))
            return port
    raise ServerError("no free TCP port between 20000 and 32000 on 127.0.0.1")


def _private_file(path: Path) -> TextIO:
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w")


def _alive(pid: int) -> bool:
    status = _status(pid)
    return status is not None and status[0] != "Z"  # a zombie only waits to be reaped


def _children(parent: int) -> list[int]:
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if (status := _status(pid)) and status[1] == parent]


def _status(pid: int) -> tuple[str, int] | None:
    """State letter and parent of a process, from Linux's /proc; None where there is no such process."""
    try:
        # the name in parentheses may hold anything, so count from its end
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return None
    return state, int(parent)


def _halt(pid: int) -> None:
    """Stop a process from running; returns when it does no more, at the latest when it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    while (status := _status(pid)) is not None and status[0] not in "TZ":
        time.sleep(0.001)


def _await_end(pids: Sequence[int]) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while alive := [pid for pid in pids if _alive(pid)]:
        if time.monotonic() > deadline:
            raise ServerError(f"processes {alive} are still there {STOP_SECONDS} s after SIGKILL")
        time.sleep(0.005)

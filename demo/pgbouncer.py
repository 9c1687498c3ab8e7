"""A throw-away PgBouncer for the demo, the benchmarks and the tests. Blocking; knows nothing of Twisted.

It lives and ends as the servers of `demo.servers` do: on loopback only, on a port of its own, as another user when we
are root (it refuses to run as root), and it ends with the process that started it unless that says `outlives_us`.

Everybody needs a password: `auth_file` has them, for its clients and for the servers behind it. The administrator of
its console is ADMINISTRATOR. Its folder holds pgbouncer.ini, userlist.txt, the log, the pid file and pooler.json.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import psycopg2

from demo.installations import ServerError, give_away, reachable_folder, unprivileged
from demo.processes import Process, dismiss, end_with_us, without_postgres_variables
from demo.servers import LOOPBACK, free_port

ADMINISTRATOR = "pooler_admin"
OBSERVER = "pooler_stats"      # may look at everything on the console and change nothing
CONSOLE = "pgbouncer"          # the name of the database that is the console
START_SECONDS = 10             # a start takes 0.02 s
STOP_SECONDS = 10
CONNECT_SECONDS = 3
LOOK_SECONDS = 0.005
LOG_TAIL_LINES = 10
DEBIAN = "/usr/sbin/pgbouncer"  # not on every user's PATH

SETTINGS = {
    "listen_addr": LOOPBACK,
    "unix_socket_dir": "",
    "auth_type": "scram-sha-256",
    "pool_mode": "transaction",
    "default_pool_size": "20",
    "max_client_conn": "2000",
    "admin_users": ADMINISTRATOR,
    "stats_users": OBSERVER,
    "ignore_startup_parameters": "extra_float_digits,options",
}


def program() -> Path:
    """Where PgBouncer is. Raises ServerError where there is none."""
    found = shutil.which("pgbouncer") or shutil.which(DEBIAN)
    if found is None:
        raise ServerError("there is no pgbouncer on this machine: apt install pgbouncer")
    return Path(found)


class PgBouncer:
    """One PgBouncer in one folder. Make it with `PgBouncer.create`, or find it again with `PgBouncer.open`."""

    def __init__(self, folder: Path, *, port: int, passwords: Mapping[str, str]) -> None:
        self.folder = folder.resolve()
        self._asked_for = folder  # a link to it where the pooler's user could not reach that
        self.port = port
        self._passwords = dict(passwords)
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @classmethod
    def create(cls, folder: Path, databases: Mapping[str, str], *, passwords: Mapping[str, str],
               settings: Mapping[str, str] | None = None, port: int | None = None) -> Self:
        """Write its files into a folder that must not exist yet. It is not started. Raises ServerError.

        `databases`: what its names lead to, as in pgbouncer.ini (`host=127.0.0.1 port=5432 dbname=app`); `*` is every
        other name. `passwords`: of the roles that may connect. `settings`: as in pgbouncer.ini, on top of SETTINGS.
        """
        program()
        place = reachable_folder(folder)
        everybody = {**passwords, ADMINISTRATOR: secrets.token_hex(16), OBSERVER: secrets.token_hex(16)}
        pooler = cls(folder, port=port or free_port(), passwords=everybody)
        assert place == pooler.folder
        pooler._write("userlist.txt", "".join(f'"{user}" "{word}"\n' for user, word in everybody.items()))
        pooler._write("pooler.json", json.dumps({"port": pooler.port, "passwords": everybody}))
        pooler.configure(databases, settings=settings)
        return pooler

    @classmethod
    def open(cls, folder: Path) -> Self:
        """A pooler made earlier, perhaps by another process; running or not. Raises ServerError."""
        try:
            record = json.loads((folder / "pooler.json").read_text())
        except OSError as error:
            raise ServerError(f"{folder} holds no pooler: {error.strerror}") from error
        return cls(folder, port=record["port"], passwords=record["passwords"])

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def pid(self) -> int | None:
        """Its process id; None where it does not run."""
        process = self._found()
        return process.pid if process is not None else None

    @property
    def running(self) -> bool:
        return self.pid is not None

    def configure(self, databases: Mapping[str, str], *, settings: Mapping[str, str] | None = None) -> None:
        """Write pgbouncer.ini anew; a running pooler obeys it after `reload` or `restart`."""
        own = {"listen_port": str(self.port), "auth_file": str(self.folder / "userlist.txt"),
               "pidfile": str(self._pid_file)}
        sections = {"databases": databases, "pgbouncer": {**SETTINGS, **own, **(settings or {})}}
        self._write("pgbouncer.ini", "".join(
            f"[{section}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
            for section, entries in sections.items()))

    def start(self, *, outlives_us: bool = False) -> None:
        """Start and return when it answers. Raises ServerError with the end of its log."""
        with self.log.open("ab") as log:  # what is wrong with its configuration it says on stderr alone
            self._process = subprocess.Popen(
                [program(), self.folder / "pgbouncer.ini"], **unprivileged(), cwd=self.folder,
                env=without_postgres_variables(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)
        if not outlives_us:
            self._guard = end_with_us(self._process.pid)
            atexit.register(self.stop)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise ServerError(f"pgbouncer in {self.folder} did not start:\n{self._log_tail()}")
            time.sleep(LOOK_SECONDS)

    def stop(self) -> None:
        """SIGTERM, which cuts everybody off, and wait until it is gone; nothing happens if it is not running."""
        self._release()
        if (process := self._found()) is not None:
            process.end(STOP_SECONDS)
        self._bury()

    def kill(self) -> None:
        """SIGKILL, as a power cut would; returns when it is gone."""
        self._release()
        if (process := self._found()) is not None:
            process.kill()
        self._bury()

    def restart(self) -> None:
        """What `systemctl restart` does: everybody is cut off, and what was paused is not any more."""
        guarded = self._guard is not None
        self.stop()
        self.start(outlives_us=not guarded)

    def reload(self) -> None:
        """Read its files again; returns when it has."""
        self.admin("RELOAD")

    def destroy(self) -> None:
        """End it and remove all files."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._asked_for.is_symlink():
            self._asked_for.unlink()

    def dsn(self, *, user: str, database: str) -> str:
        """A libpq URI for a client, password included."""
        return self._uri(f"{quote(user, safe='')}:{quote(self._passwords[user], safe='')}", database)

    def console_dsn(self, user: str = ADMINISTRATOR) -> str:
        """A libpq URI of the console, without the password."""
        return self._uri(user, CONSOLE)

    def password_of(self, user: str = ADMINISTRATOR) -> str:
        return self._passwords[user]

    def admin(self, command: str) -> list[dict[str, Any]]:
        """One command on the console; its rows by column name."""
        connection = psycopg2.connect(self.dsn(user=ADMINISTRATOR, database=CONSOLE), connect_timeout=CONNECT_SECONDS)
        with contextlib.closing(connection):
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(command)
                if cursor.description is None:
                    return []
                names = [column.name for column in cursor.description]
                return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    @property
    def _pid_file(self) -> Path:
        return self.folder / "pid"

    def _uri(self, credentials: str, database: str) -> str:
        return f"postgresql://{credentials}@{LOOPBACK}:{self.port}/{quote(database, safe='')}"

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        give_away(path)

    def _found(self) -> Process | None:
        try:
            return Process.of("pgbouncer", int(self._pid_file.read_text()))
        except (OSError, ValueError):
            return None  # ProcessLookupError is an OSError

    def _answers(self) -> bool:
        try:
            return bool(self.admin("SHOW VERSION"))
        except psycopg2.OperationalError:
            return False

    def _release(self) -> None:
        """Nobody else ends it now."""
        dismiss(self._guard)
        self._guard = None
        atexit.unregister(self.stop)

    def _bury(self) -> None:
        if self._process is not None:
            self._process.kill()  # it may have failed before it wrote its pid
            self._process.wait()
            self._process = None
        self._pid_file.unlink(missing_ok=True)  # it would not start where that pid belongs to somebody else by now

    def _log_tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-LOG_TAIL_LINES:])


"""Throw-away hot standbys of a throw-away server, made by pg_basebackup. Blocking; knows nothing of Twisted.

A standby is a server of its own: its own folder and port, started, stopped, killed and destroyed as any other, and it
ends with us in the same way. It has its primary's roles and passwords, for it is a copy of it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from demo.installations import ServerError, reachable_folder
from demo.servers import START_SECONDS, SUPERUSER, Server, free_port

CATCH_UP_SECONDS = 30.0
LOOK_SECONDS = 0.01
KEPT = "128MB"  # of WAL on the primary, for no slot keeps it: a destroyed standby would let it grow for ever

SETTINGS = {
    "hot_standby": "on",
    "wal_retrieve_retry_interval": "200ms",  # by default a standby rests for 5 s when its primary was away
}


class Standby(Server):
    """A hot standby. Make it with `Standby.create_of`, or find it again with `Standby.open`."""

    @classmethod
    def create_of(cls, primary: Server, folder: Path, *, port: int | None = None,
                  settings: Mapping[str, str] | None = None) -> Self:
        """Copy a running server into a folder that must not exist yet. It is not started. Raises ServerError.

        Its name, as pg_stat_replication shows it, is the folder's.
        """
        # a standby that was away for a while must find there what it has missed
        primary.admin_sql(f"ALTER SYSTEM SET wal_keep_size = '{KEPT}'")
        primary.admin_sql("SELECT pg_reload_conf()")
        reachable_folder(folder)
        standby = cls(folder, installation=primary.installation, port=port or free_port(),
                      superuser_password=primary.superuser_password)
        standby._copy(primary, name=folder.name)
        lines = {**SETTINGS, **(settings or {}), "port": str(standby.port)}
        with (standby.data / "postgresql.auto.conf").open("a") as configuration:  # it wins over what was copied
            configuration.writelines(f"{name} = '{value}'\n" for name, value in lines.items())
        standby._remember()
        return standby

    def promote(self) -> None:
        """Make it a primary, as a failover does; returns when it takes writes. Raises ServerError."""
        self._run("pg_ctl", "promote", "-D", self.data, "-w", "-t", START_SECONDS, "-s")

    def await_replay_of(self, primary: Server) -> None:
        """Return when it has replayed all that the primary has written so far. Raises ServerError."""
        primary.admin_sql("SELECT pg_logical_emit_message(true, 'demo', '')")  # what was not flushed is not sent
        ((written,),) = primary.admin_sql("SELECT pg_current_wal_flush_lsn()")
        deadline = time.monotonic() + CATCH_UP_SECONDS
        while not self.admin_sql("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (written,))[0][0]:
            if time.monotonic() > deadline:
                raise ServerError(f"{self.folder.name} has not replayed {written} within {CATCH_UP_SECONDS:g} s")
            time.sleep(LOOK_SECONDS)

    def _copy(self, primary: Server, *, name: str) -> None:
        place = f"host=127.0.0.1 port={primary.port} user={SUPERUSER} application_name={name}"
        # pg_basebackup writes the password it was given into the copy's primary_conninfo
        self._run("pg_basebackup", "-D", self.data, "-d", place, "-R", "-X", "stream", "-c", "fast", "--no-sync",
                  PGPASSWORD=primary.superuser_password)

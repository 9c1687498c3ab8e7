"""What stands around a world's production, and whoever is there: kept in order, and asked what they saw."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2

from demo import application, web
from demo.sandbox import DATABASE
from demo.servers import Server
from demo.surroundings import Surroundings

if TYPE_CHECKING:
    from demo.faults.world import World

CALL_EVERY_SECONDS = 0.002
ANSWERED_SECONDS = 45.0   # for a call behind a pooler, before the fault counts as lost
PAUSED = "SELECT pg_is_wal_replay_paused()"
HELD = "SELECT kind, place FROM fastdowntime.held"


class Caller:
    """A client that asks again and again on the connection it has, and connects anew when that is lost."""

    def __init__(self, dsn: str) -> None:
        """Returns when it was answered once."""
        self.errors: list[str] = []
        self.longest_seconds = 0.0
        self._dsn = dsn
        self._answered_at = 0.0  # monotonic
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.seconds_until_answered(time.monotonic())

    def seconds_until_answered(self, since: float) -> float:
        """From an instant (monotonic) until the first answer behind it. Raises AssertionError after a while."""
        deadline = time.monotonic() + ANSWERED_SECONDS
        while self._answered_at <= since:
            if time.monotonic() > deadline:
                raise AssertionError(f"nobody was answered within {ANSWERED_SECONDS:g} s: {self.errors[-1:]}")
            time.sleep(CALL_EVERY_SECONDS)
        return self._answered_at - since

    def end(self) -> None:
        self._ended = True
        self._thread.join(timeout=ANSWERED_SECONDS)

    def _run(self) -> None:
        while not self._ended:
            try:
                with contextlib.closing(psycopg2.connect(self._dsn, connect_timeout=10)) as connection:
                    connection.autocommit = True
                    self._ask(connection.cursor())
            except psycopg2.Error as error:
                self.errors.append(" ".join(str(error).split()))
                time.sleep(CALL_EVERY_SECONDS)

    def _ask(self, cursor: psycopg2.extensions.cursor) -> None:
        while not self._ended:
            began = time.monotonic()
            cursor.execute("SELECT count(*) FROM account")
            self._answered_at = time.monotonic()
            self.longest_seconds = max(self.longest_seconds, self._answered_at - began)
            time.sleep(CALL_EVERY_SECONDS)


@contextlib.contextmanager
def caller(dsn: str | None) -> Iterator[Caller]:
    """One at work for the block."""
    assert dsn is not None, "the world has what the row is about"
    calling = Caller(dsn)
    try:
        yield calling
    finally:
        calling.end()


@contextlib.contextmanager
def behind_the_pooler(world: World) -> Iterator[Caller]:
    with caller(world.sandbox.surroundings.pooled_dsn(application.APPLICATION)) as calling:
        yield calling


@contextlib.contextmanager
def at_the_standby(world: World) -> Iterator[Caller]:
    with caller(world.sandbox.surroundings.standby_dsn(application.APPLICATION)) as calling:
        yield calling


def standby_replays(world: World) -> bool:
    standby = world.sandbox.surroundings.standby
    return standby is not None and standby.admin_sql(PAUSED) == [(False,)]


def watchdogs(world: World) -> list[int]:
    """The process ids of the living master's watchdogs."""
    process = world.master.process
    assert process is not None, "it keeps them"
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
            if _is_watchdog(Path(f"/proc/{pid}"), process.pid)]


def _is_watchdog(entry: Path, parent: int) -> bool:
    try:
        # the name in parentheses may hold anything, so count from its end
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
        return int(fields[1]) == parent and b"downtime.watchdog" in (entry / "cmdline").read_bytes()
    except OSError:
        return False  # it has ended meanwhile


def start(around: Surroundings) -> None:
    """What a fault has ended runs again."""
    for each in around.named.values():
        if not each.running:
            each.start()


def put_right(around: Surroundings, production: Server) -> None:
    """Nothing is paused, the standby is one, and has all that production has. Raises WebError.

    What a deployment has written down as paused must be gone by itself.
    """
    if around.named:
        web.wait(lambda: production.admin_sql(HELD, database=DATABASE) == [] or None, ANSWERED_SECONDS,
                 "what was written down as paused to be let go of")
    if (pooler := around.pooler) is not None:
        pooler.reload()  # what SET has changed
        for row in pooler.admin("SHOW DATABASES"):
            if row["paused"]:
                pooler.admin(f"RESUME {row['name']}")
    if (standby := around.standby) is None:
        return
    standby.admin_sql("ALTER SYSTEM RESET recovery_min_apply_delay")
    standby.admin_sql("SELECT pg_reload_conf()")
    if standby.admin_sql("SELECT pg_is_in_recovery()") == [(True,)]:
        standby.admin_sql("SELECT pg_wal_replay_resume()")
        standby.await_replay_of(production)
    else:
        around.renew_standby(production)

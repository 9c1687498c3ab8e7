"""Where contenders meet whose clients connect to the server directly: a sandbox, its clients, and a prober."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg2

from bench.contenders import ContestError, Patch
from bench.contest import Load, Seen, total
from bench.crowd import Crowd, Sights
from demo import application
from demo.companions import KICKED, Probe
from demo.sandbox import DATABASE, Sandbox
from downtime import install

MAX_CONNECTIONS = 700   # held clients take places, too
PAUSE_SECONDS = 0.8     # until a writing client that was cut in its pause has found out
SETTLE_SECONDS = 30.0   # for everybody to be back: 500 logins take 2 s of processor
LOOK_SECONDS = 0.1
CHEAP_HASHES_SINCE = 16  # PostgreSQL's major version
ALONE_ROUNDS = 5        # of the patch by itself

# Clients hash their passwords on machines of their own, 4,096 times at each login; here that would be 500 times some
# milliseconds of the processors that the server needs.
CHEAP_HASHES = (f"SET scram_iterations = 1; ALTER ROLE {application.APPLICATION}"
                f" PASSWORD '{application.password_of(application.APPLICATION)}'")


class Direct:
    """An arena; make it with `Direct.create`, end it with `take_down`."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._probe = Probe(sandbox.target(application.APPLICATION))
        self._crowd: Crowd | None = None

    @classmethod
    def create(cls, folder: Path) -> Direct:
        """A sandbox ready for both gates and for hundreds of clients. Raises SandboxError, ServerError."""
        sandbox = Sandbox.create(folder)
        try:
            production = sandbox.servers["production"]
            production.admin_sql(install.script(DATABASE, application.PATCHER, "refuse"), database=DATABASE)
            production.admin_sql(f"ALTER SYSTEM SET max_connections = {MAX_CONNECTIONS}")
            production.restart()
            if production.installation.version >= CHEAP_HASHES_SINCE:
                production.admin_sql(CHEAP_HASHES)
            sandbox.record_baseline()
            return cls(sandbox)
        except BaseException:
            sandbox.take_down()
            raise

    def take_down(self) -> None:
        self._probe.stop()
        self.sandbox.take_down()

    @contextlib.contextmanager
    def under(self, load: Load) -> Iterator[None]:
        """With these clients at work."""
        self._crowd = crowd = Crowd(self.sandbox.dsn(application.APPLICATION), idle=load.idle,
                                    connecting=load.connecting, writing=load.writing, reporting=load.reporting)
        try:
            self._all_back()
            yield
        finally:
            self._crowd = None
            crowd.stop()

    def alone_seconds(self, patch: Patch) -> float:
        """What the patch takes where nobody is in its way: its statement, rolled back (median), and its sleep."""
        took = []
        with contextlib.closing(psycopg2.connect(self.sandbox.dsn(application.PATCHER))) as connection:
            for _ in range(ALONE_ROUNDS):
                began = time.monotonic()
                connection.cursor().execute(replace(patch, sleeps_seconds=0.0).text)
                took.append(time.monotonic() - began)
                connection.rollback()
        return statistics.median(took) + patch.sleeps_seconds

    def begins(self) -> None:
        """From here on what clients see is the contender's doing."""
        if self._crowd is not None:
            self._crowd.look()
        self._probe.report()

    def seen(self) -> Seen:
        """Since the contender has begun and until all clients are back. Raises ContestError, CompanionError."""
        crowd = self._all_back()
        probe = self._probe.report()
        kicked = {state: count for state, count in probe.errors.items() if state in KICKED}
        refused = {state: count for state, count in probe.errors.items() if state not in KICKED}
        return Seen(probe=probe, refused=total([refused, crowd.refused]), cut=total([kicked, crowd.cut]),
                    longest_call_seconds=max(probe.outage_seconds, crowd.longest_call_seconds))

    def _all_back(self) -> Sights:
        """What the clients have seen until then."""
        if self._crowd is None:
            return Sights()
        time.sleep(PAUSE_SECONDS)
        deadline = time.monotonic() + SETTLE_SECONDS
        sights = self._crowd.look()
        while sights.away:
            if time.monotonic() > deadline:
                raise ContestError(f"{sights.away} clients have not come back within {SETTLE_SECONDS:g} s")
            time.sleep(LOOK_SECONDS)
            sights = sights.then(self._crowd.look())
        return sights

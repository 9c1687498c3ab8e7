"""Where contenders meet whose clients are behind a PgBouncer: a sandbox with one before production, and its clients."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psycopg2

from bench.callers import Callers
from bench.contenders import ContestError, Patch
from demo import application
from demo.pgbouncer import PgBouncer
from demo.sandbox import DATABASE, Sandbox
from demo.servers import LOOPBACK, Server
from demo.surroundings import POOLER, QUICK_LOGINS, Surroundings

REST_SECONDS = 1.0         # of a client between two calls, on average
DIRECT_REST_SECONDS = 0.2  # of one that connects to the server for every call
CALLED_SECONDS = 1.6       # after which every client has called at least once
CALM_SECONDS = 0.25        # no call waits for longer where nobody deploys
LOOK_SECONDS = 0.05
PATIENCE_SECONDS = 40.0    # for clients to come back; PgBouncer's own `server_login_retry` is 15 s
ALONE_ROUNDS = 5           # of the patch by itself; of one that sleeps, 1


@dataclass(slots=True)
class Seen:
    """What clients saw of one deployment, until all of them had come back; errors by SQLSTATE."""

    errors: Counter[str] = field(default_factory=Counter)  # of those behind the pooler
    direct: Counter[str] = field(default_factory=Counter)  # of those connected to the server: kicked, or refused
    longest_call_seconds: float = 0.0                      # behind the pooler


class Front:
    """Production with a pooler before it, and clients of both."""

    def __init__(self, sandbox: Sandbox, around: Surroundings, pooled: Callers, direct: Callers) -> None:
        self.sandbox = sandbox
        self.around = around  # its settings name the pooler
        self._pooled, self._direct = pooled, direct

    @property
    def pooler(self) -> PgBouncer:
        assert self.around.pooler is not None, "it was made with one"
        return self.around.pooler

    def begins(self) -> None:
        """From here on what clients see is the contender's doing."""
        self._pooled.seen(), self._direct.seen()

    def watch(self, deploy: Callable[[], None]) -> Seen:
        """What clients see of it, from its beginning until every one of them has called again. Raises ContestError."""
        self._until_calm(Seen(), at_least_seconds=2 * LOOK_SECONDS)
        self.begins()
        deploy()
        self._until_calm(seen := Seen(), at_least_seconds=CALLED_SECONDS)
        return seen

    def alone_seconds(self, patch: Patch) -> float:
        """What the patch takes by itself, where nobody is in its way."""
        taken = []
        with contextlib.closing(psycopg2.connect(self.sandbox.dsn(application.PATCHER))) as session:
            for _ in range(1 if patch.sleeps_seconds else ALONE_ROUNDS):
                with session.cursor() as cursor:
                    began = time.monotonic()
                    cursor.execute(patch.text)
                    taken.append(time.monotonic() - began)
                session.rollback()
        return median(taken)

    def _until_calm(self, seen: Seen, *, at_least_seconds: float) -> None:
        began = time.monotonic()
        while True:
            pooled, direct = self._pooled.seen(), self._direct.seen()
            seen.errors.update(pooled.errors), seen.errors.update(pooled.refused)
            seen.direct.update(direct.errors), seen.direct.update(direct.refused)
            seen.longest_call_seconds = max(seen.longest_call_seconds, pooled.longest_call_seconds)
            passed, waits = time.monotonic() - began, max(pooled.waiting_seconds, direct.waiting_seconds)
            if passed >= at_least_seconds and waits < CALM_SECONDS:
                return
            if passed > PATIENCE_SECONDS:
                raise ContestError(f"a client has been waiting for {waits:.1f} s")
            time.sleep(LOOK_SECONDS)


def pooler_before(server: Server, folder: Path) -> PgBouncer:
    """One that runs, in transaction mode, under the database's own name. Raises ServerError."""
    pooler = PgBouncer.create(folder, {DATABASE: f"host={LOOPBACK} port={server.port} dbname={DATABASE}"},
                              settings=QUICK_LOGINS, passwords={
                                  application.APPLICATION: application.password_of(application.APPLICATION)})
    pooler.start()
    return pooler


@contextlib.contextmanager
def a_front(folder: Path, *, clients: int, direct: int) -> Iterator[Front]:
    """Made, and taken down whatever happens. Raises SandboxError or ServerError."""
    sandbox = Sandbox.create(folder)
    callers: list[Callers] = []
    try:
        sandbox.record_baseline()
        pooler = pooler_before(sandbox.servers["production"], folder / POOLER)
        around = Surroundings(folder, database=DATABASE, pooler=pooler, standby=None)
        around.write_secrets(folder / "secrets")
        callers.append(Callers(pooler.dsn(user=application.APPLICATION, database=DATABASE), kept=clients,
                               rest_seconds=REST_SECONDS))
        callers.append(Callers(sandbox.dsn(application.APPLICATION), fresh=direct, rest_seconds=DIRECT_REST_SECONDS))
        yield Front(sandbox, around, *callers)
    finally:
        for each in callers:
            each.end()
        sandbox.take_down()

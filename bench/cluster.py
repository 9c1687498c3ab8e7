"""What readers of standbys see of a downtime, how soon a dead deployer's pause is undone, and many databases.

`python -m bench.cluster [ROUNDS]` makes servers, standbys and a pooler of its own, measures, prints Markdown with
the goal beside each figure, and removes them. It judges nothing by its exit status: a busy machine is no failure.
`--deploy` is for itself: the deployer that is killed. What clients behind a pooler see is measured by `bench.pooler`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg2
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from bench import fleet
from bench.callers import Callers, Seen
from bench.database import NAME, SPARED, Database, a_database
from bench.figures import MILLISECONDS
from bench.front import pooler_before
from demo import application
from demo.companions import ROOT
from demo.pgbouncer import PgBouncer
from demo.processes import without_postgres_variables
from demo.standby import Standby
from downtime import statements
from downtime.apply import Deployment
from downtime.ledger import Origin
from downtime.outage import Outage
from downtime.patches import Lane, Patch
from downtime.phases import Report
from downtime.ready import Rules
from downtime.settings.cluster import Pooler, Replicas
from downtime.target import Target

PATCH = "-- apply: cold\nALTER TABLE account ADD COLUMN c{number} int;\nSELECT pg_sleep({seconds});\n"
PATCH_SECONDS = 1.0
ROUNDS = 5
WATCHDOG_GOAL_MS = 250
GAP_GOAL_MS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A primary with a database, and what stands around it."""

    primary: Database
    standbys: tuple[Standby, ...]
    pooler: PgBouncer

    def reader_dsn(self, standby: Standby) -> str:
        """Where a client of a standby connects."""
        return standby.dsn(user=application.APPLICATION, database=NAME,
                           password=application.password_of(application.APPLICATION))

    @property
    def pooled_dsn(self) -> str:
        return self.pooler.dsn(user=application.APPLICATION, database=NAME)

    def settings_of_standbys(self) -> Replicas:
        settings = Replicas.model_validate({"serve_reads": True, "servers": [
            standby.dsn(user=application.PATCHER, database=NAME) for standby in self.standbys]})
        settings.take_password(application.password_of(application.PATCHER))
        return settings


@contextlib.contextmanager
def a_site(folder: Path) -> Iterator[Site]:
    """Everything runs; taken down whatever happens. Raises ServerError."""
    with contextlib.ExitStack() as stack:
        primary = stack.enter_context(a_database(folder / "primary"))
        standbys = tuple(Standby.create_of(primary.server, folder / f"standby{number}") for number in (1, 2))
        for standby in standbys:
            stack.callback(standby.destroy)
            standby.start()
            standby.await_replay_of(primary.server)
        pooler = pooler_before(primary.server, folder / "pooler")
        stack.callback(pooler.destroy)
        yield Site(primary=primary, standbys=standbys, pooler=pooler)


def a_pooler(dsn: str, password: str) -> Pooler:
    """As the settings file would have it."""
    pooler = Pooler.model_validate({"console": dsn})
    return pooler.model_copy(update={"console": replace(pooler.console, password=password)})


async def deploy(target: Target, rules: Rules, number: int, *, seconds: float) -> Report:
    """One patch that takes so long. Raises what the outage has failed with."""
    sql_text = PATCH.format(number=number, seconds=seconds)
    patch = Patch(id=f"patch-{number}", path=f"patch-{number}.sql", number=(number,), lane=Lane.COLD, declared=True,
                  sha256=hashlib.sha256(sql_text.encode()).hexdigest(), sql=sql_text, commit="c" * 40)
    outage = Outage(target, Deployment(patch=patch, statements=statements.examine(patch), origin=Origin()), rules)
    try:
        await outage.prepare(lambda entries: ())
        report = await outage.run()
    finally:
        await outage.close()
    if report.error is not None:
        raise report.error
    return report


def count(seen: Seen) -> int:
    return sum(seen.errors.values()) + sum(seen.refused.values())


def verdict(met: bool) -> str:
    return "met" if met else "MISSED"


async def after_a_death(site: Site, rounds: int, reactor: Any) -> str:
    """From kill -9 of a deployer in mid-patch until a client of the pooler gets its answer."""
    waited = []
    for number in range(rounds):
        process = subprocess.Popen([sys.executable, "-m", "bench.cluster", "--deploy"], cwd=ROOT, text=True,
                                   stdin=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                   env=without_postgres_variables())
        assert process.stdin is not None
        process.stdin.write(json.dumps({
            "dsn": site.primary.target.dsn, "password": site.primary.target.password, "number": 1000 + number,
            "console": site.pooler.console_dsn(), "console_password": site.pooler.password_of()}) + "\n")
        process.stdin.flush()
        with contextlib.closing(psycopg2.connect(site.primary.server.superuser_dsn(NAME))) as watching:
            watching.autocommit = True
            await in_mid_patch(watching, reactor)
            began = time.monotonic()
            process.send_signal(signal.SIGKILL)
            await deferToThread(call_once, site.pooled_dsn)
            waited.append((time.monotonic() - began) * MILLISECONDS)
        process.wait()
        process.stdin.close()
        await all_undone(site, reactor)
    return (f"From kill -9 of the deployer in mid-patch until a client of the pooler had its answer, {rounds} times:"
            f" {', '.join(f'{each:.0f}' for each in waited)} ms (goal {WATCHDOG_GOAL_MS} ms,"
            f" {verdict(max(waited) <= WATCHDOG_GOAL_MS)}).")


async def in_mid_patch(watching: Any, reactor: Any) -> None:
    """Until the patch sleeps; `watching` was connected before the gate closed."""
    while True:
        with watching.cursor() as cursor:
            cursor.execute("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep')")
            if cursor.fetchone() == (True,):
                return
        await task.deferLater(reactor, 0.02, lambda: None)


async def all_undone(site: Site, reactor: Any) -> None:
    """Until the watchdog has taken its rows away: the next deployment would be refused."""
    while site.primary.admin_sql("SELECT count(*) FROM fastdowntime.held") != [(0,)]:
        await task.deferLater(reactor, 0.05, lambda: None)


def call_once(dsn: str) -> None:
    connection = psycopg2.connect(dsn)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    connection.close()


async def beside_standbys(site: Site, rounds: int, reactor: Any) -> str:
    """Readers of standbys that serve reads through the primary's outage."""
    readers = [Callers(site.reader_dsn(standby), fresh=2, rest_seconds=0.01) for standby in site.standbys]
    gaps, failed = [], 0
    try:
        await task.deferLater(reactor, 1.0, lambda: None)
        for number in range(rounds):
            for each in readers:
                each.seen()
            await deploy(site.primary.target, Rules(spared=SPARED, replicas=site.settings_of_standbys()), 2000 + number,
                         seconds=PATCH_SECONDS)
            await task.deferLater(reactor, 0.5, lambda: None)
            seen = [each.seen() for each in readers]
            gaps.append(max(each.longest_gap_seconds for each in seen) * MILLISECONDS)
            failed += sum(map(count, seen))
    finally:
        for each in readers:
            each.end()
    return (f"Two standbys with `serve_reads: true`, a patch of {PATCH_SECONDS:g} s: the longest time without an answer"
            f" to any reader of a standby was {', '.join(f'{each:.0f}' for each in gaps)} ms (goal {GAP_GOAL_MS} ms,"
            f" {verdict(max(gaps) <= GAP_GOAL_MS)}); errors {failed}.")


async def measure(folder: Path, rounds: int, reactor: Any) -> None:
    """Everything, printed as it comes."""
    with a_site(folder) as site:
        print(f"PostgreSQL {site.primary.server.installation.release}, gate `hold`, kick `all`.\n\n"
              "## When the deployer dies\n")
        print(await after_a_death(site, rounds, reactor), "\n\n## Standbys that serve reads\n", flush=True)
        print(await beside_standbys(site, rounds, reactor), "\n\n## Many databases\n", flush=True)
    await fleet.run(reactor, str(fleet.MANY))


async def main(reactor: Any, *arguments: str) -> None:
    if arguments == ("--deploy",):
        told = json.loads(sys.stdin.readline())
        pooler = a_pooler(told["console"], told["console_password"])
        await deploy(Target(dsn=told["dsn"], password=told["password"]), Rules(spared=SPARED, poolers=(pooler,)),
                     told["number"], seconds=30)
        return
    with tempfile.TemporaryDirectory(prefix="fastdowntime-cluster-") as folder:
        os.chmod(folder, 0o711)  # the servers' user must get through
        await measure(Path(folder), int(arguments[0]) if arguments else ROUNDS, reactor)


if __name__ == "__main__":
    task.react(lambda reactor, *given: Deferred.fromCoroutine(main(reactor, *given)), sys.argv[1:])

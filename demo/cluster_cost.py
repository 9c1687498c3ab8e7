"""What clients see of a downtime behind a pooler and beside standbys, and how soon a dead deployer's pause is undone.

`python -m demo.cluster_cost [ROUNDS]` makes servers, standbys and a pooler of its own, measures, prints Markdown with
the goal beside each figure, and removes them. It judges nothing by its exit status: a busy machine is no failure.
`--deploy` is for itself: the deployer that is killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from demo import application, fleet_cost
from demo.callers import Callers, Seen
from demo.companions import ROOT
from demo.installations import installations
from demo.pgbouncer import PgBouncer
from demo.processes import without_postgres_variables
from demo.servers import LOOPBACK, Server
from demo.standby import Standby
from downtime import install, statements
from downtime.apply import Deployment
from downtime.ledger import Origin
from downtime.outage import Outage
from downtime.patches import Lane, Patch
from downtime.phases import Report
from downtime.ready import Rules
from downtime.settings.cluster import Pooler, Replicas
from downtime.target import Target

CLIENTS, DIRECT = 500, 20
BETWEEN_CALLS_SECONDS = 1.0
PATCH = "-- apply: cold\nALTER TABLE account ADD COLUMN c{number} int;\nSELECT pg_sleep({seconds});\n"
PATCH_SECONDS = 1.0
ROUNDS = 5
SPARED = frozenset({"postgres"})
DATABASE = "app"
MILLISECONDS = 1000
EXCESS_GOAL_MS = 100
WATCHDOG_GOAL_MS = 250
GAP_GOAL_MS = 300


class Site:
    """A primary with a database, and what stands around it."""

    def __init__(self, folder: Path) -> None:
        self.primary = Server.create(folder / "primary", installations()[0], settings={"max_connections": "200"})
        self.primary.start()
        self.primary.admin_sql(application.ROLES)
        self.primary.admin_sql(sql.SQL("CREATE DATABASE {} OWNER {}").format(
            sql.Identifier(DATABASE), sql.Identifier(application.PATCHER)))
        self.primary.admin_sql(application.TABLES, database=DATABASE)
        self.primary.admin_sql(install.script(DATABASE, application.PATCHER, "hold"), database=DATABASE)
        self.standbys = [Standby.create_of(self.primary, folder / f"standby{number}") for number in (1, 2)]
        for standby in self.standbys:
            standby.start()
            standby.await_replay_of(self.primary)
        self.pooler = PgBouncer.create(
            folder / "pooler", {DATABASE: f"host={LOOPBACK} port={self.primary.port} dbname={DATABASE}"},
            passwords={application.APPLICATION: application.password_of(application.APPLICATION)},
            settings={"auth_type": "plain", "max_client_conn": "1000", "default_pool_size": "20"})
        self.pooler.start()

    def take_down(self) -> None:
        self.pooler.destroy()
        for server in (*self.standbys, self.primary):
            server.destroy()

    def dsn(self, server: Server | None = None) -> str:
        """Where a client of a server connects."""
        return (server or self.primary).dsn(user=application.APPLICATION, database=DATABASE,
                                            password=application.password_of(application.APPLICATION))

    @property
    def target(self) -> Target:
        """Where the patching role connects."""
        return Target(dsn=self.primary.dsn(user=application.PATCHER, database=DATABASE),
                      password=application.password_of(application.PATCHER))

    @property
    def pooled_dsn(self) -> str:
        return self.pooler.dsn(user=application.APPLICATION, database=DATABASE)

    def settings_of_pooler(self) -> Pooler:
        return a_pooler(self.pooler.console_dsn(), self.pooler.password_of())

    def settings_of_standbys(self) -> Replicas:
        settings = Replicas.model_validate({"serve_reads": True, "servers": [
            standby.dsn(user=application.PATCHER, database=DATABASE) for standby in self.standbys]})
        settings.take_password(application.password_of(application.PATCHER))
        return settings



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


async def behind_the_pooler(site: Site, rounds: int, reactor: Any) -> str:
    """Hundreds of clients of the pooler, and some that connect to the server itself."""
    pooled = Callers(site.pooled_dsn, kept=CLIENTS, rest_seconds=BETWEEN_CALLS_SECONDS)
    direct = Callers(site.dsn(), fresh=DIRECT, rest_seconds=0.2)
    rows = ["| round | patch, s | errors | longest call, s | beyond the patch, ms | direct: attempts to connect that"
            " failed | direct: longest call, s |", "|---:|---:|---:|---:|---:|---:|---:|"]
    excesses, failed = [], 0
    try:
        await task.deferLater(reactor, 3 * BETWEEN_CALLS_SECONDS, lambda: None)
        pooled.seen(), direct.seen()
        await task.deferLater(reactor, 2 * BETWEEN_CALLS_SECONDS, lambda: None)
        usual = pooled.seen().longest_call_seconds
        for number in range(1, rounds + 1):
            pooled.seen(), direct.seen()
            report = await deploy(site.target, Rules(spared=SPARED, poolers=(site.settings_of_pooler(),)), number,
                                  seconds=PATCH_SECONDS)
            await task.deferLater(reactor, 2 * BETWEEN_CALLS_SECONDS, lambda: None)
            behind, beside = pooled.seen(), direct.seen()
            excesses.append((behind.longest_call_seconds - report.patch_seconds) * MILLISECONDS)
            failed += count(behind) + sum(beside.refused.values())
            rows.append(f"| {number} | {report.patch_seconds:.3f} | {count(behind)} | {behind.longest_call_seconds:.3f}"
                        f" | {excesses[-1]:.0f} | {sum(beside.refused.values())} | {beside.longest_call_seconds:.3f} |")
    finally:
        pooled.end()
        direct.end()
    return "\n".join([
        f"{CLIENTS} clients behind PgBouncer (transaction pooling, 20 server connections), a call a second each, and"
        f" {DIRECT} that connect for every call. Without a downtime the longest call was {usual:.3f} s.", "", *rows, "",
        f"Errors: {failed} (goal 0, {verdict(failed == 0)}). Longest call beyond the patch, median:"
        f" {statistics.median(excesses):.0f} ms (goal {EXCESS_GOAL_MS} ms,"
        f" {verdict(statistics.median(excesses) <= EXCESS_GOAL_MS)})."])


def count(seen: Seen) -> int:
    return sum(seen.errors.values()) + sum(seen.refused.values())


def verdict(met: bool) -> str:
    return "met" if met else "MISSED"


async def after_a_death(site: Site, rounds: int, reactor: Any) -> str:
    """From kill -9 of a deployer in mid-patch until a client of the pooler gets its answer."""
    waited = []
    for number in range(rounds):
        process = subprocess.Popen([sys.executable, "-m", "demo.cluster_cost", "--deploy"], cwd=ROOT, text=True,
                                   stdin=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                   env=without_postgres_variables())
        assert process.stdin is not None
        process.stdin.write(json.dumps({
            "dsn": site.target.dsn, "password": site.target.password, "number": 1000 + number,
            "console": site.pooler.console_dsn(), "console_password": site.pooler.password_of()}) + "\n")
        process.stdin.flush()
        with contextlib.closing(psycopg2.connect(site.primary.superuser_dsn(DATABASE))) as watching:
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
    while site.primary.admin_sql("SELECT count(*) FROM fastdowntime.held", database=DATABASE) != [(0,)]:
        await task.deferLater(reactor, 0.05, lambda: None)


def call_once(dsn: str) -> None:
    connection = psycopg2.connect(dsn)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    connection.close()


async def beside_standbys(site: Site, rounds: int, reactor: Any) -> str:
    """Readers of standbys that serve reads through the primary's outage."""
    readers = [Callers(site.dsn(standby), fresh=2, rest_seconds=0.01) for standby in site.standbys]
    gaps, failed = [], 0
    try:
        await task.deferLater(reactor, 1.0, lambda: None)
        for number in range(rounds):
            for each in readers:
                each.seen()
            await deploy(site.target, Rules(spared=SPARED, replicas=site.settings_of_standbys()), 2000 + number,
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
    site = Site(folder)
    try:
        print(f"PostgreSQL {site.primary.installation.release}, gate `hold`, kick `all`.\n\n## Behind a pooler\n")
        print(await behind_the_pooler(site, rounds, reactor), "\n\n## When the deployer dies\n", flush=True)
        print(await after_a_death(site, rounds, reactor), "\n\n## Standbys that serve reads\n", flush=True)
        print(await beside_standbys(site, rounds, reactor), "\n\n## Many databases\n", flush=True)
    finally:
        site.take_down()
    await fleet_cost.run(reactor, str(fleet_cost.MANY))


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

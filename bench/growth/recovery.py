"""How soon clients are in again when a deployer is killed, and what reopening costs as there is more to look through.

As a module it is a process of its own (`python -m bench.growth.recovery`, with REOPEN_DSN and PGPASSWORD), for it needs
a reactor: each line on standard input is a number of held rows. It leaves the database as a dead run of gate "refuse"
does, with so many rows, reopens it, and answers with the seconds of that. It ends with its input.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import make_dsn
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from bench import deployer
from bench.database import Database, a_database
from bench.figures import MILLISECONDS, Curve, Section, linear_or_better, spread, table
from bench.growth.many_patches import sha256_of, write_settings
from bench.setup import Setup
from demo import application
from demo.companions import ROOT, Companion, CompanionError
from demo.gitrepo import Repository
from demo.processes import without_postgres_variables
from downtime import held, marker, recovery
from downtime.node import connect
from downtime.target import Target

GATES = ("hold", "refuse")
LEDGER_ROWS = (10, 100, 1_000, 10_000)
HELD_ROWS = (1, 10, 30, 100)      # poolers and standbys of one database: a handful is usual
PATIENCE_SECONDS = 30.0
PATCH_SECONDS = 60                # nobody waits for its end
AGAIN_SECONDS = 0.001
CRASHES = 2                       # of the server
CRASHED = "deployer and server, gate `refuse`; `reopen` typed"
MARK = "by a deployer that is dead"

Seconds = Mapping[str, Sequence[float]]       # by what has died
Reopenings = Mapping[int, Sequence[float]]    # seconds, by number of rows


def measure(setup: Setup) -> Section:
    """Raises ServerError, CompanionError."""
    rounds = 1 if setup.quick else setup.rounds
    with a_database(setup.folder / "server") as database:
        deaths = {"nobody": [until_in(database) for _ in range(rounds)]}
        for gate in GATES:
            deaths[f"deployer, gate `{gate}`"] = [after_a_death(database, gate) for _ in range(rounds)]
            setup.tell(f"gate {gate}: deployers killed: {rounds}")
        if not setup.quick:
            deaths[CRASHED] = _after_crashes(database, setup)
        by_ledger, by_held = _growth(database, setup)
    return section(deaths, by_ledger, by_held)


def _growth(database: Database, setup: Setup) -> tuple[Reopenings, Reopenings]:
    """Reopening with more and more rows in the ledger, and of things held."""
    target = database.target
    reopener = Companion("bench.growth.recovery", REOPEN_DSN=target.dsn, PGPASSWORD=target.password or "")
    try:
        by_ledger: dict[int, Sequence[float]] = {}
        for rows in LEDGER_ROWS:
            database.fill_ledger(sha256_of(rows))
            reopener.ask("0")  # the first one reads what the others find in memory
            by_ledger[rows] = [float(reopener.ask("0")) for _ in range(setup.rounds)]
        return by_ledger, {rows: [float(reopener.ask(str(rows))) for _ in range(setup.rounds)] for rows in HELD_ROWS}
    finally:
        reopener.stop()


def after_a_death(database: Database, gate: str) -> float:
    """Seconds from kill -9 of a deployer in mid-patch until a client is in."""
    dying = _in_mid_patch(database, gate)
    try:
        os.kill(dying.pid, signal.SIGKILL)
        return until_in(database)
    finally:
        dying.stop()


def _after_crashes(database: Database, setup: Setup) -> list[float]:
    """Seconds from typing `reopen` until a client is in, where deployer, server and guard have died together."""
    settings = write_settings(setup.folder, Repository.create(setup.folder / "git"), database)
    return [_after_a_crash(database, settings) for _ in range(CRASHES)]


def _after_a_crash(database: Database, settings: Path) -> float:
    dying = _in_mid_patch(database, "refuse")
    try:
        database.server.kill()  # first: its guard would open within moments of the deployer's death
        os.kill(dying.pid, signal.SIGKILL)
    finally:
        dying.stop()
    database.server.start()
    reopening = subprocess.Popen(
        [sys.executable, "-m", "downtime", "--settings", str(settings), "--environment", "production", "reopen"],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=without_postgres_variables())
    try:
        return until_in(database)
    finally:
        said = reopening.communicate(timeout=PATIENCE_SECONDS)[1]
        if reopening.returncode != 0:
            raise CompanionError(f"python -m downtime reopen: {said}")


def _in_mid_patch(database: Database, gate: str) -> Companion:
    """A deployer that waits for its patch, which sleeps."""
    watching = psycopg2.connect(database.server.superuser_dsn())  # before the gate closes; not of the same database
    watching.autocommit = True
    companion = deployer.started(database.target, gate, str(PATCH_SECONDS))
    try:
        with watching.cursor() as cursor:
            _until(lambda: _sleeps(cursor), "a patch to sleep")
    except BaseException:
        companion.stop()
        raise
    finally:
        watching.close()
    return companion


def _sleeps(cursor: Any) -> bool:
    cursor.execute("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND usename = %s)",
                   (application.PATCHER,))
    return bool(cursor.fetchone()[0])


def until_in(database: Database) -> float:
    """Seconds until a client that tries again and again is connected."""
    began = time.monotonic()
    _until(lambda: _is_in(database), "a client to get in")
    return time.monotonic() - began


def _is_in(database: Database) -> bool:
    try:
        database.connect().close()
    except psycopg2.OperationalError:
        return False
    return True


def _until(happened: Callable[[], bool], what: str) -> None:
    """Raises CompanionError when patience ends."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            raise CompanionError(f"waited {PATIENCE_SECONDS:g} s for {what}")
        time.sleep(AGAIN_SECONDS)


def section(deaths: Seconds, by_ledger: Reopenings, by_held: Reopenings) -> Section:
    """The figures; pure."""
    curves = tuple(Curve(title=f"reopening, {size}", size=size, unit="ms", points=tuple(
        (rows, statistics.median(seconds) * MILLISECONDS) for rows, seconds in figures.items()))
        for size, figures in (("ledger rows", by_ledger), ("held rows", by_held)))
    rows = [[name, f"{len(seconds)}", spread([each * MILLISECONDS for each in seconds])]
            for name, seconds in deaths.items()]
    return Section(
        title="Recovery", curves=curves,
        text="\n\n".join([
            table(["died in mid-patch", "times", "until a client is in, ms"], rows),
            "Median (quartiles) from kill -9 until a client that tries again each millisecond is connected; *nobody* is"
            " what it takes to connect when nothing has happened. Where the server was killed as well, it has started"
            " again without its guard; the time begins with `python -m downtime reopen`, and most of it is the start of"
            " Python. The curves are `downtime.recovery` in a process that runs already, on a database that a dead run"
            " of gate `refuse` has left closed: with more rows in its ledger, and with more standbys written down as"
            " held, each of which it connects to."]),
        verdicts=tuple(linear_or_better(f"{curve.title}, between the two largest", curve.last_exponent)
                       for curve in curves))


async def reopen(target: Target, held_rows: int) -> float:
    """Leave the database as a dead run does, and reopen it; seconds of the latter."""
    places = [_standby(target, number) for number in range(held_rows)]
    node = await connect(target, application_name="bench")
    try:
        await held.write(node, [held.of_replay(place, by=MARK) for place in places])
    finally:
        node.close()
    maintenance = await connect(target.with_database("postgres"), application_name="bench")
    try:
        async with maintenance.transaction():
            await maintenance.execute(marker.closing(target.database, by=MARK))
    finally:
        maintenance.close()
    began = time.monotonic()
    recovered = await recovery.reopen(target, places=places)
    seconds = time.monotonic() - began
    assert len(recovered.lines) == 2 + held_rows, recovered.lines
    return seconds


def _standby(target: Target, number: int) -> Target:
    """The server under another name: nothing of it is paused, which it has to be asked."""
    parts = target.parameters
    return Target(dsn=make_dsn(target.dsn, host=f"standby-{number}", hostaddr=parts["host"]), password=target.password)


async def _main(reactor: Any) -> None:
    target = Target(dsn=os.environ["REOPEN_DSN"])
    while line := (await deferToThread(sys.stdin.readline)).strip():
        print(await reopen(target, int(line)), flush=True)


if __name__ == "__main__":
    task.react(lambda reactor: Deferred.fromCoroutine(_main(reactor)))

"""What an inventory costs as its patches grow: read from git at a commit, taken stock of, compared with the ledger.

As a module it is a process of its own (`python -m bench.growth.inventory SETTINGS`), for it needs a reactor: each line
on standard input is a commit, answered with one line of JSON, the seconds of each part. It ends with its input.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from bench.database import NAME, Database, a_database
from bench.figures import MILLISECONDS, Curve, Section, Verdict, linear_or_better, spread, table
from bench.growth.many_patches import STAGING, import_into, sha256_of, write_settings
from bench.setup import Setup
from demo.companions import ROOT, Companion, CompanionError
from demo.gitrepo import Repository
from demo.processes import without_postgres_variables
from downtime import ledger, patches
from downtime.commands.context import REPOSITORY_COPY
from downtime.fleet import ledgers
from downtime.node import connect
from downtime.repository import Repository as Copy
from downtime.settings import Settings, load
from downtime.target import Target

SIZES = (10, 100, 1_000, 10_000)
QUICK_SIZES = (100, 1_000)
PENDING = 10             # the newest; all others are applied
COMMANDS = 2             # runs of the command line for each size: most of each is the start of Python
COMMAND_SECONDS = 60.0
PLAN_GOAL_SECONDS = 2.0  # for taking stock and planning with most patches
COMMAND = "command"
TITLES = {"git": "reading from git", "inventory": "taking stock", "ledger": "reading the ledger",
          "plan": "planning", "fresh": "planning with nothing applied", COMMAND: "`python -m downtime plan`"}

Figures = Mapping[int, Mapping[str, Sequence[float]]]  # seconds, round by round, by size and by what of TITLES


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Seconds of each part."""

    git: float        # the files of a commit that was fetched already
    inventory: float  # who they are, in which order, in which lane; of the processor
    ledger: float     # all rows of one database
    plan: float       # the one against the other; of the processor
    fresh: float      # the same where the database has none of them


def measure(setup: Setup) -> Section:
    """Raises ServerError, GitError, CompanionError."""
    sizes = QUICK_SIZES if setup.quick else SIZES
    repository = Repository.create(setup.folder / "git")
    commits = import_into(repository, sizes)
    with a_database(setup.folder / "server", gate="refuse") as database:
        settings = write_settings(setup.folder, repository, database)
        reader = Companion("bench.growth.inventory", str(settings))
        try:
            return section({size: _of(size, commits[size], database, reader, settings, setup) for size in sizes})
        finally:
            reader.stop()


def _of(size: int, commit: str, database: Database, reader: Companion, settings: Path, setup: Setup
        ) -> Mapping[str, Sequence[float]]:
    """Seconds of everything with this many patches."""
    for name in (NAME, STAGING):
        database.fill_ledger(sha256_of(size - PENDING), name=name)
    reader.ask(commit)  # what is read for the first time comes from disk
    rounds = [Parts(**json.loads(reader.ask(commit))) for _ in range(setup.rounds)]
    figures = {field.name: [getattr(each, field.name) for each in rounds] for field in fields(Parts)}
    figures[COMMAND] = [_command(settings, commit) for _ in range(1 if setup.quick else COMMANDS)]
    setup.tell(f"{size} patches: the command takes {statistics.median(figures[COMMAND]):.2f} s")
    return figures


def _command(settings: Path, commit: str) -> float:
    """Seconds of the command line from start to end. Raises CompanionError where it does not find what is pending."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "downtime", "--settings", str(settings), "--environment", "production", "--json",
         "plan", "--commit", commit], cwd=ROOT, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS,
        env=without_postgres_variables())
    seconds = time.monotonic() - began
    if done.returncode != 0 or len(json.loads(done.stdout)["pending"]) != PENDING:
        raise CompanionError(f"python -m downtime plan: {done.stderr}{done.stdout}")
    return seconds


def section(figures: Figures) -> Section:
    """The figures; pure."""
    curves = tuple(Curve(title=title, size="patches", unit="ms", points=tuple(
        (size, statistics.median(each[name]) * MILLISECONDS) for size, each in figures.items()))
        for name, title in TITLES.items())
    most = max(figures)
    planned = [sum(each) for each in zip(figures[most]["inventory"], figures[most]["plan"], strict=True)]
    rows = [[f"{size:,}", *(spread([seconds * MILLISECONDS for seconds in each[name]]) for name in TITLES)]
            for size, each in figures.items()]
    return Section(
        title="Patches in the inventory", curves=curves,
        text="\n\n".join([
            table(["patches", *(f"{title}, ms" for title in TITLES.values())], rows),
            f"Median (quartiles) of {len(planned)} rounds, in a process that does nothing else. Taking stock and"
            " planning wait for nothing and are counted in processor time. All patches but the last"
            f" {PENDING} are applied; the repository was fetched before. The command line"
            f" (runs of each size: {len(figures[most][COMMAND])}) is timed from its start to its end: it fetches, reads"
            " the ledgers of both environments, and lints what is pending."]),
        verdicts=(
            Verdict(goal=f"taking stock of {most:,} patches and planning them", measured=statistics.median(planned),
                    limit=PLAN_GOAL_SECONDS, unit="s"),
            *(linear_or_better(f"{curve.title}, between the two largest inventories", curve.last_exponent)
              for curve in curves)))


async def read_and_plan(repository: Copy, settings: Settings, commit: str) -> Parts:
    """What every landing and every deployment does, part by part."""
    began = time.monotonic()
    files = await repository.files(commit, settings.patches.directory)
    read_seconds = time.monotonic() - began
    began = time.process_time()
    inventory = patches.inventory(files, settings.patches, not_schema=settings.landing.not_schema, commit=commit)
    inventory_seconds = time.process_time() - began
    entries, ledger_seconds = await _entries(settings.environment("production").target)
    pending, plan_seconds = _planned(entries, inventory)
    assert pending == PENDING, f"{pending} are pending"
    return Parts(git=read_seconds, inventory=inventory_seconds, ledger=ledger_seconds, plan=plan_seconds,
                 fresh=_planned((), inventory)[1])


def _planned(entries: Sequence[ledger.Entry], inventory: patches.Inventory) -> tuple[int, float]:
    """How many are pending, and the seconds of finding out."""
    had = {NAME: tuple(entries)}
    began = time.process_time()
    pending = ledgers.plan_of(had, inventory).pending
    ledgers.half_way(had, inventory)
    return len(pending), time.process_time() - began


async def _entries(target: Target) -> tuple[Sequence[ledger.Entry], float]:
    """What the database has, and the seconds of reading it."""
    node = await connect(target, application_name="bench")
    try:
        began = time.monotonic()
        return await ledger.read(node), time.monotonic() - began
    finally:
        node.close()


async def _main(reactor: Any, path: str) -> None:
    settings = load(Path(path))
    source = settings.repository
    repository = Copy(source.url, source.branch, settings.folder / REPOSITORY_COPY)
    await repository.fetch()
    while commit := (await deferToThread(sys.stdin.readline)).strip():
        print(json.dumps(asdict(await read_and_plan(repository, settings, commit))), flush=True)


if __name__ == "__main__":
    task.react(lambda reactor, *given: Deferred.fromCoroutine(_main(reactor, *given)), sys.argv[1:])

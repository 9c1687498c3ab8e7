"""How long an outage is, ours against a shell script's, on the same server in the same run, as a client sees it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from demo import application
from demo.companions import KICKED, Clients, Probe
from demo.processes import without_postgres_variables
from demo.sandbox import DATABASE, SCHEMA, Sandbox
from demo.servers import LOOPBACK, SUPERUSER
from downtime.probing import Report

RUNBOOK = Path(__file__).with_name("runbook.sh")
BEGINS = "new connections"  # in the line that the command line says before it connects
ENDS_SECONDS = 60
SETTLE_SECONDS = 1.5  # for clients that were refused or kicked to be back before the next round
PATCH = "-- apply: cold\nCOMMENT ON TABLE account IS 'benchmark, {name}';\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the application's clients do meanwhile."""

    name: str
    goal: float            # our outage as a part of the shell script's
    staying: int = 0       # keep a connection; when they are cut or refused they come back at once
    changing: int = 0      # open a new connection every 0.1 s, whatever happens


LOADS = (
    Load(name="no clients", goal=1 / 5),
    Load(name="100 that come back when they are cut", goal=1 / 4, staying=100),
    Load(name="100 that open new connections all the time", goal=1 / 4, changing=100),
)


class ContestError(RuntimeError):
    """A contender failed; the message has what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Both contenders under one load: outages in seconds, round by round."""

    load: Load
    runbook: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    closed: list[float] = field(default_factory=list)  # ours by its own account, without what clients wait to log in
    floor: list[float] = field(default_factory=list)  # what the prober sees where nothing happens
    refused: list[int] = field(default_factory=list)        # attempts of the prober that the runbook cost it
    refused_by_us: list[int] = field(default_factory=list)  # the same for ours

    @property
    def ratio(self) -> float:
        """Our median outage as a part of the shell script's."""
        return statistics.median(self.ours) / statistics.median(self.runbook)


def contest(sandbox: Sandbox, rounds: int, tell: Callable[[str], None]) -> list[Result]:
    """Let both deploy a trivial patch, in turns. Raises ContestError."""
    probe = Probe(sandbox.target(application.APPLICATION))
    try:
        return [_under(load, sandbox, probe, rounds, tell) for load in LOADS]
    finally:
        probe.stop()


def _under(load: Load, sandbox: Sandbox, probe: Probe, rounds: int, tell: Callable[[str], None]) -> Result:
    result = Result(load=load)
    clients = Clients(sandbox.dsn(application.APPLICATION), sandbox.dsn(application.FRAGILE), idle=load.staying,
                      reconnecting=load.changing)
    try:
        for number in range(1, rounds + 1):
            name = f"patch-90{LOADS.index(load):02}-{number:02}-0"
            before = _settled(probe)
            by_hand = run_runbook(sandbox, name, probe)
            _settled(probe)
            ours, closed = run_ours(sandbox, name, probe)
            result.floor.append(before.outage_seconds)
            result.runbook.append(by_hand.outage_seconds)
            result.refused.append(_refusals(by_hand))
            result.ours.append(ours.outage_seconds)
            result.refused_by_us.append(_refusals(ours))
            result.closed.append(closed)
            tell(f"{load.name}, round {number}: shell script {by_hand.outage_seconds:.3f} s,"
                 f" ours {ours.outage_seconds:.3f} s")
    finally:
        clients.stop()
    return result


def _refusals(report: Report) -> int:
    return sum(count for state, count in report.errors.items() if state not in KICKED)


def _settled(probe: Probe) -> Report:
    probe.report()
    time.sleep(SETTLE_SECONDS)
    return probe.report()


def run_runbook(sandbox: Sandbox, name: str, probe: Probe) -> Report:
    """Deploy with the shell script, as superuser; what the prober saw meanwhile. Raises ContestError."""
    server = sandbox.servers["production"]
    patch = sandbox.folder / f"{name}.sql"
    patch.write_text(PATCH.format(name=name))
    environment = without_postgres_variables(
        PGHOST=LOOPBACK, PGPORT=str(server.port), PGUSER=SUPERUSER, PGPASSWORD=server.superuser_password,
        PATH=f"{server.installation.bin}{os.pathsep}{os.environ['PATH']}")
    probe.report()
    done = subprocess.run(["sh", RUNBOOK, DATABASE, patch, application.FRAGILE], env=environment, capture_output=True,
                          text=True, check=False)
    if done.returncode != 0:
        raise ContestError(f"{RUNBOOK.name}: {done.stderr}")
    return probe.report()


def run_ours(sandbox: Sandbox, name: str, probe: Probe) -> tuple[Report, float]:
    """Deploy with the command line, as the patching role. Raises ContestError.

    Returns what the prober saw meanwhile, and for how many seconds the gate was closed by its own account.
    """
    sandbox.repository.land({f"{SCHEMA}/{name}.sql": PATCH.format(name=name)}, name)
    process = sandbox.start_downtime("apply", name, "--environment", "production", "--yes", "--no-probe", "--json")
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if BEGINS in line:
            probe.report()  # Python has started: what that cost the machine is no outage
            break
    answer, rest = process.communicate(timeout=ENDS_SECONDS)
    report = probe.report()
    if process.returncode != 0:
        raise ContestError(f"python -m downtime apply {name}: {''.join(said)}{rest}{answer}")
    return report, float(json.loads(answer)["outage_seconds"])


def table(results: Sequence[Result]) -> str:
    """The figures in Markdown, in milliseconds: median (lower and upper quartile)."""
    lines = ["| clients | shell script, ms | fast downtime, ms | part | goal | | gate closed, ms | no deployment, ms"
             " | refused: script, ours |",
             "|---|---:|---:|---:|---:|---|---:|---:|---:|"]
    for result in results:
        goal = result.load.goal
        verdict = "met" if result.ratio <= goal else f"missed by {result.ratio - goal:.2f}"
        lines.append(f"| {result.load.name} | {_spread(result.runbook)} | {_spread(result.ours)} | {result.ratio:.2f} |"
                     f" ≤ {goal:.2f} | {verdict} | {_spread(result.closed)} | {_spread(result.floor)} |"
                     f" {statistics.median(result.refused):.0f}, {statistics.median(result.refused_by_us):.0f} |")
    lines.append("")
    lines.append(f"Median (quartiles) of the longest gap between two new connections, {len(results[0].ours)} rounds in"
                 " turns. *Gate closed* is the fast downtime by its own account; *no deployment* is what the prober"
                 f" sees in {SETTLE_SECONDS:g} s in which nothing happens. *Refused* are attempts of the prober per"
                 " round.")
    return "\n".join(lines)


def _spread(seconds: Sequence[float]) -> str:
    low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return f"{median * 1000:.0f} ({low * 1000:.0f}–{high * 1000:.0f})"

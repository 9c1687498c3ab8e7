"""The figures the product promises, measured: outages against a shell script, planning, what evidence costs, the
master's memory.

Prints Markdown on standard output; progress goes to whoever listens. Judges nothing by its exit status: a busy
machine is no failure.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

from demo import contest, evidence_cost, upkeep
from demo.sandbox import SCHEMA, Sandbox
from demo.stage import Stage, Tell
from downtime import patches
from downtime.plan import plan
from downtime.settings import load

PLANNED = 10_000          # patches
PLAN_GOAL_SECONDS = 2.0
GROWTH_GOAL_MIB = 50.0    # over 200 deployments
WARM_UP = 5               # deployments until the master has imported and cached what it will
MIB = 1024 * 1024


def run(*, rounds: int, deployments: int, tell: Tell) -> None:
    """Measure everything and print it."""
    with tempfile.TemporaryDirectory(prefix="fastdowntime-bench-") as place:
        os.chmod(place, 0o711)  # the servers' user must get through
        folder = Path(place) / "demo"
        print("## Outage as a client sees it\n")
        sandbox = Sandbox.create(folder)
        try:
            sandbox.record_baseline()
            print(f"PostgreSQL {sandbox.servers['production'].installation.release}, gate `hold`, kick `all`,"
                  " a trivial patch.\n")
            print(contest.table(contest.contest(sandbox, rounds, tell)))
            print(f"\n## Planning\n\n{planning(sandbox)}", flush=True)
            print(f"\n## Evidence\n\n{evidence_cost.cost(sandbox, rounds)}", flush=True)
        finally:
            sandbox.take_down()
        if deployments:
            print(f"\n## The buildmaster's memory\n\n{memory(folder, deployments, tell)}", flush=True)


def planning(sandbox: Sandbox) -> str:
    """How long an inventory of many patches is taken and planned."""
    settings = load(sandbox.settings)
    files = {f"{SCHEMA}/patch-{number // 100:04}-{number % 100:02}-0.sql":
             f"-- apply: cold\nALTER TABLE account ADD COLUMN c{number} text;\n".encode() for number in range(PLANNED)}
    seconds = []
    for _ in range(5):
        began = time.monotonic()
        inventory = patches.inventory(files, settings.patches, not_schema=(), commit="0" * 40)
        pending = plan(inventory, ()).pending
        seconds.append(time.monotonic() - began)
        assert len(pending) == PLANNED
    median = statistics.median(seconds)
    return (f"An inventory of {PLANNED:,} patches is taken and planned in {median:.2f} s (goal: under"
            f" {PLAN_GOAL_SECONDS:g} s, {_verdict(median - PLAN_GOAL_SECONDS)}).")


def memory(folder: Path, deployments: int, tell: Tell) -> str:
    """How much a real buildmaster grows while it deploys patch after patch."""
    master = upkeep.start(folder, tell)
    sizes: list[float] = []
    took: list[float] = []
    stage = Stage(master, lambda text: None)
    try:
        for number in range(1, deployments + WARM_UP + 1):
            began = time.monotonic()
            _deploy_one(stage, f"patch-9200-{number:03}-0")
            took.append(time.monotonic() - began)
            sizes.append(master.resident_bytes / MIB)
            if number % 10 == 0:
                tell(f"{number} deployments: {sizes[-1]:.1f} MiB, {statistics.median(took[-10:]):.1f} s each")
    finally:
        stage.close()
        master.stop()
        master.sandbox.take_down()
    growth = sizes[-1] - sizes[WARM_UP - 1]
    return (f"{deployments} deployments (push, rehearsal, approval, outage), {statistics.median(took):.1f} s each:"
            f" {sizes[WARM_UP - 1]:.0f} MiB after the first {WARM_UP}, {sizes[-1]:.0f} MiB at the end; grown by"
            f" {growth:.1f} MiB (goal: under {GROWTH_GOAL_MIB:g} MiB over 200).")


def _deploy_one(stage: Stage, name: str) -> None:
    stage.rehearse(name, text=contest.PATCH.format(name=name))
    stage.deploys(stage.waiting(name))


def _verdict(over: float) -> str:
    return "met" if over <= 0 else f"missed by {over:.2f} s"

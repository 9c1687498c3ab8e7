"""What the evidence costs: the same patches with and without a footprint of each statement, in turns, rolled back.

As a module it is a process of its own (`python -m bench.evidence ROUNDS`, the connection string in EVIDENCE_DSN,
the password in PGPASSWORD), for it needs a reactor. It says the figures as one line of JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred

from bench.database import a_database
from bench.figures import MILLISECONDS, Section, Verdict, spread, table
from bench.setup import Setup
from demo.companions import Companion
from downtime import apply, safety
from downtime.ledger import Origin
from downtime.measuring import Measuring
from downtime.node import Node, connect
from downtime.patches import Lane, Patch
from downtime.statements import split
from downtime.target import Target

MOST_SECONDS = 300.0    # for all rounds
TRIVIAL_GOAL_MS = 20.0
PART_GOAL = 0.05        # of a patch of about a second
ROWS = 150_000          # make the second patch take about one second
TRIVIAL_NAME, LONG_NAME = "trivial", "of a second"

Seconds = Mapping[str, Sequence[float]]  # round by round: `without`, `with`, and of that `measuring`

TRIVIAL = "ALTER TABLE account ADD COLUMN measured int;"
OF_A_SECOND = f"""
CREATE TABLE measured AS SELECT i AS id, i % 10 AS n, 'row ' || i AS note FROM generate_series(1, {ROWS}) AS i;
ALTER TABLE measured ADD PRIMARY KEY (id);
CREATE INDEX ON measured (note);
UPDATE measured SET n = n + 1 WHERE id % 3 = 0;
ALTER TABLE measured ALTER COLUMN n TYPE bigint;
ALTER TABLE account ADD COLUMN measured int REFERENCES measured;
DO $$ BEGIN UPDATE account SET measured = 1; END $$;
DELETE FROM measured WHERE id > {ROWS // 2};
"""


def measure(setup: Setup) -> Section:
    """Raises ServerError, CompanionError."""
    rounds = 1 if setup.quick else setup.rounds
    with a_database(setup.folder / "server", gate="refuse") as database:
        target = database.target
        companion = Companion("bench.evidence", str(rounds), EVIDENCE_DSN=target.dsn, PGPASSWORD=target.password or "")
        try:
            answer = json.loads(companion.listen(MOST_SECONDS))
        finally:
            companion.stop()
    setup.tell(f"rounds of each patch: {rounds}")
    return section(answer[TRIVIAL_NAME], answer[LONG_NAME])


def section(trivial: Seconds, long: Seconds) -> Section:
    """Side by side; pure."""
    added = statistics.median(trivial["measuring"]) * MILLISECONDS
    part = statistics.median(long["measuring"]) / statistics.median(long["without"])
    return Section(
        title="What the evidence costs",
        text="\n\n".join([
            table(["patch", "not measured, ms", "measured, ms", "ratio", "of it measuring, ms"],
                  [_row("trivial", trivial), _row("of about a second", long)]),
            f"Median (quartiles) of {len(trivial['with'])} rounds in turns: the statements of a patch with and without"
            " a footprint of each, in fresh sessions, rolled back. Only rehearsals measure: no production outage has"
            " this cost."]),
        verdicts=(
            Verdict(goal="what evidence adds to a trivial patch", measured=added, limit=TRIVIAL_GOAL_MS, unit="ms"),
            Verdict(goal="what evidence adds to a patch of about a second, as a part of it", measured=part,
                    limit=PART_GOAL)))


def _row(name: str, seconds: Seconds) -> list[str]:
    without, measured, measuring = ([each * MILLISECONDS for each in seconds[run]]
                                    for run in ("without", "with", "measuring"))
    ratio = statistics.median(measured) / statistics.median(without)
    return [name, spread(without), spread(measured), f"{ratio:.2f}", spread(measuring)]


async def in_turns(target: Target, rounds: int, reactor: Any) -> dict[str, dict[str, list[float]]]:
    """Seconds of each run: `without`, `with`, and what of that was spent `measuring`."""
    figures: dict[str, dict[str, list[float]]] = {}
    for name, sql in ((TRIVIAL_NAME, TRIVIAL), (LONG_NAME, OF_A_SECOND)):
        seconds: dict[str, list[float]] = {"without": [], "with": [], "measuring": []}
        for _ in range(rounds):
            seconds["without"].append((await _run(target, sql, reactor, measured=False))[0])
            whole, measuring = await _run(target, sql, reactor, measured=True)
            seconds["with"].append(whole)
            seconds["measuring"].append(measuring)
        figures[name] = seconds
    return figures


async def _run(target: Target, sql: str, reactor: Any, *, measured: bool) -> tuple[float, float]:
    """In fresh sessions, as a rehearsal has them."""
    patcher = await connect(target, application_name="evidence", reactor=reactor)
    observer = await connect(target, application_name="evidence observer", reactor=reactor)
    measuring = Measuring(patcher, observer)
    try:
        await patcher.execute("BEGIN")
        began = monotonic()
        if measured:
            await measuring.begin()
        await _apply(patcher, sql, measuring if measured else None)
        return monotonic() - began, measuring.seconds
    finally:
        patcher.close()
        observer.close()


async def _apply(patcher: Node, sql: str, measuring: Measuring | None) -> None:
    patch = Patch(id="measured", path="measured.sql", number=(1,), lane=Lane.COLD, declared=True, sha256="", sql=sql,
                  commit="")
    deployment = apply.Deployment(patch=patch, statements=split(sql), origin=Origin())
    await apply.run_all(patcher, deployment, deployment.statements, before_each=lambda: None,
                        progress=lambda applied: None, measuring=measuring,
                        make_safe=lambda first: safety.put_timeouts_back(patcher, first=first))


async def _main(reactor: Any, arguments: Sequence[str]) -> None:
    (rounds,) = arguments
    print(json.dumps(await in_turns(Target(dsn=os.environ["EVIDENCE_DSN"]), int(rounds), reactor)), flush=True)


if __name__ == "__main__":
    task.react(lambda reactor: Deferred.fromCoroutine(_main(reactor, sys.argv[1:])))

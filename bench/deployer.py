"""A deployer in a process of its own, without command line and repository: its critical section is the product's.

    python -m bench.deployer GATE            a trivial patch for each line on standard input, answered with a line
    python -m bench.deployer GATE SECONDS    one patch at once that sleeps so long, for whoever kills its deployer

connects to DEPLOYER_DSN with PGPASSWORD. The first form ends with its input.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from bench.database import SPARED
from demo.companions import Companion
from downtime import statements
from downtime.apply import Deployment
from downtime.ledger import Origin
from downtime.outage import Outage
from downtime.patches import Lane, Patch
from downtime.ready import Rules
from downtime.target import Target

PATCH = "-- apply: cold\nCOMMENT ON TABLE account IS 'patch {number}';\n"
SLEEP = "SELECT pg_sleep({seconds});\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """One outage by its own account."""

    outage_seconds: float
    kicked: int
    phases: Mapping[str, float]  # seconds by the phase's name


class Deployer:
    """The process, from outside."""

    def __init__(self, target: Target, *, gate: str) -> None:
        self._companion = started(target, gate)

    def deploy(self) -> Deployed:
        """One trivial patch, kick `all`. Raises CompanionError with what it failed with."""
        return Deployed(**json.loads(self._companion.ask("deploy")))

    def stop(self) -> None:
        self._companion.stop()


def started(target: Target, *arguments: str) -> Companion:
    """Such a process, with these arguments."""
    return Companion("bench.deployer", *arguments, DEPLOYER_DSN=target.dsn, PGPASSWORD=target.password or "")


async def deploy(target: Target, number: int, *, gate: str, seconds: float = 0.0) -> Deployed:
    """Raises what the outage has failed with."""
    patch = _patch(number, PATCH.format(number=number) + (SLEEP.format(seconds=seconds) if seconds else ""))
    outage = Outage(target, Deployment(patch=patch, statements=statements.examine(patch), origin=Origin()),
                    Rules(gate=gate, spared=SPARED))
    try:
        await outage.prepare(lambda entries: ())
        report = await outage.run()
    finally:
        await outage.close()
    if report.error is not None:
        raise report.error
    return Deployed(outage_seconds=report.outage_seconds, kicked=len(report.kicked),
                    phases={str(each.phase): each.seconds for each in report.phases})


def _patch(number: int, text: str) -> Patch:
    name = f"patch-{os.getpid()}-{number}"  # of no other deployer on the same database
    return Patch(id=name, path=f"{name}.sql", number=(os.getpid(), number), lane=Lane.COLD, declared=True,
                 sha256=hashlib.sha256(text.encode()).hexdigest(), sql=text, commit="c" * 40)


async def _main(reactor: Any, gate: str, seconds: str = "") -> None:
    target = Target(dsn=os.environ["DEPLOYER_DSN"])
    if seconds:
        await deploy(target, 1, gate=gate, seconds=float(seconds))
        return
    number = 0
    while await deferToThread(sys.stdin.readline):
        number += 1
        print(json.dumps(asdict(await deploy(target, number, gate=gate))), flush=True)


if __name__ == "__main__":
    task.react(lambda reactor, *given: Deferred.fromCoroutine(_main(reactor, *given)), sys.argv[1:])

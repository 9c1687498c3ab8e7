"""What tests of watchdogs and of rows left behind have in common: a deployment that is watched, and its death.

Run as a program it is a deployer that closes its gate under a watchdog's eyes and waits to be killed. Its standard
input says what to do, as `Dying.start` writes it; it answers with a line of JSON when the gate is closed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol

from demo.pgbouncer import PgBouncer
from downtime import deployment_lock, fence, gate, held
from downtime.node import Node, connect
from downtime.pooler import Console, Pause
from downtime.rescue import Watched
from downtime.target import Target
from downtime.watching import Watchdog
from tests.databases import Database
from tests.poolers import console_of

ROOT = Path(__file__).resolve().parents[2]
LONG_SECONDS = 60.0
LOGIN_RETRY = "15"  # of an untouched pooler
BYSTANDER = ["sleep", "60"]


def a_pause(pooler: PgBouncer, database: Database) -> Pause:
    return Pause(console=console_of(pooler), databases=(database.name,), ended=False, login_retry=LOGIN_RETRY,
                 min_pool_size="0")


def rows(database: Database) -> list[tuple[Any, ...]]:
    """What is written down as held: kind, place and by whom."""
    return database.admin_sql('SELECT kind, place, "by" FROM fastdowntime.held ORDER BY place')


def is_open(database: Database) -> bool:
    return database.server.admin_sql("SELECT datallowconn FROM pg_database WHERE datname = %s",
                                     (database.name,)) == [(True,)]


@dataclass(kw_only=True)
class Deploying:
    """A deployment in the middle of its outage, as far as its watchdog can tell."""

    watched: Watched
    patcher: Node
    gate: gate.Gate
    watchdog: Watchdog

    async def end(self) -> None:
        """Whatever happened to it, nothing is left in the reactor."""
        if not self.watchdog.ended:
            await self.watchdog.dismiss()
        self.patcher.close()
        await self.gate.disarm()


async def deploy(target: Target, *, gate_name: str = "hold", pauses: Sequence[Pause] = (),
                 replays: Sequence[Target] = (), limit_seconds: float = LONG_SECONDS) -> Deploying:
    """Arm, write the rows, pause, close the gate."""
    patcher = await connect(target, application_name="fastdowntime test", reactor=reactor)
    await deployment_lock.take(patcher)
    the_gate: gate.Gate = (gate.Hold(reactor) if gate_name == "hold"
                           else gate.Refuse(target, reactor, limit_seconds=limit_seconds))
    await the_gate.arm(patcher)
    patching = await fence.backend_of(patcher)
    watched = Watched(target=target, patching=patching, gate=gate_name, mark=patching.by,
                      pauses=tuple(pauses), replays=tuple(replays), limit_seconds=limit_seconds)
    watchdog = await Watchdog.start(watched, reactor=reactor)
    await held.write(patcher, watched.holdings)
    for each in pauses:
        await _pause_pooler(each)
    for standby in replays:
        await _pause_replay(standby)
    await patcher.execute("BEGIN")
    await the_gate.prevent()
    return Deploying(watched=watched, patcher=patcher, gate=the_gate, watchdog=watchdog)


async def _pause_pooler(given: Pause) -> None:
    console = await Console.open(given.console, reactor)
    for name in given.databases:
        await console.pause(name, deadline_seconds=LONG_SECONDS)
    console.close()


async def _pause_replay(standby: Target) -> None:
    node = await connect(standby, application_name="fastdowntime test", reactor=reactor)
    await node.execute("SELECT pg_catalog.pg_wal_replay_pause()")
    node.close()


@dataclass(frozen=True, kw_only=True)
class Dying:
    """A deployer that is a process of its own; `children` are programs it started after its watchdog."""

    process: subprocess.Popen[bytes]
    watchdog: int
    children: tuple[int, ...]

    @classmethod
    def start(cls, target: Target, *, gate_name: str, pauses: Sequence[Pause]) -> Dying:
        """Returns when its gate is closed."""
        told = {"target": [target.dsn, target.password], "gate": gate_name,
                "pauses": [[pause.to_json(), pause.console.password] for pause in pauses]}
        process = subprocess.Popen([sys.executable, "-m", "tests.downtime.watched"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, cwd=ROOT, start_new_session=True)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{json.dumps(told)}\n".encode())
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        return cls(process=process, watchdog=answer["watchdog"], children=tuple(answer["children"]))

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self.process.kill()
        self.process.communicate()


@contextmanager
def dying(target: Target, *, gate_name: str, pauses: Sequence[Pause]) -> Iterator[Dying]:
    """One that is gone afterwards, and its children too."""
    deployer = Dying.start(target, gate_name=gate_name, pauses=pauses)
    try:
        yield deployer
    finally:
        deployer.kill()
        for pid in deployer.children:
            subprocess.run(["kill", "-9", str(pid)], check=False)


async def _die(told: dict[str, Any]) -> None:
    dsn, password = told["target"]
    pauses = [replace(given, console=replace(given.console, password=secret))
              for given, secret in ((Pause.from_json(each), secret) for each, secret in told["pauses"])]
    deploying = await deploy(Target(dsn=dsn, password=password), gate_name=told["gate"], pauses=pauses)
    # as the buildmaster starts git, and as somebody might who inherits everything that may be inherited
    by_twisted: Any = reactor.spawnProcess(  # type: ignore[attr-defined]
        ProcessProtocol(), BYSTANDER[0], BYSTANDER, childFDs={})
    by_hand = subprocess.Popen(BYSTANDER, close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    print(json.dumps({"watchdog": deploying.watchdog.pid, "children": [by_twisted.pid, by_hand.pid]}), flush=True)
    await Deferred()  # type: ignore[var-annotated]


def main() -> None:
    Deferred.fromCoroutine(_die(json.loads(sys.stdin.readline()))).addErrback(
        lambda failure: (failure.printTraceback(), reactor.stop()))  # type: ignore[attr-defined]
    reactor.run()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()

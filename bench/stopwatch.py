"""What a critical section spends its time with, phase by phase; and the same statements in one round trip.

    python -m bench.stopwatch     a line of JSON for each line on standard input: `GATE KICK` or `floor`

connects to DEPLOYER_DSN with PGPASSWORD. It ends with its input. The watch stands where the product meets the server
and where it writes its log: it wraps these few functions, and nothing of the product knows of it.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from functools import wraps
from typing import Any

import psycopg2
from psycopg2 import sql
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from bench.database import SPARED
from bench.peers.floor import ROUND_TRIP
from demo import application
from downtime import node, statements
from downtime.apply import Deployment
from downtime.chronicle import Chronicle
from downtime.ledger import Origin
from downtime.outage import Outage
from downtime.patches import Lane, Patch
from downtime.phases import Phase
from downtime.ready import Rules
from downtime.target import Target

PATCH = "-- apply: cold\nCOMMENT ON TABLE account IS 'phase by phase, {number}';\n"
STATEMENT = "a statement"  # what `downtime.node` calls it


@dataclass(slots=True, kw_only=True)
class Spent:
    """On one phase; seconds."""

    seconds: float = 0.0
    round_trips: int = 0
    server_seconds: float = 0.0     # in which at least one statement was sent and not answered
    processor_seconds: float = 0.0  # of the reactor's thread
    log_seconds: float = 0.0        # of these, for what is told of the phase
    collecting_seconds: float = 0.0  # and for collecting garbage


@dataclass(slots=True)
class Watch:
    """Of one section: `phases` is filled as they end."""

    phases: dict[str, Spent] = field(default_factory=dict)
    _now: Spent = field(default_factory=Spent)
    _began: float = 0.0
    _processor_began: float = 0.0
    _under_way: int = 0
    _asking_since: float = 0.0
    _collecting_since: float = 0.0

    def begin(self) -> None:
        self._now, self._began, self._processor_began = Spent(), time.monotonic(), time.thread_time()

    def sent(self) -> None:
        self._now.round_trips += 1
        if self._under_way == 0:
            self._asking_since = time.monotonic()
        self._under_way += 1

    def answered(self, result: Any) -> Any:
        self._under_way -= 1
        if self._under_way == 0:
            self._now.server_seconds += time.monotonic() - self._asking_since
        return result

    def collecting(self, moment: str, _: object) -> None:
        if moment == "start":
            self._collecting_since = time.monotonic()
        else:
            self._now.collecting_seconds += time.monotonic() - self._collecting_since

    def ended(self, phase: Phase) -> None:
        self._now.seconds = time.monotonic() - self._began
        self._now.processor_seconds = time.thread_time() - self._processor_began
        self.phases[str(phase)] = self._now
        self.begin()

    def logged(self, seconds: float) -> None:
        self._now.log_seconds += seconds


@contextmanager
def watching() -> Iterator[Watch]:
    """The sections that run in the block are watched."""
    watch = Watch()
    within, start, done = node._within, Chronicle.start, Chronicle.done

    def asking(reactor: Any, answer: Deferred[Any], *rest: Any) -> Any:
        if rest[-1] == STATEMENT:
            watch.sent()
            answer.addBoth(watch.answered)
        return within(reactor, answer, *rest)

    def starting(chronicle: Chronicle) -> None:
        start(chronicle)
        watch.begin()

    def ending(chronicle: Chronicle, phase: Phase, summary: str) -> None:
        timed(done, watch)(chronicle, phase, summary)
        watch.ended(phase)

    with ExitStack() as put_back:
        for owner, name, ours in ((node, "_within", asking), (Chronicle, "start", starting),
                                  (Chronicle, "done", ending), (Chronicle, "note", timed(Chronicle.note, watch))):
            put_back.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, ours)
        gc.callbacks.append(watch.collecting)
        put_back.callback(gc.callbacks.remove, watch.collecting)
        yield watch


def timed(function: Callable[..., None], watch: Watch) -> Callable[..., None]:
    @wraps(function)
    def logging(*given: Any) -> None:
        began = time.monotonic()
        function(*given)
        watch.logged(time.monotonic() - began)
    return logging


def a_patch(number: int) -> Patch:
    text, name = PATCH.format(number=number), f"phases-{number}"
    return Patch(id=name, path=f"{name}.sql", number=(number,), lane=Lane.COLD, declared=True,
                 sha256=hashlib.sha256(text.encode()).hexdigest(), sql=text, commit="c" * 40)


async def section(target: Target, patch: Patch, *, gate: str, kick: str) -> dict[str, Any]:
    """Deploy the patch; what each phase has spent. Raises what the outage has failed with."""
    outage = Outage(target, Deployment(patch=patch, statements=statements.examine(patch), origin=Origin()),
                    Rules(gate=gate, kick=kick, spared=SPARED, fragile=frozenset({application.FRAGILE})))
    try:
        await outage.prepare(lambda entries: ())
        with watching() as watch:
            report = await outage.run()
    finally:
        await outage.close()
    if report.error is not None:
        raise report.error
    return {name: asdict(spent) for name, spent in watch.phases.items()}


def floor(target: Target, patch: Patch) -> dict[str, Any]:
    """Seconds of the one round trip, on a session that has asked nothing before."""
    (spared,) = SPARED
    literals = {"id": patch.id, "sha256": patch.sha256, "commit": patch.commit, "fragile": application.FRAGILE,
                "spared": spared}
    statement = sql.SQL(ROUND_TRIP).format(patch=sql.SQL(patch.sql),
                                           **{name: sql.Literal(text) for name, text in literals.items()})
    with closing(psycopg2.connect(target.dsn, password=target.password, application_name="floor")) as connection:
        connection.autocommit = True
        text = statement.as_string(connection)
        began = time.monotonic()
        connection.cursor().execute(text)
        return {"floor": asdict(Spent(seconds=time.monotonic() - began, round_trips=1))}


async def _main(reactor: Any) -> None:
    target, number = Target(dsn=os.environ["DEPLOYER_DSN"]), 0
    while line := await deferToThread(sys.stdin.readline):
        number += 1
        match line.split():
            case ["floor"]:
                answer = floor(target, a_patch(number))
            case [gate, kick]:
                answer = await section(target, a_patch(number), gate=gate, kick=kick)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    task.react(lambda reactor: Deferred.fromCoroutine(_main(reactor)))

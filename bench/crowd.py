"""The application's clients of a contest, a hundred in a process, and what they see.

    python -m bench.crowd --idle 300 --connecting 150 --writing 50 --reporting 2

connects to CROWD_DSN. Idle clients keep a connection and do nothing; those that are connecting open one, ask once,
close it and pause; those that write keep theirs and pause between two UPDATEs; those that report read in transactions
that last. A client that is cut or refused comes back after 10 ms, again and again. Each line on standard input is
answered with one line of JSON: what was seen since the last one. It ends with the input.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import selectors
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from math import ceil
from typing import Any

import psycopg2

from demo.clients import AFTER_ERROR_SECONDS, STDIN, WRITE, Loop, Ready, Steps, answered, execute
from demo.companions import Companion, client_arguments
from downtime.probing import classify

KINDS = ("idle", "connecting", "writing", "reporting")
READ = "SELECT count(*) FROM account"
PAUSE_SECONDS = {"connecting": 2.0, "writing": 0.5, "reporting": 1.0}  # on average, between two pieces of work
OF_ONE_PROCESS = 100  # clients: on machines of their own they would not wait for the processors of 500 backends
REPORT_SECONDS = 1.0  # that a report's transaction is open after it has read


@dataclass(slots=True, kw_only=True)
class Sights:
    """Since the last look; errors by SQLSTATE, or by class where it is not known."""

    refused: dict[str, int] = field(default_factory=dict)  # failed attempts to connect of those that only connect
    cut: dict[str, int] = field(default_factory=dict)      # everybody's other errors
    calls: int = 0
    longest_call_seconds: float = 0.0  # from when a client wanted an answer until it had one, or until now
    away: int = 0                      # clients that have failed, or not begun, and have not got anything since

    def beside(self, others: Sights) -> Sights:
        """With what other clients have seen in the same time."""
        return Sights(refused=dict(Counter(self.refused) + Counter(others.refused)),
                      cut=dict(Counter(self.cut) + Counter(others.cut)), calls=self.calls + others.calls,
                      longest_call_seconds=max(self.longest_call_seconds, others.longest_call_seconds),
                      away=self.away + others.away)

    def then(self, later: Sights) -> Sights:
        """With what the same clients have seen afterwards."""
        return replace(self, away=0).beside(later)


class Watch:
    """What all clients see. Instants are of the monotonic clock."""

    def __init__(self) -> None:
        self._sights = Sights()
        self._wanting: dict[object, float] = {}  # since when
        self._away: set[object] = set()

    def arrives(self, client: object) -> None:
        self._away.add(client)

    def wants(self, client: object) -> None:
        self._wanting.setdefault(client, time.monotonic())

    def has(self, client: object) -> None:
        """What it wanted."""
        self._sights.calls += 1
        self._note(time.monotonic() - self._wanting.pop(client))
        self._away.discard(client)

    def failed(self, client: object, error: psycopg2.Error, *, only_connects: bool) -> None:
        self.wants(client)
        self._away.add(client)
        where = self._sights.refused if only_connects else self._sights.cut
        state = classify(error)
        where[state] = where.get(state, 0) + 1

    def look(self) -> Sights:
        now = time.monotonic()
        for since in self._wanting.values():
            self._note(now - since)
        sights, self._sights = self._sights, Sights()
        sights.away = len(self._away)
        return sights

    def _note(self, seconds: float) -> None:
        self._sights.longest_call_seconds = max(self._sights.longest_call_seconds, seconds)


class Client:
    """One client, on one connection after another."""

    def __init__(self, dsn: str, kind: str, watch: Watch) -> None:
        self._dsn, self._kind, self._watch = dsn, kind, watch
        self._connection: Any = None
        self._work: Callable[[], Steps] = {"idle": self._stay, "connecting": self._look_in, "writing": self._write,
                                           "reporting": self._report}[kind]
        watch.arrives(self)

    def steps(self) -> Steps:
        """For ever."""
        while True:
            try:
                self._watch.wants(self)
                yield from self._open()
                yield from self._work()
            except psycopg2.Error as error:
                connecting = self._connection is None
                self._watch.failed(self, error, only_connects=connecting and self._kind == "connecting")
                self._close()
                yield AFTER_ERROR_SECONDS

    def _open(self) -> Steps:
        if self._connection is None:
            connection = psycopg2.connect(self._dsn, application_name=f"{self._kind} client", async_=True)
            yield from answered(connection)
            self._connection = connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _stay(self) -> Steps:
        self._watch.has(self)
        yield Ready(self._connection.fileno(), selectors.EVENT_READ)  # only its end makes it readable
        yield from answered(self._connection)

    def _look_in(self) -> Steps:
        yield from execute(self._connection, READ)
        self._watch.has(self)
        self._close()
        yield _pause(self._kind)

    def _write(self) -> Steps:
        yield from execute(self._connection, WRITE)
        self._watch.has(self)
        yield _pause(self._kind)

    def _report(self) -> Steps:
        yield from execute(self._connection, "BEGIN")
        yield from execute(self._connection, READ)
        self._watch.has(self)
        yield REPORT_SECONDS
        yield from execute(self._connection, "COMMIT")
        yield _pause(self._kind)


class Crowd:
    """Such processes, from outside."""

    def __init__(self, dsn: str, **numbers: int) -> None:
        """So many of each kind. The connection string has the password; it travels in the environment."""
        self._companions = [Companion("bench.crowd", *client_arguments(**each), CROWD_DSN=dsn)
                            for each in shared_out(numbers)]

    def look(self) -> Sights:
        """Since the last look. Raises CompanionError."""
        return reduce(Sights.beside, [Sights(**json.loads(each.ask("look"))) for each in self._companions])

    def stop(self) -> None:
        for each in self._companions:
            each.stop()


def shared_out(numbers: Mapping[str, int]) -> list[dict[str, int]]:
    """Who goes into which process."""
    processes = max(1, ceil(sum(numbers.values()) / OF_ONE_PROCESS))
    return [{kind: number // processes + (index < number % processes) for kind, number in numbers.items()}
            for index in range(processes)]


def _pause(kind: str) -> float:
    return PAUSE_SECONDS[kind] * random.uniform(0.5, 1.5)  # those that waited together do not call together


def answer(loop: Loop, watch: Watch) -> Steps:
    """One line for each line; the end of the input ends the loop."""
    while True:
        yield Ready(STDIN, selectors.EVENT_READ)
        if not os.read(STDIN, 100):
            loop.ended = True
            return
        print(json.dumps(asdict(watch.look())), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.crowd", description="Clients of CROWD_DSN.")
    for kind in KINDS:
        parser.add_argument(f"--{kind}", type=int, default=0, metavar="N")
    wanted = parser.parse_args()
    loop, watch = Loop(), Watch()
    loop.add(answer(loop, watch))
    for kind in KINDS:
        for _ in range(getattr(wanted, kind)):
            loop.add(Client(os.environ["CROWD_DSN"], kind, watch).steps(),
                     after_seconds=random.uniform(0, PAUSE_SECONDS.get(kind, 0)))
    loop.run()


if __name__ == "__main__":
    main()

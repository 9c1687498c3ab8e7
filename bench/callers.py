"""Clients that call a database again and again and note how long each call took, in a process of their own.

    python -m bench.callers --kept 500 --rest 0.5

connects to CALLERS_DSN. `--kept` clients stay connected, `--fresh` ones connect for every call. A call that fails is
counted and made anew after 0.1 s; its time goes on. Each line on standard input is answered with one line of JSON: what
was seen since the last one. It ends with the input.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import selectors
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import psycopg2

from demo.clients import STDIN, Loop, Ready, Steps, answered, execute
from demo.companions import Companion
from downtime.probing import classify

STATEMENT = "SELECT count(*) FROM account"
AGAIN_SECONDS = 0.1


@dataclass(slots=True, kw_only=True)
class Seen:
    """Since the last look; errors by SQLSTATE, or by class where it is not known."""

    calls: int = 0
    errors: dict[str, int] = field(default_factory=dict)      # of clients that were connected
    refused: dict[str, int] = field(default_factory=dict)     # of attempts to connect
    longest_call_seconds: float = 0.0
    longest_gap_seconds: float = 0.0  # between two calls that succeeded, whoever made them
    waiting_seconds: float = 0.0      # of the call, among those without an answer, that was begun first


class Watch:
    """What all of them see. Instants are of the monotonic clock."""

    def __init__(self) -> None:
        self._seen = Seen()
        self._answered_at = time.monotonic()
        self._begun: dict[Caller, float] = {}

    def begins(self, caller: Caller) -> None:
        self._begun[caller] = time.monotonic()

    def failed(self, error: psycopg2.Error, *, connected: bool) -> None:
        where = self._seen.errors if connected else self._seen.refused
        state = classify(error)
        where[state] = where.get(state, 0) + 1

    def succeeded(self, caller: Caller) -> None:
        now = time.monotonic()
        self._seen.calls += 1
        self._seen.longest_call_seconds = max(self._seen.longest_call_seconds, now - self._begun.pop(caller))
        self._seen.longest_gap_seconds = max(self._seen.longest_gap_seconds, now - self._answered_at)
        self._answered_at = now

    def look(self) -> Seen:
        """Since the last look."""
        now = time.monotonic()
        seen, self._seen, self._answered_at = self._seen, Seen(), now
        seen.waiting_seconds = now - min(self._begun.values(), default=now)
        return seen


class Caller:
    """One client."""

    def __init__(self, dsn: str, watch: Watch, *, rest_seconds: float) -> None:
        self._dsn, self._watch, self._rest_seconds = dsn, watch, rest_seconds
        self._connection: Any = None

    def steps(self, *, keeps: bool) -> Steps:
        """For ever."""
        while True:
            self._watch.begins(self)
            while True:
                try:
                    yield from self._call()
                    break
                except psycopg2.Error as error:
                    self._watch.failed(error, connected=self._connection is not None)
                    self._hang_up()
                    yield AGAIN_SECONDS
            self._watch.succeeded(self)
            if not keeps:
                self._hang_up()
            yield self._rest_seconds * random.uniform(0.5, 1.5)  # those that waited together do not call together

    def _call(self) -> Steps:
        if self._connection is None:
            connection = psycopg2.connect(self._dsn, application_name="caller", async_=True)
            yield from answered(connection)
            self._connection = connection
        yield from execute(self._connection, STATEMENT)

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def answer(loop: Loop, watch: Watch) -> Steps:
    """One line for each line; the end of the input ends the loop."""
    while True:
        yield Ready(STDIN, selectors.EVENT_READ)
        if not os.read(STDIN, 100):
            loop.ended = True
            return
        print(json.dumps(asdict(watch.look())), flush=True)


class Callers:
    """Such a process, from outside."""

    def __init__(self, dsn: str, *, kept: int = 0, fresh: int = 0, rest_seconds: float = 0.02) -> None:
        self._companion = Companion("bench.callers", "--kept", str(kept), "--fresh", str(fresh),
                                    "--rest", str(rest_seconds), CALLERS_DSN=dsn)

    def seen(self) -> Seen:
        """Since the last look. Raises CompanionError."""
        return Seen(**json.loads(self._companion.ask("look")))

    def end(self) -> None:
        self._companion.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kept", type=int, default=0)
    parser.add_argument("--fresh", type=int, default=0)
    parser.add_argument("--rest", type=float, default=0.02, metavar="SECONDS", help="of a client between two calls")
    given = parser.parse_args()
    loop, watch = Loop(), Watch()
    number = given.kept + given.fresh
    for index in range(number):
        caller = Caller(os.environ["CALLERS_DSN"], watch, rest_seconds=given.rest)
        loop.add(caller.steps(keeps=index < given.kept), after_seconds=given.rest * index / number)
    loop.add(answer(loop, watch))
    loop.run()


if __name__ == "__main__":
    main()

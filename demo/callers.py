"""Clients that call a database again and again and note how long each call took, in a process of their own.

    python -m demo.callers --kept 500 --rest 0.5

connects to CALLERS_DSN. `--kept` clients stay connected, `--fresh` ones connect for every call. A call that fails is
counted and made anew at once; its time goes on. Each line on standard input is answered with one line of JSON: what was
seen since the last one. It ends with the input.
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
AGAIN_SECONDS = 0.01


@dataclass(slots=True, kw_only=True)
class Seen:
    """Since the last look; errors by SQLSTATE, or by class where it is not known."""

    calls: int = 0
    errors: dict[str, int] = field(default_factory=dict)      # of clients that were connected
    refused: dict[str, int] = field(default_factory=dict)     # of attempts to connect
    longest_call_seconds: float = 0.0
    longest_gap_seconds: float = 0.0  # between two calls that succeeded, whoever made them


class Caller:
    """One client."""

    def __init__(self, dsn: str, seen: list[Seen], ends: list[float], *, rest_seconds: float) -> None:
        self._dsn, self._seen, self._ends, self._rest_seconds = dsn, seen, ends, rest_seconds
        self._connection: Any = None

    def steps(self, *, keeps: bool) -> Steps:
        """For ever."""
        while True:
            began = time.monotonic()
            while True:
                try:
                    yield from self._call()
                    break
                except psycopg2.Error as error:
                    self._failed(error)
                    yield AGAIN_SECONDS
            self._succeeded(time.monotonic() - began)
            if not keeps:
                self._hang_up()
            yield self._rest_seconds * random.uniform(0.5, 1.5)  # those that waited together do not call together

    def _call(self) -> Steps:
        if self._connection is None:
            connection = psycopg2.connect(self._dsn, application_name="caller", async_=True)
            yield from answered(connection)
            self._connection = connection
        yield from execute(self._connection, STATEMENT)

    def _failed(self, error: psycopg2.Error) -> None:
        where = self._seen[0].refused if self._connection is None else self._seen[0].errors
        state = classify(error)
        where[state] = where.get(state, 0) + 1
        self._hang_up()

    def _succeeded(self, seconds: float) -> None:
        seen, now = self._seen[0], time.monotonic()
        seen.calls += 1
        seen.longest_call_seconds = max(seen.longest_call_seconds, seconds)
        seen.longest_gap_seconds = max(seen.longest_gap_seconds, now - self._ends[0])
        self._ends[0] = now

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def answer(loop: Loop, seen: list[Seen], ends: list[float]) -> Steps:
    """One line for each line; the end of the input ends the loop."""
    while True:
        yield Ready(STDIN, selectors.EVENT_READ)
        if not os.read(STDIN, 100):
            loop.ended = True
            return
        print(json.dumps(asdict(seen[0])), flush=True)
        seen[0], ends[0] = Seen(), time.monotonic()


class Callers:
    """Such a process, from outside."""

    def __init__(self, dsn: str, *, kept: int = 0, fresh: int = 0, rest_seconds: float = 0.02) -> None:
        self._companion = Companion("demo.callers", "--kept", str(kept), "--fresh", str(fresh),
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
    loop, seen, ends = Loop(), [Seen()], [time.monotonic()]
    number = given.kept + given.fresh
    for index in range(number):
        caller = Caller(os.environ["CALLERS_DSN"], seen, ends, rest_seconds=given.rest)
        loop.add(caller.steps(keeps=index < given.kept), after_seconds=given.rest * index / number)
    loop.add(answer(loop, seen, ends))
    loop.run()


if __name__ == "__main__":
    main()

"""The sample application's clients, hundreds of them in one process of their own.

    python -m demo.clients --idle 50 --reconnecting 100 --writing 5

connects to CLIENTS_DSN, and to FRAGILE_DSN for the fragile script (in the environment, because they hold passwords).
It answers each line on standard input with one line of JSON: `report` only answers, `begin` and `commit` move the
fragile script into and out of a transaction first, `rest` and `work` tell the others when to be at work. It ends at
the end of the input or on SIGTERM, with a last line.

Clients that are cut or refused come back at once, as badly behaved ones do. They are generators that say what they
wait for, driven by one selector: threads would cost more processor than the server they talk to.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import itertools
import json
import os
import random
import selectors
import signal
import time
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, field
from typing import Any

import psycopg2
import psycopg2.extensions

from downtime.probing import classify

AFTER_ERROR_SECONDS = 0.01          # as soon as a client's library would try again
HELD_SECONDS = (0.05, 0.15)         # how long a reconnecting client keeps its connection
BETWEEN_WRITES_SECONDS = 0.02
BETWEEN_CALLS_SECONDS = 0.02
RESTING_SECONDS = 0.1               # between two looks whether there is work again
STDIN = 0
KINDS = ("idle", "reconnecting", "calling", "writing")
READ = "SELECT sum(balance) FROM account"
WRITE = "UPDATE account SET balance = balance + 1 WHERE id = 1 + random() * 9"


@dataclass(frozen=True, slots=True)
class Ready:
    """What a client waits for: a socket to become readable or writable."""

    descriptor: int
    event: int


Steps = Generator[Ready | float, None, None]  # a float: so many seconds


@dataclass(slots=True, kw_only=True)
class Tally:
    """What all clients saw since the process began."""

    connected: int = 0                # connections opened
    queries: int = 0
    writes: int = 0
    errors: dict[str, int] = field(default_factory=dict)  # by SQLSTATE, or by class where it is not known
    longest_connect_seconds: float = 0.0
    longest_call_seconds: float = 0.0  # one statement on a connection that stands
    fragile_in_transaction: bool = False
    fragile_harmed: int = 0           # transactions of the fragile script that somebody else ended

    def failed(self, error: psycopg2.Error) -> None:
        state = classify(error)
        self.errors[state] = self.errors.get(state, 0) + 1

    def answer(self) -> None:
        print(json.dumps(asdict(self)), flush=True)


class Loop:
    """Drives generators: each runs until it waits, and again when what it waits for has come."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Steps]] = []
        self._order = itertools.count()  # generators cannot be compared
        self.ended = False

    def add(self, steps: Steps, *, after_seconds: float = 0.0) -> None:
        heapq.heappush(self._timers, (time.monotonic() + after_seconds, next(self._order), steps))

    def run(self) -> None:
        """Run until `ended`."""
        while not self.ended:
            timeout = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
            for key, _ in self._selector.select(timeout):
                self._selector.unregister(key.fd)
                self._advance(key.data)
            while self._timers and self._timers[0][0] <= time.monotonic() and not self.ended:
                self._advance(heapq.heappop(self._timers)[2])

    def _advance(self, steps: Steps) -> None:
        try:
            wanted = next(steps)
        except StopIteration:
            return
        if isinstance(wanted, Ready):
            self._selector.register(wanted.descriptor, wanted.event, steps)
        else:
            self.add(steps, after_seconds=wanted)


def answered(connection: psycopg2.extensions.connection) -> Steps:
    """Until the connection stands, or the statement sent on it is done. Raises psycopg2.Error."""
    events = {psycopg2.extensions.POLL_READ: selectors.EVENT_READ,
              psycopg2.extensions.POLL_WRITE: selectors.EVENT_WRITE}
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        yield Ready(connection.fileno(), events[state])


def execute(connection: psycopg2.extensions.connection, statement: str) -> Steps:
    cursor = connection.cursor()  # psycopg2 holds it weakly: it must live until the answer has come
    cursor.execute(statement)
    yield from answered(connection)


class Session:
    """One client's connection: opened, worked with, closed, opened again."""

    def __init__(self, dsn: str, name: str, tally: Tally) -> None:
        self._dsn = dsn
        self._name = name
        self._tally = tally
        self.connection: Any = None

    def open(self) -> Steps:
        began = time.monotonic()
        self.connection = psycopg2.connect(self._dsn, application_name=self._name, async_=True)
        yield from answered(self.connection)
        self._tally.connected += 1
        self._tally.longest_connect_seconds = max(self._tally.longest_connect_seconds, time.monotonic() - began)

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Pace:
    """Whether the clients work, or rest between two pieces of work: a hundred logins a second cost half a processor."""

    def __init__(self) -> None:
        self._resting = False

    def rest(self) -> Steps:
        self._resting = True
        yield from ()

    def work(self) -> Steps:
        self._resting = False
        yield from ()

    def asleep(self) -> Steps:
        while self._resting:
            yield RESTING_SECONDS


def persevering(session: Session, work: Callable[[Session], Steps], tally: Tally, pace: Pace) -> Steps:
    """Do a client's work on a fresh connection, over and over, whatever becomes of it."""
    while True:
        try:
            yield from pace.asleep()
            yield from session.open()
            yield from work(session)
        except psycopg2.Error as error:
            tally.failed(error)
            yield AFTER_ERROR_SECONDS
        finally:
            session.close()


def stay_idle(session: Session) -> Steps:
    """Wait for ever: only the end of the connection makes its socket readable."""
    while True:
        yield Ready(session.connection.fileno(), selectors.EVENT_READ)
        yield from answered(session.connection)


def call(session: Session, tally: Tally, statement: str) -> Steps:
    """One statement, timed."""
    began = time.monotonic()
    yield from execute(session.connection, statement)
    tally.longest_call_seconds = max(tally.longest_call_seconds, time.monotonic() - began)


def read_once(session: Session, tally: Tally) -> Steps:
    yield from call(session, tally, READ)
    tally.queries += 1
    yield random.uniform(*HELD_SECONDS)


def call_on(session: Session, tally: Tally, pace: Pace) -> Steps:
    while True:
        yield from pace.asleep()
        yield from call(session, tally, READ)
        tally.queries += 1
        yield BETWEEN_CALLS_SECONDS


def write_on(session: Session, tally: Tally, pace: Pace) -> Steps:
    while True:
        yield from pace.asleep()
        yield from call(session, tally, WRITE)
        tally.writes += 1
        yield BETWEEN_WRITES_SECONDS


class FragileScript:
    """Stays in one transaction while told to; counts the transactions that others ended."""

    def __init__(self, session: Session, tally: Tally) -> None:
        self._session = session
        self._tally = tally

    def begin(self) -> Steps:
        if self._tally.fragile_in_transaction:
            return  # already
        self._session.close()  # the last connection may have been cut while idle
        yield from self._session.open()
        yield from execute(self._session.connection, "BEGIN")
        yield from execute(self._session.connection, "INSERT INTO upload (path) VALUES ('incoming')")
        self._tally.fragile_in_transaction = True

    def commit(self) -> Steps:
        self.look()
        if self._tally.fragile_in_transaction:
            yield from execute(self._session.connection, "COMMIT")
            self._tally.fragile_in_transaction = False

    def look(self) -> None:
        """Notice that the connection was cut."""
        if not self._tally.fragile_in_transaction:
            return  # nothing to lose
        try:
            self._session.connection.poll()
        except psycopg2.Error as error:
            self.lost(error)

    def lost(self, error: psycopg2.Error) -> None:
        self._tally.failed(error)
        self._tally.fragile_harmed += self._tally.fragile_in_transaction
        self._tally.fragile_in_transaction = False
        self._session.close()


def obey(loop: Loop, fragile: FragileScript, tally: Tally, pace: Pace) -> Steps:
    """Read lines from standard input, act on them and answer each; the end of the input ends the loop."""
    acts: dict[bytes, Callable[[], Steps]] = {b"begin": fragile.begin, b"commit": fragile.commit,
                                               b"rest": pace.rest, b"work": pace.work}
    buffer = b""
    while True:
        yield Ready(STDIN, selectors.EVENT_READ)
        read = os.read(STDIN, 4096)
        *lines, buffer = (buffer + read).split(b"\n")
        for line in lines:
            try:
                if act := acts.get(line.strip()):
                    yield from act()
            except psycopg2.Error as error:
                fragile.lost(error)
            fragile.look()
            tally.answer()
        if not read:
            loop.ended = True
            return


class _Stopped(Exception):
    """SIGTERM: wherever the loop is, nothing of it is needed any more."""


def _stop(*_: object) -> None:
    raise _Stopped


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.clients", description="Clients of CLIENTS_DSN.")
    for kind in KINDS:
        parser.add_argument(f"--{kind}", type=int, default=0, metavar="N")
    wanted = parser.parse_args()
    if "CLIENTS_DSN" not in os.environ:
        parser.error("set CLIENTS_DSN to the application's database, password included")
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for our parent, whose end ends our input
    tally, loop, pace = Tally(), Loop(), Pace()
    fill(loop, wanted, os.environ["CLIENTS_DSN"], tally, pace)
    fragile_dsn = os.environ.get("FRAGILE_DSN", os.environ["CLIENTS_DSN"])
    loop.add(obey(loop, FragileScript(Session(fragile_dsn, "fragile script", tally), tally), tally, pace))
    with contextlib.suppress(_Stopped):
        loop.run()
    with contextlib.suppress(BrokenPipeError):  # our parent may have died
        tally.answer()


def fill(loop: Loop, wanted: argparse.Namespace, dsn: str, tally: Tally, pace: Pace) -> None:
    """Put so many clients of each kind into the loop."""
    work: dict[str, Callable[[Session], Steps]] = {
        "idle": stay_idle,
        "reconnecting": lambda session: read_once(session, tally),
        "calling": lambda session: call_on(session, tally, pace),
        "writing": lambda session: write_on(session, tally, pace),
    }
    for kind in KINDS:
        for _ in range(getattr(wanted, kind)):
            loop.add(persevering(Session(dsn, f"{kind} client", tally), work[kind], tally, pace))


if __name__ == "__main__":
    main()

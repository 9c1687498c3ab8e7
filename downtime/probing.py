"""Connects to a database over and over and times how long it could not: the outage as a client sees it.

A process of its own (`python -m downtime.probing`), so that neither its work nor ours disturbs the other's times.
It knows nothing of deployments: plain psycopg2, blocking, two threads that spend their time inside libpq.

* One thread opens a connection, asks `SELECT 1` and closes it, as fast as it can.
* One keeps a connection and asks every 2 ms, connecting again when it is cut.

Neither gives up waiting: a client that is held is not refused. Where to connect is read from PROBER_DSN and
PGPASSWORD, because everybody on the machine can read a command line. When the first connection has succeeded a line
is printed, and another for each line `report` on standard input: a `Report` in JSON for the time since the line before.
At the end of the input, or on SIGTERM, a last one is printed and the process ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import statistics
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

import psycopg2
import psycopg2.extensions

APPLICATION = "fastdowntime prober"  # as pg_stat_activity shows its sessions, and so every kick report
PAUSE_SECONDS = 0.002          # of the persistent connection between two questions
AFTER_ERROR_SECONDS = 0.001    # a server that is down refuses in 0.1 ms: asking faster only heats the machine
FIRST_SUCCESS_SECONDS = 10.0   # without one in this time nobody would believe the next figures either
GAPS_KEPT = 10_000             # for the median: about a minute's worth, whatever the run's length

# psycopg2 has no SQLSTATE for what happens before a connection stands: the server's sentence is all there is
SENTENCES = {
    "55000": r"not currently accepting connections",
    "53300": r"too many (clients|connections)|connection slots are reserved",
    "57P01": r"terminating connection due to administrator command",
    "57P03": r"the database system is (starting up|shutting down|in recovery mode|not )",
    "42501": r"permission denied",
    "28P01": r"password authentication failed",
    "28000": r"no pg_hba\.conf entry|is not permitted to log in|role .* does not exist",
    "3D000": r'database "[^"]*" does not exist',
    "08001": r"Connection refused|timeout expired|could not translate host name|No route to host",
    "08006": r"closed the connection unexpectedly|connection has been closed|Connection reset",
}

HOPELESS = {"28P01", "28000", "3D000", "42501"}  # at the start: asking again will not help


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a client saw between two instants.

    A gap runs from the end of one successful round trip to the end of the next. One that is still open at
    `until_at` counts with its length so far, and again with its whole length in the next report.
    """

    since_at: datetime
    until_at: datetime
    attempts: int                  # to open a new connection
    successes: int
    outage_seconds: float          # longest gap between new connections
    resolution_seconds: float      # median of these gaps: what the prober sees where there is no outage
    persistent_gap_seconds: float  # longest gap on the connection that is kept
    longest_call_seconds: float    # one connect or one question, whether it succeeded or not
    errors: dict[str, int] = field(default_factory=dict)  # count by SQLSTATE, or by class where it is not known

    def to_json(self) -> str:
        """The report on one line."""
        return json.dumps(asdict(self), default=datetime.isoformat)

    @classmethod
    def from_json(cls, line: str) -> Report:
        """The report that `to_json` wrote. Raises ValueError where it did not."""
        try:
            fields = json.loads(line)
            instants = {name: datetime.fromisoformat(fields[name]) for name in ("since_at", "until_at")}
            return cls(**{**fields, **instants})
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a prober's report: {line!r}") from error


def classify(error: psycopg2.Error) -> str:
    """The SQLSTATE of an error, read from its sentence where psycopg2 has none; else the name of its class."""
    if error.pgcode:
        return str(error.pgcode)
    message = str(error)
    return next((state for state, sentence in SENTENCES.items() if re.search(sentence, message)),
                type(error).__name__)


class Gaps:
    """The times between successes. Pure: instants come from the caller, in seconds on one monotonic clock."""

    def __init__(self, started: float) -> None:
        self._last_success = started
        self._longest = 0.0
        self._recent: deque[float] = deque(maxlen=GAPS_KEPT)

    def succeeded(self, now: float) -> None:
        gap = now - self._last_success
        self._recent.append(gap)
        self._longest = max(self._longest, gap)
        self._last_success = now

    def take(self, now: float) -> tuple[float, float]:
        """The longest gap and the median one since the last call; the one still open is the longest if it is."""
        longest = max(self._longest, now - self._last_success)
        median = statistics.median(self._recent) if self._recent else longest
        self._longest = 0.0
        self._recent.clear()
        return longest, median


class Tally:
    """What both threads saw since the last report. Times are `time.monotonic`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since_at = datetime.now(UTC)
        started = time.monotonic()
        self._fresh, self._persistent = Gaps(started), Gaps(started)
        self._attempts = self._successes = 0
        self._longest_call = 0.0
        self._errors: Counter[str] = Counter()
        self.decided = threading.Event()  # the first connection has succeeded, or never will
        self.last_error = ""

    def fresh_attempt(self, attempt: Callable[[], None]) -> bool:
        """Time one new connection's round trip; whether it succeeded."""
        ended = self._time(attempt)
        with self._lock:
            self._attempts += 1
            if ended is not None:
                self._successes += 1
                self._fresh.succeeded(ended)
                self.decided.set()
        return ended is not None

    @property
    def succeeded(self) -> bool:
        """Whether a new connection has succeeded since the last report."""
        with self._lock:
            return self._successes > 0

    def persistent_attempt(self, attempt: Callable[[], None]) -> bool:
        """Time one question on the connection that is kept; whether it succeeded."""
        ended = self._time(attempt)
        if ended is not None:
            with self._lock:
                self._persistent.succeeded(ended)
        return ended is not None

    def take_report(self) -> Report:
        with self._lock:
            now, until_at = time.monotonic(), datetime.now(UTC)
            outage, resolution = self._fresh.take(now)
            persistent_gap, _ = self._persistent.take(now)
            report = Report(
                since_at=self._since_at, until_at=until_at, attempts=self._attempts, successes=self._successes,
                outage_seconds=outage, resolution_seconds=resolution, persistent_gap_seconds=persistent_gap,
                longest_call_seconds=self._longest_call, errors=dict(self._errors))
            self._since_at = until_at
            self._attempts = self._successes = 0
            self._longest_call = 0.0
            self._errors.clear()
        return report

    def _time(self, attempt: Callable[[], None]) -> float | None:
        """When the attempt ended; None where it failed, which is counted."""
        began, failure = time.monotonic(), None
        try:
            attempt()
        except psycopg2.Error as error:
            failure = error
        ended = time.monotonic()
        with self._lock:
            self._longest_call = max(self._longest_call, ended - began)
            if failure is not None:
                self._count(failure)
        return ended if failure is None else None

    def _count(self, failure: psycopg2.Error) -> None:
        state = classify(failure)
        self._errors[state] += 1
        self.last_error = " ".join(str(failure).split())
        if state in HOPELESS:
            self.decided.set()


def probe_fresh(dsn: str, tally: Tally) -> None:
    """Open a connection, ask, close it; for ever."""
    def attempt() -> None:
        with contextlib.closing(_connect(dsn)) as connection:
            _ask(connection)

    while True:
        if not tally.fresh_attempt(attempt):
            time.sleep(AFTER_ERROR_SECONDS)


def probe_persistent(dsn: str, tally: Tally) -> None:
    """Ask on one connection, opened again when it is cut; for ever."""
    connection: psycopg2.extensions.connection | None = None

    def attempt() -> None:
        nonlocal connection
        if connection is None:
            connection = _connect(dsn)
        _ask(connection)

    while True:
        if tally.persistent_attempt(attempt):
            time.sleep(PAUSE_SECONDS)
            continue
        if connection is not None:
            connection.close()
            connection = None
        time.sleep(AFTER_ERROR_SECONDS)


def _connect(dsn: str) -> psycopg2.extensions.connection:
    connection = psycopg2.connect(dsn, application_name=APPLICATION)
    connection.autocommit = True  # never in a transaction, so never what makes a deployment wait
    return connection


def _ask(connection: psycopg2.extensions.connection) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _end_of_input(*_: object) -> None:
    # a read that a signal interrupts is repeated, and then finds the end
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


def main() -> int:
    """Probe until the input ends. The exit status: 1 where no connection succeeds at all, 2 without a DSN."""
    dsn = os.environ.get("PROBER_DSN")
    if not dsn:
        print("set PROBER_DSN to the database to probe, and PGPASSWORD to its password", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _end_of_input)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for our parent, who then ends our input
    tally = Tally()
    for loop in (probe_fresh, probe_persistent):
        threading.Thread(target=loop, args=(dsn, tally), daemon=True).start()
    tally.decided.wait(FIRST_SUCCESS_SECONDS)
    if not tally.succeeded:
        print(tally.last_error or f"no answer within {FIRST_SUCCESS_SECONDS:g} s", file=sys.stderr)
        return 1
    print(tally.take_report().to_json(), flush=True)
    for line in sys.stdin:
        if line.strip() == "report":
            print(tally.take_report().to_json(), flush=True)
    with contextlib.suppress(BrokenPipeError):  # our parent may have died
        print(tally.take_report().to_json(), flush=True)
    return 0


if __name__ == "__main__":
    status = main()
    # threads may be waiting inside libpq for as long as a gate is shut: leave without them
    sys.stderr.flush()
    os._exit(status)

"""A fragile user's script that does nothing but begin, write and commit, and counts what became of it.

    FLAPPING_DSN=postgresql://… python -m demo.flapping PAUSE_SECONDS

It comes back at once when it is cut. It ends at the end of its input, looks which of its rows are there, and prints
its tally as one line of JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg2
import psycopg2.extensions

from demo.processes import without_postgres_variables

PAUSE_SECONDS = 0.01  # between two transactions, at most: without one it would never be seen idle
TABLE = "CREATE TABLE flapping (id text PRIMARY KEY); GRANT SELECT, INSERT ON flapping TO process_upload"


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of the transactions of one script, or of several."""

    transactions: int = 0  # begun
    cut_begun: int = 0     # ended when nothing but BEGIN had been acknowledged
    harmed: int = 0        # ended when a statement had been acknowledged as done, and it is not there
    unanswered: int = 0    # committed, but the client was not told

    def add(self, other: Tally) -> None:
        for name, count in asdict(other).items():
            setattr(self, name, getattr(self, name) + count)


class Script:
    """One client in a tight loop."""

    def __init__(self, dsn: str, pause_seconds: float) -> None:
        self._dsn = dsn
        self._pause_seconds = pause_seconds
        self._in_doubt: list[str] = []  # rows whose INSERT was acknowledged and whose COMMIT was not
        self.tally = Tally()
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            with contextlib.suppress(psycopg2.Error), contextlib.closing(psycopg2.connect(self._dsn)) as connection:
                connection.autocommit = True
                while not self.ended.is_set():
                    self._one_transaction(connection.cursor())
                    time.sleep(random.uniform(0, self._pause_seconds))

    def _one_transaction(self, cursor: psycopg2.extensions.cursor) -> None:
        row = str(uuid.uuid4())
        cursor.execute("BEGIN")
        self.tally.transactions += 1
        try:
            cursor.execute("INSERT INTO flapping VALUES (%s)", (row,))
        except psycopg2.Error:
            self.tally.cut_begun += 1
            raise
        self._in_doubt.append(row)
        cursor.execute("COMMIT")
        self._in_doubt.remove(row)

    def settle(self) -> None:
        """Ask the database about what was in doubt."""
        with contextlib.closing(psycopg2.connect(self._dsn)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM flapping WHERE id = ANY (%s)", (self._in_doubt,))
            self.tally.unanswered = cursor.fetchall()[0][0]
        self.tally.harmed = len(self._in_doubt) - self.tally.unanswered


@contextlib.contextmanager
def flapping(dsn: str, *, scripts: int, pause_seconds: float = PAUSE_SECONDS) -> Iterator[Tally]:
    """So many scripts, each in its own process; the tally is filled when the block ends."""
    tally = Tally()
    command = [sys.executable, "-m", "demo.flapping", str(pause_seconds)]
    processes = [subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent,
        env=without_postgres_variables(FLAPPING_DSN=dsn)) for _ in range(scripts)]
    try:
        yield tally
    finally:
        answers = [process.communicate()[0] for process in processes]
    for answer in answers:
        tally.add(Tally(**json.loads(answer)))


def main() -> None:
    script = Script(os.environ["FLAPPING_DSN"], float(sys.argv[1]))
    thread = threading.Thread(target=script.run)
    thread.start()
    sys.stdin.read()
    script.ended.set()
    thread.join()
    script.settle()
    print(json.dumps(asdict(script.tally)))


if __name__ == "__main__":
    main()

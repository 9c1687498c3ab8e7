"""Writers that check themselves: rows with rising numbers, and a memory of which were acknowledged.

    python -m demo.faults.writers

connects to WRITERS_DSN, and to FRAGILE_DSN for the fragile one (in the environment, because they hold passwords). It
answers each line on standard input with a tally as one line of JSON, and ends at the end of the input.

A writer that is cut comes back at once. It then looks whether the row it was writing is there, and writes it again if
it is not: in whatever way its COMMIT got lost, each number is to be in the table exactly once.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import psycopg2

from demo import application
from demo.companions import Companion
from downtime.probing import classify

AFTER_ERROR_SECONDS = 0.01
PAUSE_SECONDS = (0.01, 0.04)          # between two writes
FRAGILE_PAUSE_SECONDS = (0.2, 0.6)    # it writes now and then
FRAGILE_HELD_SECONDS = (0.01, 0.06)   # and holds its transaction open: some deployments are refused for it

# no unique key: a row that was written twice is to be seen
TABLE = f"""
SET ROLE {application.PATCHER};
CREATE TABLE written (writer int NOT NULL, number int NOT NULL);
CREATE INDEX ON written (writer, number);
GRANT SELECT, INSERT ON written TO {application.APPLICATION}, {application.FRAGILE};
RESET ROLE;
"""

# Numbers that are there more than once, and for each writer how many there are up to the last acknowledged one.
WRITTEN_TWICE = "SELECT writer, number, count(*) FROM written GROUP BY writer, number HAVING count(*) > 1 LIMIT 5"
WRITTEN = "SELECT count(DISTINCT number) FROM written WHERE writer = %s AND number BETWEEN 1 AND %s"


class Manner(StrEnum):
    """How a writer writes."""

    AUTOCOMMIT = "autocommit"
    TRANSACTION = "transaction"  # BEGIN, INSERT, COMMIT
    NEWCOMER = "newcomer"        # a new connection for every row: sees whether the door is open
    FRAGILE = "fragile"          # a longer transaction now and then, as the user whose work must not be lost


MANNERS = tuple(Manner)          # a writer's number is its place here


@dataclass(slots=True, kw_only=True)
class Tally:
    """What the writers know since they began."""

    acknowledged: list[int] = field(default_factory=list)  # the last number of each writer, by its place in MANNERS
    seen_later: int = 0            # committed, but the client was not told
    written_again: int = 0         # not committed, as a look has shown
    fragile_transactions: int = 0
    harmed: int = 0                # of the fragile ones: lost after a statement had been acknowledged
    shut_seconds: float = 0.0      # the longest time since the last report in which no newcomer had written a row
    errors: dict[str, int] = field(default_factory=dict)   # by SQLSTATE, or by class where it is not known


class Writer:
    """One client in a loop of its own."""

    def __init__(self, dsn: str, manner: Manner) -> None:
        self._dsn = dsn
        self._manner = manner
        self._id = MANNERS.index(manner)
        self._in_doubt = False   # the next number was being written when the connection was lost
        self._at_stake = False   # a statement of the open transaction was acknowledged
        self._last_at = time.monotonic()
        self._silent_seconds = 0.0
        self.acknowledged = 0
        self.tally = Tally()

    def run(self) -> None:
        """For ever."""
        while True:
            with contextlib.suppress(psycopg2.Error), contextlib.closing(self._connected()) as connection:
                self._settle_doubt(connection.cursor())
                self._write_on(connection.cursor())
            time.sleep(AFTER_ERROR_SECONDS)

    def silent_seconds(self) -> float:
        """The longest time since the last call in which nothing was acknowledged."""
        now = time.monotonic()
        longest, self._silent_seconds = max(self._silent_seconds, now - self._last_at), 0.0
        return longest

    def _connected(self) -> Any:
        try:
            connection = psycopg2.connect(self._dsn, application_name=f"{self._manner} writer")
        except psycopg2.Error as error:
            self._note(error)
            raise
        connection.autocommit = True
        return connection

    def _settle_doubt(self, cursor: Any) -> None:
        """What was cut has ended on the server: whoever is told that a connection is lost can ask."""
        if not self._in_doubt:
            return  # nothing was under way
        cursor.execute("SELECT count(*) FROM written WHERE writer = %s AND number = %s",
                       (self._id, self.acknowledged + 1))
        is_there = bool(cursor.fetchone()[0])
        if is_there:
            self._acknowledge()
        self.tally.seen_later += is_there
        self.tally.written_again += not is_there
        self.tally.harmed += self._at_stake and not is_there
        self._in_doubt = self._at_stake = False

    def _write_on(self, cursor: Any) -> None:
        while True:
            self._in_doubt = True
            try:
                self._write(cursor)
            except psycopg2.Error as error:
                self._note(error)
                raise
            self._in_doubt = self._at_stake = False
            self._acknowledge()
            time.sleep(random.uniform(*(FRAGILE_PAUSE_SECONDS if self._manner is Manner.FRAGILE else PAUSE_SECONDS)))
            if self._manner is Manner.NEWCOMER:
                return

    def _write(self, cursor: Any) -> None:
        if self._manner in (Manner.AUTOCOMMIT, Manner.NEWCOMER):
            self._insert(cursor)
            return
        cursor.execute("BEGIN")
        self._insert(cursor)
        if self._manner is Manner.FRAGILE:
            self._at_stake = True
            self.tally.fragile_transactions += 1
            time.sleep(random.uniform(*FRAGILE_HELD_SECONDS))
        cursor.execute("COMMIT")

    def _insert(self, cursor: Any) -> None:
        cursor.execute("INSERT INTO written VALUES (%s, %s)", (self._id, self.acknowledged + 1))

    def _acknowledge(self) -> None:
        now = time.monotonic()
        self._silent_seconds = max(self._silent_seconds, now - self._last_at)
        self._last_at = now
        self.acknowledged += 1

    def _note(self, error: psycopg2.Error) -> None:
        state = classify(error)
        self.tally.errors[state] = self.tally.errors.get(state, 0) + 1


def total(writers: Sequence[Writer]) -> Tally:
    """All writers in one tally."""
    errors: dict[str, int] = {}
    for writer in writers:
        for state, count in list(writer.tally.errors.items()):
            errors[state] = errors.get(state, 0) + count
    return Tally(
        acknowledged=[writer.acknowledged for writer in writers],
        seen_later=sum(writer.tally.seen_later for writer in writers),
        written_again=sum(writer.tally.written_again for writer in writers),
        fragile_transactions=sum(writer.tally.fragile_transactions for writer in writers),
        harmed=sum(writer.tally.harmed for writer in writers),
        shut_seconds=writers[MANNERS.index(Manner.NEWCOMER)].silent_seconds(), errors=errors)


class Writers:
    """The process, as whoever starts it sees it."""

    def __init__(self, dsn: str, fragile_dsn: str) -> None:
        """The connection strings include the passwords. Raises CompanionError."""
        self._companion = Companion("demo.faults.writers", WRITERS_DSN=dsn, FRAGILE_DSN=fragile_dsn)
        self.report()

    def report(self) -> Tally:
        """What they know by now. Raises CompanionError."""
        return Tally(**json.loads(self._companion.ask("report")))

    def stop(self) -> None:
        self._companion.stop()


def missing_or_doubled(tally: Tally, connection: Any) -> list[str]:
    """What is wrong with the table, in sentences. `tally` was reported before; later rows may be there already."""
    broken = []
    with connection.cursor() as cursor:
        for writer, last in enumerate(tally.acknowledged):
            cursor.execute(WRITTEN, (writer, last))
            (there,) = cursor.fetchone()
            if there != last:
                broken.append(f"of {last} rows of the {MANNERS[writer]} writer {last - there} are lost")
        cursor.execute(WRITTEN_TWICE)
        broken += [f"row {number} of the {MANNERS[writer]} writer is there {count} times"
                   for writer, number, count in cursor.fetchall()]
    return broken


def main() -> None:
    writers = [Writer(os.environ["FRAGILE_DSN" if manner is Manner.FRAGILE else "WRITERS_DSN"], manner)
               for manner in MANNERS]
    for writer in writers:
        threading.Thread(target=writer.run, daemon=True).start()
    for _ in sys.stdin:
        print(json.dumps(asdict(total(writers))), flush=True)


if __name__ == "__main__":
    main()

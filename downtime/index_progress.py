"""How far an index is that is being built: for the log when it changes, for a summary as often as it is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from downtime import blockers, errors
from downtime.node import Node, Row

LOG = Logger()

LOOK_SECONDS = 1.0
STEP_PER_CENT = 10  # a line of the log for each: four hours are no 14,400 lines

# The index one session is building. Takes no lock.
SELECT_PROGRESS = """
SELECT p.command, p.phase, p.blocks_total, p.blocks_done, p.tuples_total, p.tuples_done, p.lockers_total,
       p.lockers_done, coalesce(c.relname, p.relid::text) AS table
  FROM pg_catalog.pg_stat_progress_create_index p LEFT JOIN pg_catalog.pg_class c ON c.oid = p.relid
 WHERE p.pid = %s
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """One look at it."""

    text: str           # a line to be shown
    step: tuple[object, ...]  # what has to change for another line of the log


def stage(row: Row, *, waits_for: str) -> Stage:
    """What a row of the server's view says. `waits_for` names whose transactions it waits for."""
    head = f"{row['command']} on {row['table']}: {row['phase']}"
    if row["lockers_total"] and waits_for:
        return Stage(f"{head}, {row['lockers_done']} of {row['lockers_total']} have ended; waiting for {waits_for}",
                     (row["phase"], row["lockers_done"]))
    for unit in ("blocks", "tuples"):
        total, done = row[f"{unit}_total"], row[f"{unit}_done"]
        if total and done < total:
            per_cent = 100 * done // total
            return Stage(f"{head}, {per_cent} % ({done:,} of {total:,} {unit})",
                         (row["phase"], unit, per_cent // STEP_PER_CENT))
    return Stage(head, (row["phase"],))


class IndexProgress:
    """Watches one session build its indexes, over another one."""

    def __init__(self, worker: Node, control: Node, *, log: Callable[[str], None], summary: Callable[[str], None]
                 ) -> None:
        self._worker = worker
        self._control = control
        self._log = log
        self._summary = summary
        self._told: tuple[object, ...] = ()

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """While the block builds an index. What cannot be seen is noted, and fails nothing."""
        looking = LoopingCall(self._look)
        clock: Any = self._worker.reactor
        looking.clock = clock
        ended = looking.start(LOOK_SECONDS, now=False)
        try:
            yield
        finally:
            looking.stop()
            await ended

    async def _look(self) -> None:
        try:
            seen = await self._stage()
        except errors.NodeError as error:
            LOG.warn("the progress of an index could not be seen: {error}", error=error)
            return
        if seen is None:
            return
        self._summary(seen.text)
        if seen.step != self._told:
            self._told = seen.step
            self._log(f"    {seen.text}")

    async def _stage(self) -> Stage | None:
        rows = (await self._control.execute(SELECT_PROGRESS, (self._worker.pid,))).rows
        if not rows:
            return None
        found = await blockers.blocking(self._control, waiting=self._worker.pid) if rows[0]["lockers_total"] else ()
        return stage(rows[0], waits_for=blockers.listing(found) if found else "")

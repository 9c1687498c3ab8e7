"""End backends and see that they are gone: nobody opens a database while a session of ours may still commit in it.

A backend is told to end again and again until no trace of it is left. One that does not end keeps others from
opening, and is named: SurvivingBackends. Each statement works from any database of the cluster and takes no lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any

from twisted.internet.task import deferLater

from downtime import deployment_lock, errors
from downtime.node import Node

FENCE_SECONDS = 10.0   # an idle backend ends within 1 ms, a busy one within its cleanup; later it does not by itself
ANSWER_SECONDS = 2.0   # an answer takes 1 ms; later than this the way to the server is gone
LOOK_EVERY_SECONDS = 0.005

SELECT_OURSELVES = """
SELECT pg_catalog.pg_backend_pid() AS pid, backend_start AS started_at
  FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid())
"""

# Ends one backend, where it is there still.
END_BACKEND = """
SELECT pid, pg_catalog.pg_terminate_backend(pid)
  FROM pg_catalog.pg_stat_get_activity(%s) WHERE backend_start = %s
"""

# Ends whoever holds the deployment lock of a database.
END_DEPLOYERS = f"""
SELECT l.pid, pg_catalog.pg_terminate_backend(l.pid)
  FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_database d ON d.oid = l.database
 WHERE d.datname = %s AND l.locktype = 'advisory' AND l.granted
   AND l.classid = {deployment_lock.LOCK_CLASS} AND l.objid = {deployment_lock.DEPLOYMENT} AND l.objsubid = 2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One backend and no later one with the same pid."""

    pid: int
    started_at: datetime

    @property
    def name(self) -> str:
        """Short, and no other backend's: the pid and the time of day of its start."""
        return f"{self.pid} of {self.started_at:%H:%M:%S.%f}"

    @property
    def by(self) -> str:
        """The author of what outlives it: marks, and rows of what it holds."""
        return f"by backend {self.name}"


class SurvivingBackends(errors.NodeError):
    """Backends that were told to end are there still, and may still commit."""

    happened = "{node}: told to end {seconds:g} s ago and still there: pid {pids}"
    next_step = "see in pg_stat_activity what they wait for, and end these processes on the server's machine"

    def __init__(self, *, node: str, pids: Sequence[int], seconds: float) -> None:
        super().__init__(node=node, pids=", ".join(map(str, pids)), seconds=seconds)
        self.backends = tuple(pids)


async def backend_of(node: Node) -> Backend:
    """The backend that serves a session of ours."""
    (row,) = (await node.execute(SELECT_OURSELVES)).rows
    return Backend(**row)


async def end(backend: Backend, *, seen_from: Node, seconds: float = FENCE_SECONDS) -> None:
    """Returns when the backend is gone. Raises SurvivingBackends after `seconds`, or NodeError."""
    await _until_gone(seen_from, END_BACKEND, (backend.pid, backend.started_at), seconds)


async def end_deployers(database: str, *, seen_from: Node, seconds: float = FENCE_SECONDS) -> None:
    """Returns when nobody holds the deployment lock of the database. Raises as `end` does."""
    await _until_gone(seen_from, END_DEPLOYERS, (database,), seconds)


async def _until_gone(node: Node, statement: str, parameters: Sequence[Any], seconds: float) -> None:
    deadline = monotonic() + seconds
    while there := (await node.execute(statement, parameters, deadline_seconds=ANSWER_SECONDS)).rows:
        if monotonic() > deadline:
            raise SurvivingBackends(node=node.label, pids=[row["pid"] for row in there], seconds=seconds)
        await deferLater(node.reactor, LOOK_EVERY_SECONDS, lambda: None)

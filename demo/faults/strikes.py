"""The faults that are drawn by lot, done to a world; and how far the deployment had come a moment before."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import psycopg2

from demo import application
from demo.faults.draws import ENDS_A_SESSION, Draw, Fault, Since
from demo.faults.moments import IS_CLOSED
from demo.faults.sample import PATCH
from demo.faults.world import World
from demo.web import Build, WebError

CLOSING_SECONDS = 20.0  # from an approval, on a busy machine; a deployment that is refused never closes
LOOK_SECONDS = 0.004
FROZEN_SECONDS = 0.5
END_SECONDS = 25.0      # of a master that was asked to end

LET_SEE = f"""
GRANT USAGE ON SCHEMA fastdowntime TO {application.SPARED};
GRANT SELECT ON fastdowntime.ledger TO {application.SPARED};
"""
OURS = f"application_name LIKE 'fastdowntime%' AND usename = '{application.PATCHER}'"
PATCHING = f"{OURS} AND application_name LIKE '% {PATCH}'"
SESSIONS = {
    Fault.END_PATCHER: PATCHING,
    Fault.END_CONTROL: f"{OURS} AND application_name LIKE '% control'",
    Fault.END_GUARD: f"{OURS} AND application_name = 'fastdowntime guard'",
    Fault.END_ANY: OURS,
}
OF_THE_PATCH = ("ALTER TABLE account", "SELECT pg_sleep")
BEHIND_THE_PATCH = ("fastdowntime.ledger", "ALTER DATABASE", "ALTER ROLE", "COMMIT")
# Whether the gate is closed and the patch is in, and what the patching session does; waits for no lock.
LOOK = f"""
SELECT ({{is_closed}}), EXISTS (SELECT FROM fastdowntime.ledger WHERE id = '{PATCH}'),
       (SELECT query FROM pg_stat_activity WHERE {PATCHING} ORDER BY backend_start DESC LIMIT 1)
"""


class Reached(StrEnum):
    """How far a deployment had come, as seen a moment before the fault."""

    BEFORE = "before it begins"    # or when it was refused already
    PREPARED = "prepared"          # its sessions are open, and so is the database
    CLOSED = "gate closed"
    PATCHING = "in the patch"
    COMMITTING = "committing"
    COMMITTED = "after COMMIT"
    UNSEEN = "not seen"            # whoever was looking was cut as well


@dataclass(slots=True)
class Eyes:
    """Sessions that were there before the gate closes: the monitor's looks, the administrator's can end others."""

    world: World
    _monitor: Any
    _administrator: Any  # in the maintenance database, where no deployment looks for sessions to kick

    @classmethod
    def open(cls, world: World) -> Self:
        """Closed by `world.put_right()`, and the administrator's by `close()`."""
        administrator = psycopg2.connect(world.production.superuser_dsn(), application_name="administrator")
        administrator.autocommit = True
        return cls(world, world.connect(application.SPARED), administrator)

    def close(self) -> None:
        self._administrator.close()

    def reached(self) -> Reached:
        try:
            with self._monitor.cursor() as cursor:
                cursor.execute(LOOK.format(is_closed=IS_CLOSED[self.world.gate]))
                return _judged(*cursor.fetchone())
        except psycopg2.Error:
            return Reached.UNSEEN

    def await_closing(self) -> None:
        """Until the gate is closed, or was; for a deployment that was refused until its sessions are gone."""
        deadline, is_prepared = time.monotonic() + CLOSING_SECONDS, False
        while time.monotonic() < deadline:
            match self.reached():
                case Reached.BEFORE if not is_prepared:
                    pass
                case Reached.PREPARED:
                    is_prepared = True
                case _:
                    return
            time.sleep(LOOK_SECONDS)

    def sessions(self, fault: Fault) -> list[int]:
        """The process ids of those of our sessions that the fault is about."""
        return [pid for (pid,) in self._rows(f"SELECT pid FROM pg_stat_activity WHERE {SESSIONS[fault]} ORDER BY pid")]

    def end(self, pid: int) -> None:
        self._rows(f"SELECT pg_terminate_backend({pid})")

    def _rows(self, question: str) -> list[tuple[Any, ...]]:
        with self._administrator.cursor() as cursor:
            cursor.execute(question)
            return list(cursor.fetchall())


def _judged(closed: bool, recorded: bool, query: str | None) -> Reached:
    if recorded:
        return Reached.COMMITTED
    if not closed:
        return Reached.PREPARED if query else Reached.BEFORE
    stages = ((Reached.PATCHING, OF_THE_PATCH), (Reached.COMMITTING, BEHIND_THE_PATCH))
    return next((stage for stage, words in stages if query and any(word in query for word in words)), Reached.CLOSED)


def wait_for_instant(draw: Draw, eyes: Eyes, usual_seconds: float) -> float | None:
    """Called at the approval, returns at the drawn instant. It is real time: a seed need not hit the same twice.

    The answer is how many seconds the gate took to close, where that was waited for.
    """
    approved_at = since = time.monotonic()
    if draw.since is Since.CLOSING:
        eyes.await_closing()
        since = time.monotonic()
    time.sleep(max(0.0, since + draw.after_seconds(usual_seconds) - time.monotonic()))
    return since - approved_at if draw.since is Since.CLOSING else None


def strike(world: World, draw: Draw, eyes: Eyes, build: Build) -> str:
    """Let it happen; says what was hit where there was nothing to hit. What was killed of the server is back."""
    fault = draw.fault
    if fault in ENDS_A_SESSION or fault is Fault.FREEZE:
        return _hit_a_session(world, draw, eyes)
    acts: dict[Fault, Callable[[], object]] = {
        Fault.NOTHING: lambda: None,
        Fault.KILL_MASTER: world.master.kill,
        Fault.TERM_MASTER: lambda: _signal(world, signal.SIGTERM),
        Fault.STOP: lambda: _press_stop(world, build),
        Fault.RECONFIGURE: world.reconfigure,
        Fault.CUT: world.proxy.cut,
        Fault.CUT_AND_KILL: world.proxy.cut,
        Fault.DROP: world.proxy.drop,
        Fault.KILL_SERVER: world.production.kill,
        Fault.KILL_BOTH: lambda: _kill_both(world),
    }
    acts[fault]()
    if fault is Fault.CUT_AND_KILL:
        time.sleep(draw.aftermath_seconds)
        world.master.kill()
    if fault.kills_server:
        time.sleep(draw.aftermath_seconds)
        world.production.start()
    return ""


def mend(world: World, draw: Draw) -> None:
    """The network is back, and a master that was told to end has ended."""
    if draw.fault in (Fault.CUT, Fault.CUT_AND_KILL):
        time.sleep(draw.aftermath_seconds)
        world.proxy.restore()
    if draw.fault is Fault.TERM_MASTER:
        deadline = time.monotonic() + END_SECONDS
        while world.master.process is not None:
            if time.monotonic() > deadline:
                raise AssertionError(f"the master has not ended {END_SECONDS:g} s after SIGTERM")
            time.sleep(0.02)
    if draw.fault.stops_master:
        world.master.kill()


def _hit_a_session(world: World, draw: Draw, eyes: Eyes) -> str:
    pids = eyes.sessions(Fault.END_PATCHER if draw.fault is Fault.FREEZE else draw.fault)
    if not pids:
        return "there was none"
    pid = pids[int(draw.lot * len(pids))]
    if draw.fault is not Fault.FREEZE:
        eyes.end(pid)
        return ""
    world.freeze(pid)
    time.sleep(FROZEN_SECONDS)
    world.thaw()
    return ""


def _press_stop(world: World, build: Build) -> None:
    with contextlib.suppress(WebError):  # it has ended already
        world.as_("operator").stop(build, "by chance")


def _kill_both(world: World) -> None:
    _signal(world, signal.SIGKILL)
    world.production.kill()


def _signal(world: World, number: signal.Signals) -> None:
    if (process := world.master.process) is not None:
        process.signal(number)

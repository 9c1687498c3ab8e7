"""The phases of an outage and what is reported of them; pure values, and their timeline as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from downtime import errors, probing, sessions
from downtime.apply import AppliedStatement
from downtime.catching_up import Caught


class Phase(StrEnum):
    """The phases in running order; the value is what people read."""

    PREVENT = "prevent connections"
    CHECK = "check fragile users"
    KICK = "kick connections"
    APPLY = "apply patch"
    ALLOW = "allow connections"


class PhaseState(StrEnum):
    DONE = "done"
    FAILED = "failed"            # the section ended here; what had been closed was reopened
    NOT_REACHED = "not reached"  # the section ended before


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseReport:
    """How one phase went; `log` reads as a timeline, `started_at` is aware and None for a phase not reached."""

    phase: Phase
    state: PhaseState
    started_at: datetime | None
    seconds: float
    summary: str
    log: str
    error: errors.DowntimeError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How the whole section went. `error` is None exactly when all went as asked and the database is open."""

    phases: tuple[PhaseReport, ...]
    started_at: datetime
    outage_seconds: float   # from the first attempt to prevent connections until they were allowed again
    patch_seconds: float    # the patch's own statements; 0 when it did not get through all of them
    proof_seconds: float    # what the gate's self-test has lengthened the outage by; rehearsals only
    measuring_seconds: float = 0.0  # the same for measuring what its statements do; not in patch_seconds either
    applied: bool
    statements: tuple[AppliedStatement, ...]
    kicked: tuple[sessions.Session, ...]
    drained: tuple[sessions.Session, ...]  # idle sessions ended after the outage (policy `transactions`)
    error: errors.DowntimeError | None
    caught: Caught | None = None  # how the replicas came after; None where there are none, or nothing to have

    @property
    def kicked_clients(self) -> tuple[sessions.Session, ...]:
        """Whom the outage has ended, without our own prober."""
        return tuple(session for session in self.kicked if session.application != probing.APPLICATION)

    @property
    def overhead_seconds(self) -> float:
        """What the outage lasted beyond the patch itself and what only rehearsals do."""
        return self.outage_seconds - self.patch_seconds - self.proof_seconds - self.measuring_seconds


def timeline(phases: Sequence[PhaseReport]) -> str:
    """All phases as one text, a line per phase and its own lines below."""
    lines = []
    for report in phases:
        at = report.started_at.isoformat(timespec="milliseconds") if report.started_at else "-" * 29
        lines.append(f"{at}  {report.phase:<20}  {report.seconds * 1000:9.1f} ms  {report.summary}")
        lines += [f"    {line}" for line in report.log.splitlines()]
    return "\n".join(lines)

"""What happens while the critical section runs, frozen into a report at its end."""

from __future__ import annotations

from dataclasses import dataclass, field

from downtime import errors
from downtime.apply import AppliedStatement
from downtime.catching_up import Caught
from downtime.chronicle import Chronicle
from downtime.measuring import Measuring
from downtime.phases import Report
from downtime.sessions import Session


@dataclass(slots=True)
class Course:
    """Of one section; seconds are those of a report."""

    statements: list[AppliedStatement] = field(default_factory=list)
    patch_seconds: float = 0.0
    proof_seconds: float = 0.0
    applied: bool = False
    caught: Caught | None = None  # how the replicas came after

    def report(self, chronicle: Chronicle, kicked: tuple[Session, ...], drained: tuple[Session, ...],
               measuring: Measuring, failure: errors.DowntimeError | None) -> Report:
        """The whole section, when it is over."""
        return Report(
            phases=chronicle.reports, started_at=chronicle.started_at, outage_seconds=chronicle.seconds,
            patch_seconds=self.patch_seconds, proof_seconds=self.proof_seconds, measuring_seconds=measuring.seconds,
            applied=self.applied, statements=tuple(self.statements), kicked=kicked, drained=drained,
            caught=self.caught, error=failure)

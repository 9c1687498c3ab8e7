"""The runs of a rehearsal, each as it was measured, and the evidence that they make together. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from downtime import excerpt, lane_safety, live, phases, remedies
from downtime.apply import AppliedStatement
from downtime.evidence import Budget, Evidence, PhaseTime, Run, StatementEvidence, signoff_reasons
from downtime.findings import Finding
from downtime.forecast import Factor
from downtime.lanes import Lane
from downtime.likeness import Likeness
from downtime.patches import Patch
from downtime.phases import Phase

COSTLY_SECONDS = 0.1    # faster statements need no remedy
MOST_OBSTACLES = 20     # sentences; the first ones explain, the number tells the rest
TABLES = ("table", "partitioned table", "materialized view")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run of a patch; time spent measuring is in none of its figures."""

    started_at: datetime
    seconds: float
    outage_seconds: float
    phases: tuple[PhaseTime, ...]
    statements: tuple[AppliedStatement, ...]
    together: bool  # in one transaction, so that a lock which was held already was not seen again
    cold: bool
    kept: bool

    @property
    def run(self) -> Run:
        return Run(seconds=self.seconds, outage_seconds=self.outage_seconds, phases=self.phases, cold=self.cold,
                   kept=self.kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What evidence says beside the runs themselves."""

    environment: str
    server: str
    server_version: int
    findings: tuple[Finding, ...] = ()
    likeness: Likeness | None = None
    factor: Factor
    remarks: tuple[str, ...] = ()
    signoff_reasons: tuple[str, ...] = ()  # beside the time


def of_outage(report: phases.Report, *, cold: bool, kept: bool) -> Measured:
    """A rehearsed downtime, without what only rehearsals do: the gate's self-test and measuring."""
    ours = {Phase.PREVENT: report.proof_seconds, Phase.APPLY: report.measuring_seconds}
    return Measured(
        started_at=report.started_at, seconds=report.patch_seconds,
        outage_seconds=report.outage_seconds - report.proof_seconds - report.measuring_seconds,
        phases=tuple(PhaseTime(phase=each.phase, seconds=each.seconds - ours.get(each.phase, 0.0))
                     for each in report.phases),
        statements=report.statements, together=True, cold=cold, kept=kept)


def of_live(report: live.Report, *, cold: bool) -> Measured:
    """A patch that was applied live, and stays."""
    return Measured(started_at=report.started_at, seconds=report.seconds, outage_seconds=0.0, phases=(),
                    statements=report.statements, together=False, cold=cold, kept=True)


def of_transaction(statements: tuple[AppliedStatement, ...], *, started_at: datetime, seconds: float, cold: bool
                   ) -> Measured:
    """A patch that was run in one transaction without a downtime, and rolled back."""
    return Measured(started_at=started_at, seconds=seconds, outage_seconds=0.0, phases=(), statements=statements,
                    together=True, cold=cold, kept=False)


def evidence_of(patch: Patch, measured: Sequence[Measured], known: Circumstances, *, budget: Budget,
                moment_seconds: float) -> Evidence:
    """The evidence of at least one run: the slowest one counts, and so do the worst locks of any."""
    slowest = max(measured, key=lambda each: each.seconds)
    found = [(_obstacles(each, moment_seconds), each) for each in measured]
    # of equals those of the run that the table shows
    obstacles, _ = max(found, key=lambda each: (len(each[0]), each[1] is slowest))
    parts = excerpt.of(slowest.statements)
    gaps = [part for part in parts if isinstance(part, excerpt.Gap)]
    outage_seconds = max(each.outage_seconds for each in measured)
    return Evidence(
        patch_id=patch.id, path=patch.path, sha256=patch.sha256, lane=patch.lane, declared=patch.declared,
        commit=patch.commit, environment=known.environment, server=known.server, server_version=known.server_version,
        rehearsed_at=measured[-1].started_at, seconds=slowest.seconds, factor=known.factor.value,
        factor_patches=known.factor.patches, outage_seconds=outage_seconds,
        runs=tuple(each.run for each in measured),
        statements=tuple(_statement(part, patch.lane, moment_seconds) for part in parts
                         if isinstance(part, AppliedStatement)),
        left_out=sum(gap.count for gap in gaps), left_out_seconds=sum((gap.seconds for gap in gaps), 0.0),
        target_seconds=budget.target_seconds, limit_seconds=budget.limit_seconds,
        lane_obstacles=_first(obstacles),
        lane_advice=lane_advice(patch, obstacles, slowest, outage_seconds, moment_seconds=moment_seconds),
        findings=known.findings, likeness=known.likeness, remarks=known.remarks,
        signoff_reasons=(*known.signoff_reasons,
                         *signoff_reasons(slowest.seconds, budget, factor=known.factor.value)))


def lane_advice(patch: Patch, obstacles: Sequence[str], slowest: Measured, outage_seconds: float, *,
                moment_seconds: float) -> str:
    """What the measurement says to the lane that the patch has, in complete sentences."""
    declared = f"Declared {patch.lane}" if patch.declared else (
        f"It declares no lane and is taken for {patch.lane} (patches.undeclared_lane)")
    if patch.lane is Lane.LIVE:
        return (f"{declared}, but measured cold: a rehearsal that is not rolled back refuses it." if obstacles else
                f"{declared}, and measured live-safe.")
    if obstacles:
        return f"{declared}, and measured cold: it needs the database to itself."
    outage = f"an outage of {outage_seconds:.3f} s" if outage_seconds else (
        f"an outage of at least {slowest.seconds:.3f} s")
    sentence = (f"{declared}, but measured live-safe: `-- apply: live` would save {outage}; each statement is then "
                "committed by itself.")
    locked = [found for each in slowest.statements
              if (found := lane_safety.row_locks(each, moment_seconds=moment_seconds))]
    return f"{sentence} But {locked[0]}: clients that write them wait." if locked else sentence


def tables_concerned(statements: Sequence[AppliedStatement]) -> tuple[str, ...]:
    """The tables that were there before and that the statements have locked; the most strongly locked ones first."""
    strength: dict[str, int] = {}
    for applied in statements:
        for lock in applied.footprint.locks if applied.footprint is not None else ():
            table = lock.table or (lock.relation if lock.kind in TABLES else "")
            if lock.existing and table:
                strength[table] = max(strength.get(table, 0), lock.mode.strength)
    return tuple(sorted(strength, key=lambda table: -strength[table]))


def _obstacles(measured: Measured, moment_seconds: float) -> tuple[str, ...]:
    if measured.together:
        return lane_safety.judge(measured.statements, moment_seconds=moment_seconds)
    return tuple(_each_obstacle(measured.statements, moment_seconds))


def _each_obstacle(statements: Sequence[AppliedStatement], moment_seconds: float) -> Iterator[str]:
    for each in statements:
        if found := lane_safety.obstacle(each, moment_seconds=moment_seconds):
            yield found


def _first(obstacles: tuple[str, ...]) -> tuple[str, ...]:
    more = len(obstacles) - MOST_OBSTACLES
    return (*obstacles[:MOST_OBSTACLES], f"… and {more:,} more") if more > 0 else obstacles


def _statement(applied: AppliedStatement, lane: Lane, moment_seconds: float) -> StatementEvidence:
    footprint, left_out = None, 0
    if applied.footprint is not None:
        footprint, left_out = excerpt.of_footprint(applied.footprint)
    return StatementEvidence(
        line=applied.statement.line, kind=applied.statement.kind, seconds=applied.seconds, status=applied.status,
        footprint=footprint, left_out=left_out,
        remedy=remedies.remedy(applied) if _needs_remedy(applied, lane, moment_seconds) else "")


def _needs_remedy(applied: AppliedStatement, lane: Lane, moment_seconds: float) -> bool:
    """In a live patch a statement that keeps nobody waiting needs none."""
    if applied.seconds < COSTLY_SECONDS:
        return False
    return lane is Lane.COLD or bool(lane_safety.obstacle(applied, moment_seconds=moment_seconds)
                                     or lane_safety.row_locks(applied, moment_seconds=moment_seconds))

"""What a rehearsal has shown of a patch, as one document: the approver reads it, the approval binds to its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from downtime import excerpt
from downtime.apply import AppliedStatement


class Verdict(StrEnum):
    """The total application time against the budget."""

    WITHIN_TARGET = "within target"
    WITHIN_LIMIT = "within limit"
    OVER_LIMIT = "over the limit"  # needs sign-off


class Budget(Protocol):
    """What the settings allow a patch, in seconds of total application time."""

    @property
    def target_seconds(self) -> float: ...

    @property
    def limit_seconds(self) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementTiming:
    """One statement as it was rehearsed."""

    line: int
    kind: str
    seconds: float
    status: str  # the server's command tag

    @classmethod
    def of(cls, applied: AppliedStatement) -> StatementTiming:
        return cls(line=applied.statement.line, kind=applied.statement.kind, seconds=applied.seconds,
                   status=applied.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One rehearsal of one patch. Everything in it is covered by the digest.

    It is kept in Buildbot's database and shown to the approver, so it is bounded: of a patch with many statements
    not every time is in it. What an approval binds to, the patch's bytes and the total time, is whole in any case.
    """

    patch_id: str
    path: str
    sha256: str                # of the patch's bytes
    lane: str
    commit: str
    server: str                # where it was rehearsed: host:port/database
    rehearsed_at: datetime
    seconds: float             # total application time: the figure the budget is about
    outage_seconds: float      # of the rehearsed downtime without the gate's self-test; 0 for a live patch
    statements: tuple[StatementTiming, ...]  # all, or of many the first, the last and the slowest: `of_statements`
    target_seconds: float
    limit_seconds: float
    signoff_reasons: tuple[str, ...]  # why a sign-off person must decide; the limit is one
    left_out: int = 0              # how many statements are not among `statements`
    left_out_seconds: float = 0.0  # their time in all

    @property
    def verdict(self) -> Verdict:
        if self.seconds <= self.target_seconds:
            return Verdict.WITHIN_TARGET
        return Verdict.WITHIN_LIMIT if self.seconds <= self.limit_seconds else Verdict.OVER_LIMIT

    @property
    def needs_signoff(self) -> bool:
        return bool(self.signoff_reasons)

    @property
    def digest(self) -> str:
        """SHA-256 over the whole document, the digest of the patch's bytes among it; what an approval names."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @property
    def sentence(self) -> str:
        """The rehearsal in one sentence."""
        signoff = f"; needs sign-off: {'; '.join(self.signoff_reasons)}" if self.signoff_reasons else ""
        return (f"{self.patch_id} ({self.lane}) took {self.seconds:.3f} s on staging, {self.verdict} "
                f"(target {self.target_seconds:g} s, limit {self.limit_seconds:g} s){signoff}")

    @property
    def table(self) -> str:
        """The statements as a table of text, slowest marked."""
        slowest = max((s.seconds for s in self.statements), default=0.0)
        rows = [f"{'line':>6}  {'seconds':>9}  statement"]
        for each in self.statements:
            mark = "  <- slowest" if each.seconds == slowest and len(self.statements) > 1 else ""
            rows.append(f"{each.line:>6}  {each.seconds:>9.3f}  {each.kind}{_result(each)}{mark}")
        if self.left_out:
            rows.append(f"{'':>6}  {self.left_out_seconds:>9.3f}  {self.left_out:,} faster statements, not shown")
        rows.append(f"{'total':>6}  {self.seconds:>9.3f}  {self.verdict}")
        return "\n".join(rows)

    def to_json(self) -> str:
        """Canonical: the same evidence gives the same text."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False, separators=(",", ":"),
                          default=lambda instant: instant.isoformat())

    @classmethod
    def from_json(cls, text: str) -> Evidence:
        """The reverse of `to_json`. Raises ValueError, KeyError or TypeError for anything else."""
        document: dict[str, Any] = json.loads(text)
        document["rehearsed_at"] = datetime.fromisoformat(document["rehearsed_at"])
        document["statements"] = tuple(StatementTiming(**each) for each in document["statements"])
        document["signoff_reasons"] = tuple(document["signoff_reasons"])
        return cls(**document)


def of_statements(applied: Sequence[AppliedStatement]) -> dict[str, Any]:
    """What evidence keeps of the statements, as keyword arguments for it."""
    parts = excerpt.of(applied)
    gaps = [part for part in parts if isinstance(part, excerpt.Gap)]
    return {"statements": tuple(StatementTiming.of(part) for part in parts if isinstance(part, AppliedStatement)),
            "left_out": sum(gap.count for gap in gaps), "left_out_seconds": sum((gap.seconds for gap in gaps), 0.0)}


def _result(each: StatementTiming) -> str:
    """The server's command tag where it says more than the statement's kind: the number of rows."""
    return "" if each.kind.startswith(each.status) else f" ({each.status})"


def signoff_reasons(seconds: float, budget: Budget) -> tuple[str, ...]:
    """Why the time alone needs a sign-off, or nothing."""
    if seconds <= budget.limit_seconds:
        return ()
    return (f"{seconds:.3f} s on staging is over the limit of {budget.limit_seconds:g} s",)

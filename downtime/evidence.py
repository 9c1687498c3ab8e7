"""What a rehearsal has shown of a patch, as one document: the approver reads it, the approval binds to its digest.

`downtime.evidence_text` shows it to people, `downtime.runs` makes it of what was measured. Its schema for other
programs is docs/evidence.schema.json.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from pydantic import ConfigDict, TypeAdapter

from downtime.findings import Finding
from downtime.footprints import Footprint
from downtime.lanes import Lane
from downtime.likeness import Likeness

ROWS = re.compile(r"\d+$")  # of a command tag: UPDATE 3, INSERT 0 1


class Verdict(StrEnum):
    """The total application time that is expected in production, against the budget."""

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
class StatementEvidence:
    """One statement of the run that counts."""

    line: int
    kind: str
    seconds: float
    status: str                  # the server's command tag
    footprint: Footprint | None  # what it did; None where that was not measured
    left_out: int = 0            # how many locks, scans, changes and sizes of it are not in the footprint
    remedy: str = ""             # what usually makes such a statement cheap; for those that cost most

    @property
    def rows(self) -> int | None:
        """The rows that the server counts in its command tag; None for statements without such a number."""
        found = ROWS.search(self.status)
        return int(found[0]) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseTime:
    """How long one phase of the rehearsed downtime took, without self-test and measuring."""

    phase: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the patch. Time spent measuring is in none of its figures, nor that of the gate's self-test."""

    seconds: float         # the patch's own statements
    outage_seconds: float  # of the rehearsed downtime; 0 where there was none
    phases: tuple[PhaseTime, ...]
    cold: bool             # the first run: what it read was perhaps not in memory
    kept: bool             # False: it was rolled back at its end


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One rehearsal of one patch. Everything in it is covered by the digest.

    It is kept in Buildbot's database and shown to the approver, so it is bounded: of a patch with many statements
    not each one is in it. Times, lane and verdict are made of all of them.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    patch_id: str
    path: str
    sha256: str                # of the patch's bytes
    lane: Lane
    declared: bool             # False: the lane is what the settings say of patches that do not declare one
    commit: str                # empty for a file that comes from no commit
    environment: str           # staging; empty for any other database
    server: str                # where it was rehearsed: host:port/database
    server_version: int        # as libpq gives it: 150020 is 15.20; 0 where nobody has noted it
    rehearsed_at: datetime
    seconds: float             # total application time of the slowest run: what was measured
    factor: float              # how many times as long production has taken so far; 1 where that is not known
    factor_patches: int        # from so many patches
    outage_seconds: float      # the longest of the rehearsed downtimes; 0 for a live patch
    runs: tuple[Run, ...]      # in order; empty where the figures come from a ledger
    statements: tuple[StatementEvidence, ...]  # of the slowest run all, or of many the first, the last, the slowest
    left_out: int              # how many statements are not among `statements`
    left_out_seconds: float    # their time in all
    target_seconds: float
    limit_seconds: float
    lane_obstacles: tuple[str, ...]  # why it may not be applied while clients work; empty where it was measured live
    lane_advice: str           # what the measurement says to the lane it has
    findings: tuple[Finding, ...]  # the linter's, those that the patch waives among them
    likeness: Likeness | None  # staging beside production; None where they could not be compared
    remarks: tuple[str, ...]   # what whoever decides should know besides, in complete sentences
    signoff_reasons: tuple[str, ...]  # why a sign-off person must decide; the limit is one

    @property
    def expected_seconds(self) -> float:
        """What production will take, as far as staging can tell: the figure the budget is about."""
        return self.seconds * self.factor

    @property
    def verdict(self) -> Verdict:
        if self.expected_seconds <= self.target_seconds:
            return Verdict.WITHIN_TARGET
        return Verdict.WITHIN_LIMIT if self.expected_seconds <= self.limit_seconds else Verdict.OVER_LIMIT

    @property
    def needs_signoff(self) -> bool:
        return bool(self.signoff_reasons)

    @property
    def measured(self) -> bool:
        """Whether the patch was run for this document; else its figures are from a ledger."""
        return bool(self.runs)

    @property
    def digest(self) -> str:
        """SHA-256 over the whole document, the digest of the patch's bytes among it; what an approval names."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @property
    def sentence(self) -> str:
        """The rehearsal in one sentence."""
        expected = f", {self.expected_seconds:.3f} s expected in production" if self.factor > 1 else ""
        signoff = f"; needs sign-off: {'; '.join(self.signoff_reasons)}" if self.signoff_reasons else ""
        return (f"{self.patch_id} ({self.lane}) took {self.seconds:.3f} s on {self.environment or self.server}"
                f"{expected}, {self.verdict} (target {self.target_seconds:g} s, limit {self.limit_seconds:g} s)"
                f"{signoff}")

    def to_json(self) -> str:
        """Canonical: the same evidence gives the same text."""
        return json.dumps(DOCUMENT.dump_python(self, mode="json"), sort_keys=True, ensure_ascii=False,
                          separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Evidence:
        """The reverse of `to_json`. Raises ValueError for anything else, documents of older versions among it."""
        return DOCUMENT.validate_json(text)


DOCUMENT = TypeAdapter(Evidence)


def schema() -> str:
    """The JSON schema of the document: the text of docs/evidence.schema.json."""
    return json.dumps(DOCUMENT.json_schema(mode="serialization"), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def signoff_reasons(seconds: float, budget: Budget, *, factor: float = 1.0) -> tuple[str, ...]:
    """Why the time alone needs a sign-off, or nothing."""
    expected = seconds * factor
    if expected <= budget.limit_seconds:
        return ()
    learnt = f", {expected:.3f} s expected in production," if factor > 1 else ""
    return (f"{seconds:.3f} s on staging{learnt} is over the limit of {budget.limit_seconds:g} s",)

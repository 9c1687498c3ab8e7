"""What can happen to a patch on its way into production: one frozen value per kind, which JSON can carry.

Events are only ever added. Every page, figure and notice is read out of them, and so is what an approval is worth
after a restart. Texts from SQL, git and clients are as they came: whoever shows one escapes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from downtime.lanes import Lane


class Answer(StrEnum):
    """What came of somebody's decision."""

    GRANTED = "granted"            # it counts; perhaps one of several that are needed
    OVERRIDDEN = "overridden"      # an emergency: a sign-off person let it in past the rules, with a reason
    REJECTED = "rejected"
    NOT_ACCEPTED = "not accepted"  # it changed nothing; `answer` says why


class Outcome(StrEnum):
    """How one attempt to deploy ended; the value is what people read."""

    DEPLOYED = "deployed"
    FAILED = "failed"          # the patch itself: rolled back, reopened
    ABORTED = "aborted"        # the downtime had begun and was given up: a fragile user, a deadline, somebody's Stop
    REFUSED = "refused"        # by a rule, before anything was touched
    REJECTED = "rejected"      # by an approver
    STOPPED = "stopped"        # by somebody, before anything was touched
    UNKNOWN = "unknown"        # nobody could say: an operator has to look


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """What all events have."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="ignore")  # a later version may know more

    at: datetime   # aware, UTC
    patch_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OfAttempt(Happened):
    """What belongs to one attempt, known by its build request, which stays the same over a restart."""

    request_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed(Happened):
    """It has arrived on the branch, and the buildmaster has seen it."""

    commit: str
    authors: tuple[str, ...] = ()  # e-mail addresses, as git has them
    build_url: str = ""            # of `staging`, which judges the landing
    kind: Literal["landed"] = "landed"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBack(Happened):
    """Its landing was rejected, or its rehearsal was refused: it waits for its author."""

    reason: str
    build_url: str = ""
    kind: Literal["held back"] = "held back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn(Happened):
    """It is not on the branch any more, and has not reached production."""

    commit: str
    kind: Literal["withdrawn"] = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed(Happened):
    """It was applied on staging and timed. The evidence itself is in the evidence store, by patch and sha256."""

    sha256: str
    digest: str
    path: str
    commit: str
    authors: tuple[str, ...]
    lane: Lane
    declared: bool            # False: the lane is what the settings say of patches that declare none
    seconds: float            # on staging
    expected_seconds: float   # in production
    outage_seconds: float     # of the rehearsed downtime
    target_seconds: float
    limit_seconds: float
    verdict: str              # a `downtime.evidence.Verdict`
    signoff_reasons: tuple[str, ...]
    build_url: str = ""
    kind: Literal["rehearsed"] = "rehearsed"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedOnStaging(Happened):
    """It was tried on staging and rolled back there."""

    reason: str
    build_url: str = ""
    kind: Literal["failed on staging"] = "failed on staging"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered(OfAttempt):
    """A deployment of it was asked for, by its rehearsal or by an operator: an attempt, known by its request."""

    requested_by: tuple[str, ...]
    kind: Literal["offered"] = "offered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(OfAttempt):
    """A build of the attempt waits for somebody's word. After a restart it waits again, with another build id."""

    build_id: int
    build_url: str
    digest: str
    lane: Lane
    requested_by: tuple[str, ...]  # who may not approve it
    needs_signoff: bool
    approvals_needed: int
    kind: Literal["asked"] = "asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided(OfAttempt):
    """Somebody's word about an attempt, whether it counted or not."""

    build_id: int
    digest: str
    by: str
    answer: Answer
    reason: str          # what whoever decided wrote
    sentence: str        # what was answered
    signoff: bool        # whether whoever decided may sign off
    build_url: str = ""  # of the decision itself
    kind: Literal["decided"] = "decided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved(OfAttempt):
    """Every word that it needs is there: it goes on as soon as it is its turn."""

    by: tuple[str, ...]
    override: bool = False
    signoff: bool = False
    kind: Literal["approved"] = "approved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Voided(OfAttempt):
    """What was approved is not what would run any more, or the approval is too old: it counts no longer."""

    reason: str
    kind: Literal["voided"] = "voided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned(OfAttempt):
    """It is approved and has to wait: for patches before it, or for a window."""

    behind: tuple[str, ...] = ()        # the patches that must be in production before it
    begins_at: datetime | None = None   # of the downtime; None while it is not known
    kind: Literal["planned"] = "planned"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowMissed(OfAttempt):
    """It was to begin in a window and did not."""

    begins_at: datetime  # of the window that was missed
    reason: str
    kind: Literal["window missed"] = "window missed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hurried(OfAttempt):
    """An operator lets it begin now, outside its window."""

    by: str
    reason: str
    kind: Literal["hurried"] = "hurried"


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnCame(OfAttempt):
    """It goes on by itself from here; where its master dies now, somebody is asked again."""

    kind: Literal["turn came"] = "turn came"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiescing(OfAttempt):
    """The background tasks are being stopped."""

    begins_at: datetime  # of the downtime
    kind: Literal["quiescing"] = "quiescing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed(OfAttempt):
    """New connections are prevented (cold), or its statements are being applied while clients work (live)."""

    expected_seconds: float
    kind: Literal["closed"] = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spreading(OfAttempt):
    """The first of several databases is open again and has it, or had it before: now the others get it."""

    databases: int  # how many others there are
    kind: Literal["spreading"] = "spreading"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended(OfAttempt):
    """The attempt is over; at most background tasks are being resumed."""

    build_id: int
    build_url: str
    outcome: Outcome
    sentence: str                     # the build's headline
    lane: Lane | None = None          # None where it was refused before that was known
    began_at: datetime | None = None  # of the outage or the live application; None: production was not touched
    patch_seconds: float = 0.0
    outage_seconds: float = 0.0       # 0 for a live patch
    expected_seconds: float | None = None
    kicked: int = 0
    fragile: tuple[str, ...] = ()     # the users whose transactions made it abort
    left: str = ""                    # how the database was left: `downtime.errors.Left`, empty where it is open
    kind: Literal["ended"] = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundApplied(Happened):
    """Production's ledger has it, and no attempt of this buildmaster put it there: applied from a terminal."""

    lane: str
    began_at: datetime
    patch_seconds: float
    requested_by: str = ""
    approved_by: str = ""
    kind: Literal["found applied"] = "found applied"


Event = (Landed | HeldBack | Withdrawn | Rehearsed | FailedOnStaging | Offered | Asked | Decided | Approved | Voided
         | Planned | WindowMissed | Hurried | TurnCame | Quiescing | Closed | Spreading | Ended | FoundApplied)


@cache
def _adapter() -> TypeAdapter[Event]:
    """Made when it is first needed: a command that reads no events need not wait for it."""
    return TypeAdapter(Annotated[Event, Field(discriminator="kind")])


def to_json(event: Event) -> dict[str, object]:
    """The event as JSON has it."""
    found: dict[str, object] = _adapter().dump_python(event, mode="json")
    return found


def from_json(value: object) -> Event:
    """The reverse. Raises ValueError for what is no event that this version knows."""
    return _adapter().validate_python(value)

"""Where a patch stands on its way, and whose turn it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from downtime.history.events import FailedOnStaging, Outcome
from downtime.history.journey import Attempt, Journey


class Stage(StrEnum):
    """In the order of a patch's way; the value is what people read."""

    LANDED = "landed"                      # staging will rehearse it
    HELD_BACK = "held back"                # its landing was rejected, or its rehearsal refused
    FAILED_ON_STAGING = "failed on staging"
    QUEUED = "queued"                      # rehearsed; its deployment has not begun to wait yet
    WAITING = "waiting for approval"
    APPROVED = "approved"                  # it is about to begin, or to find out what it has to wait for
    WAITING_TURN = "approved, behind others"
    WAITING_WINDOW = "waiting for the window"
    QUIESCING = "quiescing"
    DEPLOYING = "deploying"
    DEPLOYED = "in production"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"                # from the branch, before it was in production
    NOT_DEPLOYED = "not deployed"          # its last attempt has ended otherwise


class Whose(StrEnum):
    """Who has to act so that it goes on; the value completes "waits for …"."""

    NOBODY = "nobody"
    AUTHOR = "its author"
    APPROVER = "an approver"
    SIGNOFF = "a sign-off"
    OPERATOR = "an operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where one patch stands."""

    stage: Stage
    whose: Whose
    sentence: str  # for people; with texts as they came from SQL, git and clients

    @property
    def settled(self) -> bool:
        """Whether nothing is to come."""
        return self.stage in (Stage.DEPLOYED, Stage.WITHDRAWN)


def standing(journey: Journey) -> Standing:
    """Where the patch stands by its newest events."""
    if journey.in_production_at is not None:
        return Standing(stage=Stage.DEPLOYED, whose=Whose.NOBODY, sentence="in production")
    attempt = journey.attempt
    if journey.withdrawn is not None and (attempt is None or attempt.ended is not None):
        return Standing(stage=Stage.WITHDRAWN, whose=Whose.NOBODY, sentence="it is not on the branch any more")
    if journey.problem is not None and (attempt is None or attempt.ended is not None):
        failed = isinstance(journey.problem, FailedOnStaging)
        return Standing(stage=Stage.FAILED_ON_STAGING if failed else Stage.HELD_BACK, whose=Whose.AUTHOR,
                        sentence=journey.problem.reason)
    if attempt is None:
        if journey.rehearsed is None:
            return Standing(stage=Stage.LANDED, whose=Whose.NOBODY, sentence="staging rehearses it next")
        return Standing(stage=Stage.QUEUED, whose=Whose.NOBODY, sentence="rehearsed; its deployment is being asked for")
    return _of_attempt(attempt)


def _of_attempt(attempt: Attempt) -> Standing:
    if attempt.ended is not None:
        rejected = attempt.ended.outcome is Outcome.REJECTED
        return Standing(stage=Stage.REJECTED if rejected else Stage.NOT_DEPLOYED,
                        whose=Whose.AUTHOR if rejected else Whose.OPERATOR, sentence=attempt.ended.sentence)
    if attempt.spreading is not None:
        return Standing(stage=Stage.DEPLOYING, whose=Whose.NOBODY,
                        sentence=f"the first database has it; {attempt.spreading.databases} more get it now")
    if attempt.closed is not None:
        return Standing(stage=Stage.DEPLOYING, whose=Whose.NOBODY, sentence="is being deployed now")
    if attempt.quiescing is not None:
        return Standing(stage=Stage.QUIESCING, whose=Whose.NOBODY, sentence="background tasks are being quiesced")
    if attempt.approved is not None:
        planned = attempt.planned
        if planned is not None and planned.behind:
            return Standing(stage=Stage.WAITING_TURN, whose=Whose.NOBODY,
                            sentence=f"approved; follows {', '.join(planned.behind)}")
        if planned is not None and planned.begins_at is not None:
            return Standing(stage=Stage.WAITING_WINDOW, whose=Whose.NOBODY, sentence="approved; begins in its window")
        return Standing(stage=Stage.APPROVED, whose=Whose.NOBODY, sentence="it is about to begin")
    if attempt.asked is None:
        return Standing(stage=Stage.QUEUED, whose=Whose.NOBODY, sentence="waits for a free place among the deployments")
    return Standing(stage=Stage.WAITING, whose=Whose.SIGNOFF if attempt.asked.needs_signoff else Whose.APPROVER,
                    sentence=_missing(attempt))


def _missing(attempt: Attempt) -> str:
    assert attempt.asked is not None, "it waits"
    needed, there = attempt.asked.approvals_needed, len(attempt.granted)
    counted = f"{there} of {needed} approvals" if needed > 1 else "waits for an approval"
    signoff = "; needs a sign-off" if attempt.asked.needs_signoff else ""
    void = f"; what was approved counts no longer: {attempt.voided.reason}" if attempt.voided and not there else ""
    return f"{counted}{signoff}{void}"

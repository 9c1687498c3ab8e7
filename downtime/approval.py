"""Whether a decision about a production deployment counts: what was approved is what runs, and four eyes saw it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from downtime.plan import listing
from downtime.settings import Role


class Verb(StrEnum):
    """What somebody decides; the words of the form."""

    APPROVE = "approve"
    REJECT = "reject"
    OVERRIDE = "override"  # an emergency: a sign-off person alone lets it in, and says why


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One approval of a request that counts."""

    by: str
    at: datetime
    signoff: bool  # whether the approver may sign off
    override: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One attempt at one production deployment, waiting for somebody's word."""

    request_id: int               # of Buildbot: an approval is good for this attempt and no other
    build_id: int                 # that waits now; another one after a restart
    build_url: str
    patch_id: str
    digest: str                   # of the evidence, which covers the patch's bytes
    requested_by: frozenset[str]  # every name and e-mail address of whoever asked for it or wrote it
    needs_signoff: bool
    approvals_needed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What somebody decided, as they sent it."""

    build_id: int
    digest: str
    by: frozenset[str]      # user name and e-mail address, as the sign-in proved them
    roles: frozenset[Role]
    verb: Verb
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """It counts; `missing` more are needed."""

    by: str
    reason: str
    signoff: bool
    override: bool = False
    missing: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAccepted:
    """The decision does not count and the request goes on waiting; `reason` is a sentence for who decided."""

    by: str
    reason: str


Outcome = Granted | Rejected | NotAccepted


def judge(request: Request, decision: Decision, *, granted: Sequence[Approval] = (), earlier: Sequence[str] = ()
          ) -> Outcome:
    """Judge one decision. `granted` has been given before; `earlier` are patches that must be in production before
    this one and are not on their way there.
    """
    name, reason = min((n for n in decision.by if n), key=len, default=""), decision.reason.strip()
    if why := _not_entitled(request, decision, name) or _about_something_else(request, decision):
        return NotAccepted(by=name, reason=why)
    if decision.verb is Verb.REJECT:
        if not reason:
            return NotAccepted(by=name, reason="a rejection needs a reason: whoever landed the patch will read it")
        return Rejected(by=name, reason=reason)
    if earlier:
        return NotAccepted(by=name, reason=f"{listing(earlier)} must be approved before {request.patch_id}: patches go "
                                           "into production in their order; decide about that first")
    if decision.verb is Verb.OVERRIDE:
        if not reason:
            return NotAccepted(by=name, reason="an override needs a reason: everybody will read it for ever after")
        return Granted(by=name, reason=reason, signoff=True, override=True)
    if why := _not_this_approver(request, decision, name, granted):
        return NotAccepted(by=name, reason=why)
    return Granted(by=name, reason=reason, signoff=Role.SIGNOFF in decision.roles,
                   missing=max(0, request.approvals_needed - len(granted) - 1))


def fresh(approvals: Iterable[Approval], *, now: datetime, expires_hours: float) -> tuple[Approval, ...]:
    """Those that still count: each is good for so many hours."""
    return tuple(each for each in approvals if now - each.at < timedelta(hours=expires_hours))


def suffice(request: Request, approvals: Sequence[Approval]) -> bool:
    """Whether these let the request through."""
    if any(each.override for each in approvals):
        return True
    signed = not request.needs_signoff or any(each.signoff for each in approvals)
    return signed and len(approvals) >= request.approvals_needed


def _not_entitled(request: Request, decision: Decision, name: str) -> str:
    """Why this person may not decide so about anything, or an empty string."""
    if not name:
        return "sign in first: a decision needs a name"
    if not decision.roles & {Role.APPROVER, Role.SIGNOFF}:
        return f"{name} is no approver (settings: people.approvers)"
    if decision.verb is Verb.OVERRIDE and Role.SIGNOFF not in decision.roles:
        return f"{name} may not override (settings: people.signoff)"
    return ""


def _about_something_else(request: Request, decision: Decision) -> str:
    if (decision.build_id, decision.digest) == (request.build_id, request.digest):
        return ""
    return (f"the decision is about something else than what is waiting: build {request.build_id} deploys "
            f"{request.patch_id} with evidence {request.digest[:12]}; look at it again and decide anew")


def _not_this_approver(request: Request, decision: Decision, name: str, granted: Sequence[Approval]) -> str:
    """Why it must be somebody else who approves, or an empty string."""
    signed = Role.SIGNOFF in decision.roles or any(each.signoff for each in granted)
    if request.needs_signoff and not signed and len(granted) + 1 >= request.approvals_needed:
        return f"{request.patch_id} needs a sign-off, and {name} may not give one (settings: people.signoff)"
    if name.casefold() in {each.by.casefold() for each in granted}:
        return f"{name} has approved it already; the next approval must be somebody else's"
    # somebody may reject what they asked for themselves, but not approve it
    asked = {who.casefold() for who in request.requested_by if who}
    if asked & {who.casefold() for who in decision.by}:
        return f"{name} asked for this deployment or wrote the patch; somebody else must approve it"
    knows_authors_by_address = any("@" in who for who in asked)
    if knows_authors_by_address and not any("@" in who for who in decision.by):
        return (f"the sign-in of {name} has no e-mail address, so nobody can tell whether {name} wrote the patch; "
                "add one (python -m master.people add NAME --email ADDRESS)")
    return ""

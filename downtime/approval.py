"""Whether a decision about a production deployment counts: what was approved is what runs, and four eyes saw it."""

from __future__ import annotations

from dataclasses import dataclass

from downtime.settings import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One attempt at one production deployment, waiting for somebody's word."""

    build_id: int                 # of Buildbot: an approval is good for this attempt and no other
    build_url: str
    patch_id: str
    digest: str                   # of the evidence, which covers the patch's bytes
    requested_by: frozenset[str]  # every name and e-mail address of whoever asked for it or wrote it
    needs_signoff: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What somebody decided, as they sent it."""

    build_id: int
    digest: str
    by: frozenset[str]      # user name and e-mail address, as the sign-in proved them
    roles: frozenset[Role]
    approve: bool
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAccepted:
    """The decision does not count and the request goes on waiting; `reason` is a sentence for who decided."""

    reason: str


Outcome = Granted | Rejected | NotAccepted


def judge(request: Request, decision: Decision, *, earlier: tuple[str, ...] = ()) -> Outcome:
    """Judge one decision; `earlier` are patches that must be in production before this one."""
    name = min((n for n in decision.by if n), key=len, default="")
    if reason := _not_entitled(request, decision, name):
        return NotAccepted(reason=reason)
    if decision.build_id != request.build_id or decision.digest != request.digest:
        return NotAccepted(reason=f"the decision is about something else than what is waiting: build "
                                  f"{request.build_id} deploys {request.patch_id} with evidence {request.digest[:12]}; "
                                  "look at it again and decide anew")
    if not decision.approve:
        if not decision.reason.strip():
            return NotAccepted(reason="a rejection needs a reason: whoever landed the patch will read it")
        return Rejected(by=name, reason=decision.reason.strip())
    if earlier:
        return NotAccepted(reason=f"{', '.join(earlier)} must be in production before {request.patch_id}; "
                                  "decide about that first")
    return Granted(by=name, reason=decision.reason.strip())


def _not_entitled(request: Request, decision: Decision, name: str) -> str:
    """Why this person may not decide, or an empty string."""
    if not name:
        return "sign in first: a decision needs a name"
    if not decision.roles & {Role.APPROVER, Role.SIGNOFF}:
        return f"{name} is no approver (settings: people.approvers)"
    if request.needs_signoff and Role.SIGNOFF not in decision.roles and decision.approve:
        return f"{request.patch_id} needs a sign-off, and {name} may not give one (settings: people.signoff)"
    # somebody may reject what they asked for themselves, but not approve it
    asked = {who.casefold() for who in request.requested_by if who}
    if decision.approve and asked & {who.casefold() for who in decision.by}:
        return f"{name} asked for this deployment or wrote the patch; somebody else must approve it"
    knows_authors_by_address = any("@" in who for who in asked)
    if decision.approve and knows_authors_by_address and not any("@" in who for who in decision.by):
        return (f"the sign-in of {name} has no e-mail address, so nobody can tell whether {name} wrote the patch; "
                "add one (python -m master.people add NAME --email ADDRESS)")
    return ""

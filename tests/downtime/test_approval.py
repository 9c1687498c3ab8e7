"""Whose word counts, for what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from downtime.approval import (
    Approval,
    Decision,
    Granted,
    NotAccepted,
    Rejected,
    Request,
    Verb,
    fresh,
    judge,
    suffice,
)
from downtime.settings import Role

APPROVER = frozenset({Role.APPROVER})
SIGNOFF = frozenset({Role.SIGNOFF})
AT = datetime(2026, 3, 4, 8, 30, tzinfo=UTC)


def a_request(**given: Any) -> Request:
    harmless: dict[str, Any] = {
        "request_id": 3, "build_id": 7, "build_url": "http://x/7", "patch_id": "patch-1", "digest": "d" * 64,
        "requested_by": frozenset({"developer", "developer@example.org"}), "needs_signoff": False}
    return Request(**{**harmless, **given})


def a_decision(**given: Any) -> Decision:
    harmless: dict[str, Any] = {"build_id": 7, "digest": "d" * 64,
                                "by": frozenset({"approver", "approver@example.org"}),
                                "roles": APPROVER, "verb": Verb.APPROVE, "reason": ""}
    return Decision(**{**harmless, **given})


def an_approval(by: str, **given: Any) -> Approval:
    return Approval(**{"by": by, "at": AT, "signoff": False, **given})


def test_an_approver_grants() -> None:
    """Another person with the role, about this very build and evidence."""

    assert judge(a_request(), a_decision(reason=" fine ")) == Granted(by="approver", reason="fine", signoff=False)


@pytest.mark.parametrize(("request_", "decision", "reason"), [
    ({}, {"by": frozenset({""})}, "sign in first"),
    ({}, {"roles": frozenset({Role.OPERATOR})}, "is no approver"),
    ({}, {"build_id": 8}, "about something else"),
    ({}, {"digest": "e" * 64}, "about something else"),
    ({}, {"by": frozenset({"developer"})}, "somebody else must approve it"),
    ({}, {"by": frozenset({"other", "Developer@Example.org"})}, "somebody else must approve it"),
    ({}, {"by": frozenset({"approver"})}, "has no e-mail address"),  # git knows authors by nothing else
    ({"needs_signoff": True}, {}, "needs a sign-off"),
    ({}, {"verb": Verb.REJECT, "reason": "  "}, "a rejection needs a reason"),
    ({}, {"verb": Verb.OVERRIDE, "reason": "on fire"}, "may not override"),
    ({}, {"verb": Verb.OVERRIDE, "roles": SIGNOFF, "reason": " "}, "an override needs a reason"),
])
def test_what_does_not_count_is_told_why(request_: dict[str, Any], decision: dict[str, Any], reason: str) -> None:
    """The request goes on waiting."""
    outcome = judge(a_request(**request_), a_decision(**decision))

    assert isinstance(outcome, NotAccepted)
    assert reason in outcome.reason


def test_a_signoff_person_may_sign_off() -> None:
    """And approve what needs none."""
    decision = a_decision(roles=frozenset({Role.SIGNOFF}))

    assert isinstance(judge(a_request(needs_signoff=True), decision), Granted)
    assert isinstance(judge(a_request(), decision), Granted)


def test_one_may_reject_what_one_asked_for() -> None:
    """Whoever finds a mistake in their own patch need not look for somebody."""
    decision = a_decision(by=frozenset({"developer"}), verb=Verb.REJECT, reason="a mistake")

    assert judge(a_request(), decision) == Rejected(by="developer", reason="a mistake")


def test_earlier_patches_come_first() -> None:
    """Approving ahead is fine, in order: what runs first is decided about first."""
    outcome = judge(a_request(), a_decision(), earlier=("patch-0",))

    assert isinstance(outcome, NotAccepted)
    assert outcome.reason.startswith("patch-0 must be approved before patch-1")


def test_people_without_an_e_mail_address_are_not_the_same_person() -> None:
    """An empty address on both sides proves nothing about who they are."""
    outcome = judge(a_request(requested_by=frozenset({"developer", ""})), a_decision(by=frozenset({"approver", ""})))

    assert isinstance(outcome, Granted)


def test_several_approvals_are_of_several_people() -> None:
    """Two are needed: the second word of the same approver counts for nothing."""
    request = a_request(approvals_needed=2)
    first = judge(request, a_decision())
    again = judge(request, a_decision(), granted=(an_approval("Approver"),))
    other = judge(request, a_decision(by=frozenset({"other", "other@example.org"})), granted=(an_approval("approver"),))

    assert first == Granted(by="approver", reason="", signoff=False, missing=1)
    assert isinstance(again, NotAccepted)
    assert "has approved it already" in again.reason
    assert other == Granted(by="other", reason="", signoff=False, missing=0)


def test_one_of_several_is_a_sign_off_where_one_is_needed() -> None:
    """The last approval that is missing must be it, unless it has been given."""
    request = a_request(approvals_needed=2, needs_signoff=True)

    assert isinstance(judge(request, a_decision()), Granted)
    assert isinstance(judge(request, a_decision(), granted=(an_approval("other"),)), NotAccepted)
    assert isinstance(judge(request, a_decision(), granted=(an_approval("architect", signoff=True),)), Granted)
    assert not suffice(request, [an_approval("a"), an_approval("b")])
    assert suffice(request, [an_approval("a"), an_approval("b", signoff=True)])


def test_an_override_needs_nobody_else() -> None:
    """An emergency: a sign-off person lets in what they wrote themselves, alone, and says why."""
    decision = a_decision(by=frozenset({"developer"}), roles=SIGNOFF, verb=Verb.OVERRIDE, reason=" the shop is down ")
    request = a_request(approvals_needed=3, needs_signoff=True)

    assert judge(request, decision) == Granted(by="developer", reason="the shop is down", signoff=True, override=True)
    assert suffice(request, [an_approval("developer", override=True)])
    assert isinstance(judge(request, decision, earlier=("patch-0",)), NotAccepted)  # order is no matter of rights


def test_an_approval_is_good_for_so_many_hours() -> None:
    """What was approved last week was approved for last week's traffic."""
    old, new = an_approval("old"), an_approval("new", at=AT + timedelta(hours=2))

    assert fresh([old, new], now=AT + timedelta(hours=3), expires_hours=3) == (new,)

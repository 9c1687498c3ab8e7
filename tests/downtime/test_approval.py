"""Whose word counts, for what."""

from __future__ import annotations

from typing import Any

import pytest

from downtime.approval import Decision, Granted, NotAccepted, Rejected, Request, judge
from downtime.settings import Role

APPROVER = frozenset({Role.APPROVER})


def a_request(**given: Any) -> Request:
    harmless: dict[str, Any] = {
        "build_id": 7, "build_url": "http://x/7", "patch_id": "patch-1", "digest": "d" * 64,
        "requested_by": frozenset({"developer", "developer@example.org"}), "needs_signoff": False}
    return Request(**{**harmless, **given})


def a_decision(**given: Any) -> Decision:
    harmless: dict[str, Any] = {"build_id": 7, "digest": "d" * 64,
                                "by": frozenset({"approver", "approver@example.org"}),
                                "roles": APPROVER, "approve": True, "reason": ""}
    return Decision(**{**harmless, **given})


def test_an_approver_grants() -> None:
    """Another person with the role, about this very build and evidence."""

    assert judge(a_request(), a_decision(reason=" fine ")) == Granted(by="approver", reason="fine")


@pytest.mark.parametrize(("request_", "decision", "reason"), [
    ({}, {"by": frozenset({""})}, "sign in first"),
    ({}, {"roles": frozenset({Role.OPERATOR})}, "is no approver"),
    ({}, {"build_id": 8}, "about something else"),
    ({}, {"digest": "e" * 64}, "about something else"),
    ({}, {"by": frozenset({"developer"})}, "somebody else must approve it"),
    ({}, {"by": frozenset({"other", "Developer@Example.org"})}, "somebody else must approve it"),
    ({}, {"by": frozenset({"approver"})}, "has no e-mail address"),  # git knows authors by nothing else
    ({"needs_signoff": True}, {}, "needs a sign-off"),
    ({}, {"approve": False, "reason": "  "}, "a rejection needs a reason"),
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
    decision = a_decision(by=frozenset({"developer"}), approve=False, reason="a mistake")

    assert judge(a_request(), decision) == Rejected(by="developer", reason="a mistake")


def test_earlier_patches_come_first() -> None:
    """An approval out of order is not kept for later."""
    outcome = judge(a_request(), a_decision(), earlier=("patch-0",))

    assert isinstance(outcome, NotAccepted)
    assert outcome.reason.startswith("patch-0 must be in production")


def test_people_without_an_e_mail_address_are_not_the_same_person() -> None:
    """An empty address on both sides proves nothing about who they are."""
    outcome = judge(a_request(requested_by=frozenset({"developer", ""})), a_decision(by=frozenset({"approver", ""})))

    assert isinstance(outcome, Granted)

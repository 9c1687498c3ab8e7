"""The service that keeps what waits for a word."""

from __future__ import annotations

from typing import Any

from downtime.approval import Decision, Granted, NotAccepted, Outcome, Rejected, Request
from downtime.settings import Role
from master.approvals import Approvals


def a_request(**changes: Any) -> Request:
    return Request(**{"build_id": 7, "build_url": "http://localhost/7", "patch_id": "patch-1", "digest": "d" * 64,
                      "requested_by": frozenset({"developer"}), "needs_signoff": False, **changes})


def a_decision(**changes: Any) -> Decision:
    return Decision(**{"build_id": 7, "digest": "d" * 64, "by": frozenset({"approver"}), "approve": True,
                       "roles": frozenset({Role.APPROVER}), "reason": "read it", **changes})


def asked(approvals: Approvals, request: Request) -> list[Outcome | None]:
    """The answers to a request, as they come."""
    answers: list[Outcome | None] = []
    approvals.ask(request).addCallback(answers.append)
    return answers


def test_a_decision_that_counts_is_delivered() -> None:
    """The waiting build goes on with the approver's name."""

    approvals = Approvals()
    answers = asked(approvals, a_request())
    assert isinstance(approvals.decide(a_decision(), earlier=()), Granted)
    assert answers == [Granted(by="approver", reason="read it")]


def test_a_decision_is_good_for_one_attempt() -> None:
    """What was decided about waits no more: the same word given twice deploys once."""

    approvals = Approvals()
    asked(approvals, a_request())
    approvals.decide(a_decision(), earlier=())
    assert isinstance(approvals.decide(a_decision(), earlier=()), NotAccepted)


def test_a_decision_that_does_not_count_leaves_the_request_waiting() -> None:
    """Somebody else may still decide."""

    approvals = Approvals()
    answers = asked(approvals, a_request())
    assert isinstance(approvals.decide(a_decision(digest="e" * 64), earlier=()), NotAccepted)
    assert answers == []
    assert approvals.waiting(7) == a_request()


def test_a_patch_does_not_overtake_an_earlier_one() -> None:
    """Order matters in production; the sentence names what is to be decided first."""

    approvals = Approvals()
    answers = asked(approvals, a_request())
    outcome = approvals.decide(a_decision(), earlier=("patch-0",))
    assert isinstance(outcome, NotAccepted)
    assert "patch-0" in outcome.reason
    assert answers == []


def test_a_rejection_is_delivered_with_its_reason() -> None:
    """Whoever landed the patch reads why."""

    approvals = Approvals()
    answers = asked(approvals, a_request())
    approvals.decide(a_decision(approve=False, reason="not on a Friday"), earlier=("patch-0",))
    assert answers == [Rejected(by="approver", reason="not on a Friday")]


def test_what_is_withdrawn_can_be_approved_no_more() -> None:
    """A stopped build is not deployed by an approval that comes too late."""

    approvals = Approvals()
    answers = asked(approvals, a_request())
    approvals.withdraw(7)
    approvals.withdraw(7)
    assert answers == [None]
    assert isinstance(approvals.decide(a_decision(), earlier=()), NotAccepted)


def test_several_deployments_wait_side_by_side() -> None:
    """A decision reaches the one it names."""

    approvals = Approvals()
    first = asked(approvals, a_request())
    second = asked(approvals, a_request(build_id=8, patch_id="patch-2"))
    approvals.decide(a_decision(build_id=8), earlier=())
    assert (len(first), len(second)) == (0, 1)
    assert approvals.waiting_for("patch-1") is not None
    assert approvals.waiting_for("patch-2") is None

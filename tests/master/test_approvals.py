"""The service that keeps what waits for a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from buildbot.test.util.integration import RunMasterBase

from downtime.approval import Decision, Granted, NotAccepted, Rejected, Request, Verb
from downtime.history.events import Answer, Event, TurnCame, Voided
from downtime.lanes import Lane
from downtime.settings import Role
from master.approvals import Approvals
from master.journal import Journal
from steps.shared.happenings import now
from steps.shared.services import Cleared, Renewed, Word
from tests.downtime.evidences import EVIDENCE
from tests.master.settings_for_tests import a_settings

GRANTED = Granted(by="approver", reason="read it", signoff=False)


def a_request(**changes: Any) -> Request:
    return Request(**{"request_id": 3, "build_id": 7, "build_url": "http://localhost/7", "patch_id": "patch-1",
                      "digest": "d" * 64, "requested_by": frozenset({"developer"}), "needs_signoff": False, **changes})


def a_decision(**changes: Any) -> Decision:
    return Decision(**{"build_id": 7, "digest": "d" * 64, "by": frozenset({"approver"}), "verb": Verb.APPROVE,
                       "roles": frozenset({Role.APPROVER}), "reason": "read it", **changes})


OTHER = {"by": frozenset({"other"})}


class SomeApprovals(RunMasterBase):
    """In a real master, with its journal."""

    async def start(self, **approval: Any) -> Approvals:
        settings = a_settings(Path.cwd(), approval=approval)
        await self.setup_master({"services": [Journal(), Approvals(settings=settings)], "multiMaster": True},
                                startWorker=False)
        return self.found(Approvals)

    def found(self, service: type) -> Any:
        return self.master.service_manager.namedServices[service.name]  # type: ignore[attr-defined]

    async def after_a_restart(self) -> Approvals:
        """The journal is read again; who waited is forgotten."""
        await self.found(Journal).stopService()
        await self.found(Journal).startService()
        approvals = self.found(Approvals)
        approvals._waiting.clear()
        approvals._cleared.clear()
        return approvals

    def asked(self, approvals: Approvals, request: Request) -> list[Word | None]:
        """The answers to a request, as they come."""
        answers: list[Word | None] = []
        approvals.ask(request, lane=Lane.COLD).addCallback(answers.append)
        return answers

    def events(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.found(Journal).events() if isinstance(event, kind)]

    async def test_a_decision_that_counts_is_delivered(self) -> None:
        """The waiting build goes on with the approver's name."""

        approvals = await self.start()
        answers = self.asked(approvals, a_request())
        self.assertEqual(await approvals.decide(a_decision(), earlier=()), GRANTED)
        (word,) = answers
        assert isinstance(word, Cleared)
        self.assertEqual((word.by, word.override), ("approver", False))

    async def test_a_decision_is_good_for_one_attempt(self) -> None:
        """What was decided about waits no more: the same word given twice deploys once."""

        approvals = await self.start()
        self.asked(approvals, a_request())
        await approvals.decide(a_decision(), earlier=())
        self.assertIsInstance(await approvals.decide(a_decision(), earlier=()), NotAccepted)
        again = self.asked(approvals, a_request(request_id=4, build_id=8))
        self.assertEqual(again, [])

    async def test_a_decision_that_does_not_count_leaves_the_request_waiting(self) -> None:
        """Somebody else may still decide, and everybody can read that it was tried."""

        approvals = await self.start()
        answers = self.asked(approvals, a_request())
        self.assertIsInstance(await approvals.decide(a_decision(digest="e" * 64), earlier=()), NotAccepted)
        self.assertEqual(answers, [])
        self.assertEqual(approvals.waiting(7), a_request())
        attempt = self.found(Journal).journey("patch-1").attempt
        self.assertEqual([each.answer for each in attempt.decisions], [Answer.NOT_ACCEPTED])
        self.assertEqual(attempt.granted, ())

    async def test_a_patch_is_approved_ahead_behind_one_that_is_on_its_way(self) -> None:
        """In order: not while the one before it waits, and at once when that is approved."""

        approvals = await self.start()
        first = self.asked(approvals, a_request())
        second = self.asked(approvals, a_request(request_id=4, build_id=8, patch_id="patch-2"))
        ahead = a_decision(build_id=8)
        refused = await approvals.decide(ahead, earlier=("patch-1",))
        assert isinstance(refused, NotAccepted)
        self.assertIn("patch-1 must be approved before patch-2", refused.reason)
        await approvals.decide(a_decision(), earlier=())
        self.assertIsInstance(await approvals.decide(ahead, earlier=("patch-1",)), Granted)
        self.assertEqual((len(first), len(second)), (1, 1))
        approvals.ended(7)
        self.assertIsNone(approvals.on_its_way("patch-1"))

    async def test_a_rejection_is_delivered_with_its_reason(self) -> None:
        """Whoever landed the patch reads why."""

        approvals = await self.start()
        answers = self.asked(approvals, a_request())
        await approvals.decide(a_decision(verb=Verb.REJECT, reason="not on a Friday"), earlier=("patch-0",))
        self.assertEqual(answers, [Rejected(by="approver", reason="not on a Friday")])

    async def test_what_is_withdrawn_can_be_approved_no_more(self) -> None:
        """A stopped build is not deployed by an approval that comes too late."""

        approvals = await self.start()
        answers = self.asked(approvals, a_request())
        approvals.withdraw(7)
        approvals.withdraw(7)
        self.assertEqual(answers, [None])
        self.assertIsInstance(await approvals.decide(a_decision(), earlier=()), NotAccepted)

    async def test_two_approvals_survive_a_restart_in_the_middle(self) -> None:
        """The first was given before it, the second after it, to a build with another number."""

        approvals = await self.start(count=2)
        first = self.asked(approvals, a_request(approvals_needed=2))
        self.assertEqual(await approvals.decide(a_decision(), earlier=()),
                         Granted(by="approver", reason="read it", signoff=False, missing=1))
        self.assertEqual(first, [])
        approvals = await self.after_a_restart()
        answers = self.asked(approvals, a_request(build_id=9, approvals_needed=2))
        self.assertEqual(answers, [])
        self.assertIsInstance(await approvals.decide(a_decision(build_id=9), earlier=()), NotAccepted)
        await approvals.decide(a_decision(build_id=9, **OTHER), earlier=())
        (word,) = answers
        assert isinstance(word, Cleared)
        self.assertEqual(word.by, "approver, other")

    async def test_what_was_approved_before_a_restart_goes_on_unasked(self) -> None:
        """It waited for its window: nobody has to approve it again."""

        approvals = await self.start()
        self.asked(approvals, a_request())
        await approvals.decide(a_decision(), earlier=())
        approvals = await self.after_a_restart()
        other_evidence = self.asked(approvals, a_request(build_id=8, digest="e" * 64))
        same = self.asked(approvals, a_request(build_id=9))
        self.assertEqual((len(other_evidence), len(same)), (0, 0))

    async def test_an_approval_of_the_same_evidence_counts_after_a_restart(self) -> None:
        """One attempt is one build request, however many builds Buildbot makes of it."""

        approvals = await self.start()
        self.asked(approvals, a_request())
        await approvals.decide(a_decision(), earlier=())
        approvals = await self.after_a_restart()
        (word,) = self.asked(approvals, a_request(build_id=9))
        self.assertIsInstance(word, Cleared)

    async def test_what_had_its_turn_is_asked_about_again(self) -> None:
        """The master died while it prepared the downtime: nobody knows what an operator has done meanwhile."""

        approvals = await self.start()
        self.asked(approvals, a_request())
        await approvals.decide(a_decision(), earlier=())
        self.found(Journal).note(TurnCame(at=now(), patch_id="patch-1", request_id=3))
        approvals = await self.after_a_restart()
        self.assertEqual(self.asked(approvals, a_request(build_id=9)), [])
        self.assertEqual(len(self.events(Voided)), 1)

    async def test_an_old_approval_counts_no_longer(self) -> None:
        """It was given, and then the master was down for longer than it is good for."""

        approvals = await self.start(expires_hours=0.000000001)
        answers = self.asked(approvals, a_request(approvals_needed=2))
        await approvals.decide(a_decision(), earlier=())
        outcome = await approvals.decide(a_decision(), earlier=())
        self.assertEqual(outcome, Granted(by="approver", reason="read it", signoff=False, missing=1))
        self.assertEqual(answers, [])

    async def test_a_new_rehearsal_voids_what_was_approved_and_asks_anew(self) -> None:
        """Whoever approved saw other figures; it is said, and written down."""

        approvals = await self.start(count=2)
        answers = self.asked(approvals, a_request(approvals_needed=2))
        await approvals.decide(a_decision(), earlier=())
        evidence = EVIDENCE
        approvals.renew(evidence)
        self.assertEqual(answers, [Renewed()])
        self.assertEqual([event.reason for event in self.events(Voided)], [
            f"the patch was rehearsed again: evidence {'d' * 12} became {evidence.digest[:12]}"])
        again = self.asked(approvals, a_request(digest=evidence.digest, approvals_needed=2))
        await approvals.decide(a_decision(digest=evidence.digest, **OTHER), earlier=())
        self.assertEqual(again, [])

    async def test_a_decision_that_cannot_be_written_down_is_not_made(self) -> None:
        """After a restart nobody would know of it."""

        approvals = await self.start()
        answers = self.asked(approvals, a_request())
        put, self.master.db.state.atomicCreateState = self.master.db.state.atomicCreateState, _fail
        with self.assertRaises(OSError):
            await approvals.decide(a_decision(), earlier=())
        self.master.db.state.atomicCreateState = put
        self.assertEqual(answers, [])
        self.assertEqual(await approvals.decide(a_decision(), earlier=()), GRANTED)


def _fail(*_: Any) -> None:
    raise OSError("disk full")

    async def test_a_rejection_survives_a_restart(self) -> None:
        """The buildmaster died before the build could end: nobody is asked again, and no other word lets it in."""

        approvals = await self.start(count=2)
        self.asked(approvals, a_request(approvals_needed=2))
        await approvals.decide(a_decision(), earlier=())
        await approvals.decide(a_decision(**OTHER, verb=Verb.REJECT, reason="not this week"), earlier=())
        approvals = await self.after_a_restart()
        again = self.asked(approvals, a_request(build_id=8))
        self.assertEqual(again, [Rejected(by="other", reason="not this week")])
        self.assertIsNone(approvals.waiting(8))

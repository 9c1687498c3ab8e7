"""The service that lets approved deployments wait for their turn."""

from __future__ import annotations

from buildbot.test.util.integration import RunMasterBase
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from master.turns import Turns
from steps.shared.services import Hurry

LONG = 3600.0
HURRY = Hurry(by="operator", reason="the window is too late")


class SomeTurns(RunMasterBase):
    """In a real master."""

    async def start(self) -> Turns:
        await self.setup_master({"services": [Turns()], "multiMaster": True}, startWorker=False)
        found: Turns = self.master.service_manager.namedServices[Turns.name]
        return found

    def wait(self, turns: Turns, build_id: int, seconds: float = LONG) -> Deferred[None]:
        return Deferred.fromCoroutine(turns.wait(build_id, seconds, since=turns.moment))

    async def test_whatever_changes_wakes_everybody_and_leaves_no_timer(self) -> None:
        """Who wakes looks again whether it is its turn."""

        turns = await self.start()
        waiting = [self.wait(turns, number) for number in (1, 2)]
        timers = len(reactor.getDelayedCalls())  # type: ignore[attr-defined]
        turns.wake()
        self.assertEqual([each.called for each in waiting], [True, True])
        self.assertEqual(len(reactor.getDelayedCalls()), timers - 2)  # type: ignore[attr-defined]

    async def test_time_wakes_too(self) -> None:
        """The window has come."""

        turns = await self.start()
        await self.wait(turns, 1, 0.01)
        turns.end(1)
        self.assertFalse(turns.hurry(1, HURRY))

    async def test_who_is_busy_between_two_waits_is_hurried_too(self) -> None:
        """While a task was being stopped, for a minute perhaps, the operator read that no such deployment waits."""

        turns = await self.start()
        await self.wait(turns, 1, 0.01)
        moment = turns.moment
        self.assertTrue(turns.hurry(1, HURRY))
        self.assertTrue(Deferred.fromCoroutine(turns.wait(1, LONG, since=moment)).called)
        self.assertEqual(turns.hurried(1), HURRY)

    async def test_what_changes_while_a_build_looks_is_not_missed(self) -> None:
        """It had read the ledger a moment too early, and would have waited for the next change."""

        turns = await self.start()
        moment = turns.moment
        turns.wake()
        self.assertTrue(Deferred.fromCoroutine(turns.wait(1, LONG, since=moment)).called)

    async def test_an_operator_hurries_one_build(self) -> None:
        """The others go on waiting; what does not wait cannot be hurried."""

        turns = await self.start()
        first, second = self.wait(turns, 1), self.wait(turns, 2)
        self.assertEqual((turns.hurry(1, HURRY), turns.hurry(3, HURRY)), (True, False))
        self.assertEqual((first.called, second.called), (True, False))
        self.assertEqual((turns.hurried(1), turns.hurried(2)), (HURRY, None))
        turns.end(1)
        turns.end(2)
        self.assertIsNone(turns.hurried(1))
        self.assertTrue(second.called)

    async def test_who_waits_for_one_patch_alone_follows_it(self) -> None:
        """For that one background tasks stay stopped; who has more before it, or has ended, is not near enough."""

        turns = await self.start()
        for build_id, behind in ((1, ()), (2, ("patch-1",)), (3, ("patch-1", "patch-2")), (4, ("patch-1",))):
            turns.follow(build_id, behind)
        turns.end(4)
        self.assertEqual([turns.followers(patch) for patch in ("patch-1", "patch-2")], [(2,), ()])

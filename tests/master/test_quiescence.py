"""The service that remembers what was quiesced."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from buildbot.test.util.integration import RunMasterBase
from buildbot.util.service import BuildbotService
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import globalLogPublisher

from downtime.quiescing.tasks import Owed
from master import leadership
from master.quiescence import Quiescence
from tests.builders import pause, until


def an_owed(command: str = "true", *, task: str = "import", seconds: float = 60) -> Owed:
    return Owed(task=task, command=command, seconds=seconds)


class Following(BuildbotService):  # type: ignore[misc]
    """Stands where `Leadership` stands in one of several buildmasters that does not lead."""

    name = leadership.NAME
    leads = False


class Impatient(Quiescence):
    retry_seconds = 0.05
    kept_seconds = 0.05


class AQuiescence(RunMasterBase):
    """In a real master: what it notes is in the state database."""

    async def start(self, service: Quiescence | None = None, beside: Sequence[BuildbotService] = ()) -> Quiescence:
        services = [*beside, service or Quiescence()]
        await self.setup_master({"services": services, "multiMaster": True}, startWorker=False)
        found: Quiescence = self.master.service_manager.namedServices[Quiescence.name]
        self.diary, self.mended = Path("diary").absolute(), Path("mended").absolute()
        self.tries = Path("tries").absolute()
        return found

    @property
    def broken(self) -> Owed:
        """A task that cannot be resumed until somebody mends it."""
        return an_owed(f"echo once more >> {self.tries}; test -e {self.mended} && echo resumed >> {self.diary}")

    def told(self, word: str, *, task: str = "import") -> Owed:
        """A task that writes a word when it is resumed."""
        return an_owed(f"echo {word} >> {self.diary}", task=task)

    @property
    def words(self) -> list[str]:
        return self.diary.read_text().split() if self.diary.exists() else []

    def timers(self, service: Quiescence) -> list[Any]:
        return [call for call in reactor.getDelayedCalls()  # type: ignore[attr-defined]
                if getattr(call.func, "__self__", None) is service]

    async def test_builds_that_note_at_once_do_not_undo_each_other(self) -> None:
        """One ends while the next begins: what the next has stopped was forgotten, and nobody resumed it."""

        service = await self.start()
        await service.remember(1, [an_owed("one")])
        await gatherResults([Deferred.fromCoroutine(service.remember(2, [an_owed("two")])),
                             Deferred.fromCoroutine(service.forget(1)),
                             Deferred.fromCoroutine(service.remember(3, [an_owed("three", seconds=5)]))])
        owed = [await service.owed(number) for number in (1, 2, 3)]
        for number in (2, 3):
            await service.forget(number)
        self.assertEqual(owed, [(), (an_owed("two"),), (an_owed("three", seconds=5),)])

    async def test_what_fails_is_tried_again_until_it_succeeds(self) -> None:
        """A failed resume was logged and forgotten: the nightly import stood still until somebody missed it."""

        service = await self.start(Impatient())
        await service.remember(1, [self.broken, self.told("other")])
        await service.settle(1)
        self.assertEqual(await service.owed(1), (self.broken,))
        await until(lambda: len(self.tries.read_text().splitlines()) >= 3, "two more tries")
        self.mended.touch()
        await until(lambda: "resumed" in self.diary.read_text(), "the last try")
        for _ in range(200):  # the note goes after the command has ended
            if not await service.owed(1):
                break
            await pause()
        self.assertEqual(await service.owed(1), ())
        self.assertEqual(self.diary.read_text().split(), ["other", "resumed"])

    async def test_what_fails_at_the_start_of_the_master_stays_owed(self) -> None:
        """And is tried again as everything else, and at the next start."""

        service = await self.start(Impatient())
        await service.remember(1, [self.broken])
        await service.stopService()
        await service.startService()
        await until(lambda: self.timers(service), "the first try after the start")
        self.assertEqual(await service.owed(1), (self.broken,))
        self.mended.touch()
        await until(self.diary.exists, "the next try")

    async def test_a_stopped_master_leaves_no_timer_and_no_command(self) -> None:
        """What is owed is owed when it starts again."""

        service = await self.start()
        await service.try_again(1, [an_owed("false")])
        self.assertEqual(len(self.timers(service)), 1)
        first = an_owed(f"echo once >> {self.tries}; sleep 0.2; echo resumed >> {self.diary}")
        later = self.told("later", task="mail")
        await service.remember(2, [first, later])
        settled = Deferred.fromCoroutine(service.settle(2))
        await until(self.tries.exists, "the first command to begin")
        await service.stopService()
        self.assertEqual(self.timers(service), [])
        self.assertEqual(self.diary.read_text().split(), ["resumed"])
        await settled
        owed = [await service.owed(number) for number in (1, 2)]
        self.assertEqual(owed, [(an_owed("false"),), (later,)])
        await service.startService()
        await until(lambda: "later" in self.words, "the rest to be resumed")

    async def test_the_log_has_a_failure_once(self) -> None:
        """A command that fails all night long does not fill the disk; that it goes on failing is no news."""

        service, events = await self.start(Impatient()), []
        globalLogPublisher.addObserver(events.append)
        try:
            await service.try_again(1, [self.broken])
            await until(lambda: self.tries.exists() and len(self.tries.read_text().splitlines()) >= 3, "three tries")
        finally:
            globalLogPublisher.removeObserver(events.append)
        self.assertEqual(len([event for event in events if "not resumed" in str(event.get("log_format"))]), 1)
        self.mended.touch()
        await until(self.diary.exists, "the last try")

    async def test_what_is_overdue_waits_for_a_build_that_keeps_it_quiesced(self) -> None:
        """The task that one build could not resume was started in the middle of the next one's downtime."""

        service = await self.start(Impatient())
        await service.try_again(1, [self.broken])
        await until(self.tries.exists, "the first try")
        await service.remember(2, [an_owed("start other")])
        await self.some_tries_later()
        self.mended.touch()
        await self.some_tries_later()
        self.assertFalse(self.diary.exists())
        await service.forget(2)
        await until(self.diary.exists, "the next try")

    async def some_tries_later(self) -> None:
        """A try that had begun has ended, and several more were due."""
        await pause(10 * Impatient.retry_seconds)

    async def test_a_command_that_hangs_is_ended_and_the_next_one_runs(self) -> None:
        """Resuming the mail does not wait for ever for the import."""

        service = await self.start()
        hangs = an_owed("sleep 300", seconds=0.2)
        await service.remember(1, [hangs, self.told("mail", task="mail")])
        await service.settle(1)
        owed = await service.owed(1)
        await service.forget(1)
        self.assertEqual((owed, self.words), ((hangs,), ["mail"]))

    async def test_what_is_kept_belongs_to_the_build_that_claims_it(self) -> None:
        """The end of the one that has stopped it does not resume it in the downtime of the next."""

        service = await self.start()
        await service.remember(1, [self.told("resumed")])
        await service.keep(1)
        self.assertTrue(service.kept)
        await service.settle(1)
        await service.claim(2)
        await service.settle(1)
        self.assertEqual((service.kept, self.timers(service), self.words), (False, [], []))
        self.assertEqual([await service.owed(number) for number in (1, 2)], [(), (self.told("resumed"),)])
        await service.settle(2)
        self.assertEqual(self.words, ["resumed"])

    async def test_a_build_that_ends_while_its_tasks_are_being_claimed_does_not_resume_them(self) -> None:
        """Both write into the same note; the tasks ran in the next one's downtime."""

        service = await self.start()
        await service.remember(1, [self.told("resumed")])
        await service.keep(1)
        await gatherResults([Deferred.fromCoroutine(service.claim(2)), Deferred.fromCoroutine(service.settle(1))])
        owed = await service.owed(2)
        await service.forget(2)
        self.assertEqual((owed, self.words), ((self.told("resumed"),), []))

    async def test_what_nobody_claims_is_resumed_soon(self) -> None:
        """The deployment that was to follow was refused, or has gone."""

        service = await self.start(Impatient())
        await service.remember(1, [self.told("resumed")])
        await service.keep(1)
        await until(lambda: self.words == ["resumed"], "it to be resumed")
        self.assertFalse(service.kept)

    async def test_what_is_kept_when_the_master_stops_is_resumed_when_it_starts(self) -> None:
        """Nobody knows whether the deployment that follows ever comes."""

        service = await self.start()
        await service.remember(1, [self.told("resumed")])
        await service.keep(1)
        await service.stopService()
        self.assertEqual(self.timers(service), [])
        await service.startService()
        await until(lambda: self.words == ["resumed"], "it to be resumed")

    async def test_nothing_is_resumed_while_another_build_has_stopped_tasks(self) -> None:
        """What the first had kept for a follower, which had come to its turn already, was resumed in its downtime."""

        service = await self.start(Impatient())
        await service.remember(1, [self.told("resumed")])
        await service.claim(2)
        await service.remember(2, [self.told("resumed")])
        self.assertTrue(service.wanted_by_another(1))
        await service.keep(1)
        await until(lambda: not service.kept, "nobody to claim it")
        await self.some_tries_later()
        self.assertEqual(self.words, [])
        await service.settle(2)
        await until(lambda: self.words == ["resumed", "resumed"], "both to be resumed")

    async def test_no_task_is_stopped_while_another_build_resumes(self) -> None:
        """A slow command resumed the task after the next deployment had stopped it."""

        service = await self.start()
        slow = an_owed(f"echo begins >> {self.tries}; sleep 0.2; echo resumed >> {self.diary}")
        await service.remember(1, [slow, self.told("later")])
        settled = Deferred.fromCoroutine(service.settle(1))
        await until(self.tries.exists, "the slow command to begin")
        await service.remember(2, [an_owed()])
        self.assertEqual(self.words, ["resumed"])
        await settled
        self.assertEqual(await service.owed(1), (self.told("later"),))

    async def test_what_is_owed_outlasts_a_state_database_that_is_away(self) -> None:
        """The note could not be read when the build ended: nobody resumed the tasks before the next start."""

        service = await self.start(Impatient())
        await service.remember(1, [self.told("resumed")])
        get = self.master.db.state.getState

        def fail(*arguments: Any) -> Any:
            raise OSError("server closed the connection")

        self.master.db.state.getState = fail
        await service.settle(1)
        self.assertEqual(self.words, [])
        self.master.db.state.getState = get
        await until(lambda: "resumed" in self.words, "it to be resumed")
        self.assertTrue(self.flushLoggedErrors(OSError))

    async def test_of_several_buildmasters_the_one_that_leads_resumes(self) -> None:
        """They share a state database: the start of another one resumed the tasks in the leader's downtime."""

        service = await self.start(beside=[Following()])
        await service.remember(1, [self.told("resumed")])
        await service.stopService()
        await service.startService()
        await pause(0.1)
        self.assertEqual(self.words, [])
        service.lead()
        await until(lambda: self.words == ["resumed"], "the next leader to resume it")

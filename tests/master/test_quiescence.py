"""The service that remembers what was quiesced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from buildbot.test.util.integration import RunMasterBase
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import globalLogPublisher

from master.quiescence import Quiescence
from tests.builders import pause, until


class Impatient(Quiescence):
    retry_seconds = 0.05


class AQuiescence(RunMasterBase):
    """In a real master: what it notes is in the state database."""

    async def start(self, service: Quiescence | None = None) -> Quiescence:
        await self.setup_master({"services": [service or Quiescence()], "multiMaster": True}, startWorker=False)
        found: Quiescence = self.master.service_manager.namedServices[Quiescence.name]
        self.diary, self.mended = Path("diary").absolute(), Path("mended").absolute()
        self.tries = Path("tries").absolute()
        return found

    @property
    def broken(self) -> str:
        """A command that fails until somebody mends it."""
        return f"echo once more >> {self.tries}; test -e {self.mended} && echo resumed >> {self.diary}"

    def timers(self, service: Quiescence) -> list[Any]:
        return [call for call in reactor.getDelayedCalls()  # type: ignore[attr-defined]
                if getattr(call.func, "__self__", None) is service]

    async def test_builds_that_note_at_once_do_not_undo_each_other(self) -> None:
        """One ends while the next begins: what the next has stopped was forgotten, and nobody resumed it."""

        service = await self.start()
        await service.remember(1, ["start one"])
        await gatherResults([Deferred.fromCoroutine(service.remember(2, ["start two"])),
                             Deferred.fromCoroutine(service.forget(1)),
                             Deferred.fromCoroutine(service.remember(3, ["start three"]))])
        owed = [await service.owed(number) for number in (1, 2, 3)]
        for number in (2, 3):
            await service.forget(number)
        self.assertEqual(owed, [(), ("start two",), ("start three",)])

    async def test_what_fails_is_tried_again_until_it_succeeds(self) -> None:
        """A failed resume was logged and forgotten: the nightly import stood still until somebody missed it."""

        service = await self.start(Impatient())
        await service.remember(1, [self.broken, f"echo other >> {self.diary}"])
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
        await service.try_again(1, ["false"])
        self.assertEqual(len(self.timers(service)), 1)
        later = f"echo at the next start >> {self.diary}"
        await service.remember(2, [f"echo once >> {self.tries}; sleep 0.2; echo resumed >> {self.diary}", later])
        settled = Deferred.fromCoroutine(service.settle(2))
        await until(self.tries.exists, "the first command to begin")
        await service.stopService()
        self.assertEqual(self.timers(service), [])
        self.assertEqual(self.diary.read_text().split(), ["resumed"])
        await settled
        owed = [await service.owed(number) for number in (1, 2)]
        self.assertEqual(owed, [("false",), (later,)])
        await service.startService()
        await until(lambda: "next start" in self.diary.read_text(), "the rest to be resumed")

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
        await service.remember(2, ["start other"])
        await self.some_tries_later()
        self.mended.touch()
        await self.some_tries_later()
        self.assertFalse(self.diary.exists())
        await service.forget(2)
        await until(self.diary.exists, "the next try")

    async def some_tries_later(self) -> None:
        """A try that had begun has ended, and several more were due."""
        await pause(10 * Impatient.retry_seconds)

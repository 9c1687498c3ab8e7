"""The service that writes down what happens to every patch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from buildbot.test.util.integration import RunMasterBase

from downtime.history.events import Event, FailedOnStaging, HeldBack, Landed
from master import journal
from master.journal import Journal
from tests.builders import until

AT = datetime(2026, 3, 4, 8, 30, tzinfo=UTC)


def landings(count: int) -> list[Event]:
    return [Landed(at=AT + timedelta(minutes=number), patch_id=f"patch-{number}", commit="c" * 40)
            for number in range(count)]


class AJournal(RunMasterBase):
    """In a real master: what it notes is in the state database."""

    async def start(self) -> Journal:
        self.patch(journal, "AGAIN_SECONDS", 0.05)
        await self.setup_master({"services": [Journal()], "multiMaster": True}, startWorker=False)
        found: Journal = self.master.service_manager.namedServices[Journal.name]
        return found

    async def again(self, service: Journal) -> Journal:
        """As after a restart of the master."""
        await service.stopService()
        await service.startService()
        return service

    async def test_what_was_noted_is_there_after_a_restart_in_its_order(self) -> None:
        """More than ten of them: as text, 10 comes before 9."""

        service = await self.start()
        for event in landings(12):
            service.note(event)
        await service.record(HeldBack(at=AT, patch_id="patch-3", reason="mixed"))
        await self.again(service)
        self.assertEqual(list(service.events()[:12]), landings(12))
        found = service.journey("patch-3")
        assert found is not None
        self.assertEqual(getattr(found.problem, "reason", None), "mixed")
        self.assertIsNone(service.journey("patch-99"))

    async def test_what_cannot_be_written_is_written_later(self) -> None:
        """A state database that is gone for a moment holds no deployment up, and loses nothing of its history."""

        service = await self.start()
        put, broken = self.master.db.state.atomicCreateState, True

        def fail_at_first(*arguments: Any) -> Any:
            if broken:
                raise OSError("disk full")
            return put(*arguments)

        self.master.db.state.atomicCreateState = fail_at_first
        service.note(landings(1)[0])
        self.assertIsNotNone(service.journey("patch-0"))
        with self.assertRaises(OSError):
            await service.record(FailedOnStaging(at=AT, patch_id="patch-0", reason="line 4"))
        self.assertIsNone(getattr(service.journey("patch-0"), "problem", None))
        broken = False
        await until(lambda: not service._unwritten, "the event to be written")
        await self.again(service)
        self.assertEqual(list(service.events()), landings(1))

    async def test_listeners_are_told_and_cannot_do_harm(self) -> None:
        """A notice that fails is no reason to lose an event."""

        service, told = await self.start(), []
        service.listen(lambda event: 1 / 0)
        service.listen(told.append)
        service.note(landings(1)[0])
        self.assertEqual(told, landings(1))
        self.flushLoggedErrors(ZeroDivisionError)

    async def test_what_is_recorded_does_not_overtake_what_could_not_be_written(self) -> None:
        """Read in another order a decision would be about something that was never asked."""

        service = await self.start()
        self.patch(journal, "AGAIN_SECONDS", 3600)
        put = self.master.db.state.atomicCreateState

        def fail(*arguments: Any) -> Any:
            raise OSError("disk full")

        first, second, third = landings(3)
        self.master.db.state.atomicCreateState = fail
        service.note(first)
        with self.assertRaises(OSError):
            await service.record(second)
        self.master.db.state.atomicCreateState = put
        await service.record(third)
        await self.again(service)
        self.assertEqual(list(service.events()), [first, third])

    async def test_two_buildmasters_write_into_one_journal(self) -> None:
        """Neither overwrites what the other has written, and each tells its listeners of both, once."""

        service, other, told = await self.start(), Journal(), []
        other.parent = SimpleNamespace(master=self.master)
        await other.startService()
        service.listen(told.append)
        first, second, third, fourth = landings(4)
        service.note(first)
        await until(lambda: not service._unwritten, "the event to be written")
        await other.record(second)
        await other.record(third)
        await service.record(fourth)
        await service.catch_up()
        await other.catch_up()
        self.assertEqual(list(service.events()), [first, second, third, fourth])
        self.assertEqual(told, [first, second, third, fourth])
        self.assertEqual(list(other.events()), [first, second, third, fourth])
        await self.again(service)
        self.assertEqual(list(service.events()), [first, second, third, fourth])
        await other.stopService()

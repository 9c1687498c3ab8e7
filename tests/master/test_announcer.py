"""The service that tells people and programs what becomes of deployments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from buildbot.test.util.integration import RunMasterBase
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from downtime.settings import Settings
from master.announcer import Announcer
from master.journal import Journal
from tests.builders import pause, until
from tests.downtime.announcements.told import approved, closed, over, planned, waiting
from tests.master.settings_for_tests import a_settings


class AnAnnouncer(RunMasterBase):
    """In a real master, with a command that writes down what it is told."""

    async def start(self, **notices: Any) -> tuple[Announcer, Journal]:
        self.diary = Path("diary").absolute()
        self.settings = self.settings_with(**notices)
        services = [Announcer(settings=self.settings), Journal()]
        await self.setup_master({"services": services, "multiMaster": True}, startWorker=False)
        found = self.master.service_manager.namedServices
        announcer = found[Announcer.name]
        await until(announcer.state, "the announcer to find the journal")
        return announcer, found[Journal.name]

    def settings_with(self, **notices: Any) -> Settings:
        return a_settings(Path.cwd(), notices={
            "commands": [{"command": f"cat >> {self.diary}", "deadline_seconds": 20}], **notices})

    @property
    def told(self) -> list[str]:
        lines = self.diary.read_text().splitlines() if self.diary.exists() else []
        return [json.loads(line)["kind"] for line in lines]

    async def test_what_the_journal_hears_is_told(self) -> None:
        """With the address at which this master is found."""

        announcer, journal = await self.start()
        for event in waiting():
            journal.note(event)
        await until(lambda: self.told, "the notice")
        self.assertEqual(self.told, ["waiting for approval"])
        (document,) = map(json.loads, self.diary.read_text().splitlines())
        self.assertTrue(document["page_url"].startswith(self.master.config.buildbotURL + "plugins/"))
        await until(lambda: announcer.state()[0].delivered, "the count")

    async def test_no_command_is_run_while_the_database_has_just_been_closed(self) -> None:
        """A fork takes the master's only thread, and with it the outage's."""

        announcer, journal = await self.start()
        for event in (*waiting(), approved(), planned(180)):
            journal.note(event)
        await until(lambda: announcer.state()[0].delivered == 2, "the first notices")
        journal.note(closed())
        await pause(0.3)
        self.assertEqual(len(self.told), 2)
        journal.note(over())
        await until(lambda: len(self.told) == 4, "the rest")
        self.assertEqual(self.told[2:], ["closed", "reopened"])
        await until(lambda: announcer.state()[0].delivered == 4, "the count")

    async def test_a_restart_repeats_nothing(self) -> None:
        """Nor does it tell anything twice that comes after it."""

        announcer, journal = await self.start()
        for event in (*waiting(), approved()):
            journal.note(event)
        await until(lambda: announcer.state()[0].delivered == 1, "the first notice")
        for service in (announcer, journal):
            await service.stopService()
        await journal.startService()
        await announcer.startService()
        journal.note(planned(180))
        await until(lambda: announcer.state()[0].delivered == 1, "the next notice")
        self.assertEqual(self.told, ["waiting for approval", "announced"])

    async def test_a_master_that_stops_lets_go_of_what_hangs(self) -> None:
        """After two seconds; no process and no timer is left."""

        begun = Path("begun").absolute()
        announcer, journal = await self.start(commands=[{"command": f"echo $$ > {begun}; sleep 300"}])
        for event in waiting():
            journal.note(event)
        await until(lambda: begun.exists() and begun.read_text(), "the command to begin")
        before = reactor.seconds()  # type: ignore[attr-defined]
        await announcer.stopService()
        self.assertLess(reactor.seconds() - before, 10)  # type: ignore[attr-defined]
        process = Path(f"/proc/{begun.read_text().strip()}")
        await until(lambda: not process.exists(), "the command to end")
        await until(lambda: not self.timers_of_commands(), "its timers to end")
        await announcer.startService()  # the test kit stops every service once more

    async def test_other_settings_hold_from_the_next_notice_on(self) -> None:
        """A reconfiguration tells nothing twice and forgets nothing."""

        announcer, journal = await self.start()
        for event in waiting():
            journal.note(event)
        await until(lambda: self.told, "the first notice")
        other = Announcer(settings=self.settings_with(commands=[
            {"command": f"cat >> {self.diary}", "kinds": ["announced"]}]))
        await Deferred.fromCoroutine(_reconfigured(announcer, other))
        for event in (approved(), planned(180), closed()):
            journal.note(event)
        await until(lambda: announcer.state()[0].delivered == 1, "the next notice")
        self.assertEqual(self.told, ["waiting for approval", "announced"])
        journal.note(over())

    def timers_of_commands(self) -> list[Any]:
        return [call for call in reactor.getDelayedCalls()  # type: ignore[attr-defined]
                if type(getattr(call.func, "__self__", None)).__name__ == "_Told"]


async def _reconfigured(service: Announcer, sibling: Announcer) -> None:
    await service.reconfigServiceWithSibling(sibling)

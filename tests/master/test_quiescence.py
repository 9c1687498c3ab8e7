"""The service that remembers what was quiesced."""

from __future__ import annotations

from buildbot.test.util.integration import RunMasterBase
from twisted.internet.defer import Deferred, gatherResults

from master.quiescence import Quiescence


class AQuiescence(RunMasterBase):
    """In a real master: what it notes is in the state database."""

    async def test_builds_that_note_at_once_do_not_undo_each_other(self) -> None:
        """One ends while the next begins: what the next has stopped was forgotten, and nobody resumed it."""

        await self.setup_master({"services": [Quiescence()], "multiMaster": True}, startWorker=False)
        service = self.master.service_manager.namedServices[Quiescence.name]
        await service.remember(1, ["start one"])
        await gatherResults([Deferred.fromCoroutine(service.remember(2, ["start two"])),
                             Deferred.fromCoroutine(service.forget(1)),
                             Deferred.fromCoroutine(service.remember(3, ["start three"]))])
        owed = [await service.owed(number) for number in (1, 2, 3)]
        for number in (2, 3):
            await service.forget(number)
        self.assertEqual(owed, [(), ("start two",), ("start three",)])

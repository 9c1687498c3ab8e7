"""Quiesce: stops the background tasks as the settings say, and waits until they have run out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from downtime import errors
from downtime.history.events import Quiescing
from steps.shared import happenings, wording
from steps.shared.base import RunbookStep
from steps.shared.commands import Command
from steps.shared.names import Property
from steps.shared.results import SUCCESS


class NotQuiesced(errors.Refused):
    """A command of `quiesce.stop` failed; what the ones before it have stopped is resumed."""

    happened = "`{command}` {ended}"
    next_step = "see the log; correct environments.{environment}.quiesce.stop, or what it starts, and ask again"


class GivenUp(errors.Refused):
    happened = "{reason} while the background tasks were being quiesced"
    next_step = "ask for the deployment again when you are ready"


class Quiesce(RunbookStep):
    """Nothing to do where the settings name no commands. `Resume` undoes it, whatever happens in between."""

    name = "quiesce background tasks"

    def __init__(self, settings: Any, **keywords: Any) -> None:
        super().__init__(settings, **keywords)
        self._command: Command | None = None

    async def act(self) -> int:
        quiesce = self.environment.quiesce
        if not quiesce.stop:
            self.say("nothing to quiesce")
            return SUCCESS
        lead = timedelta(0) if self.getProperty(Property.HURRIED) else timedelta(minutes=quiesce.lead_minutes)
        deadline = self.master.reactor.seconds() + lead.total_seconds()
        self.journal.note(Quiescing(at=happenings.now(), patch_id=str(self.getProperty(Property.PATCH)),
                                    request_id=self.request_id, begins_at=happenings.now() + lead))
        # noted before the first command: after a crash in the middle of one everything is resumed
        await self.quiescence.remember(self.build_id, tuple(reversed(quiesce.resume)))
        for number, command in enumerate(quiesce.stop, start=1):
            await self._stop(number, command)
        if lead:
            self.say(f"quiesced by {wording.count(len(quiesce.stop), 'command')}; the downtime begins in"
                     f" {quiesce.lead_minutes} min")
            await self._wait(deadline)
        self.say(f"quiesced by {wording.count(len(quiesce.stop), 'command')}")
        return SUCCESS

    def stopping(self, reason: str) -> None:
        if self._command is not None:
            self._command.kill(reason)
        self.turns.end(self.build_id)

    async def _stop(self, number: int, command: str) -> None:
        self._go_on()
        self._command = Command(command, reactor=self.master.reactor)
        finished = await self._command.run()
        self._command = None
        await self.write(f"stop {number}", f"$ {command}\n{finished.output}{finished.ended}")
        self._go_on()
        if not finished.succeeded:
            raise NotQuiesced(command=command, ended=finished.ended, environment=self.environment_name)

    async def _wait(self, deadline: float) -> None:
        """Until then (on the reactor's clock), or until an operator says that it begins now."""
        while True:
            self._go_on()
            moment, left = self.turns.moment, deadline - self.master.reactor.seconds()
            if left <= 0 or self._hurried():
                return
            await self.turns.wait(self.build_id, left, since=moment)

    def _hurried(self) -> bool:
        hurry = self.turns.hurried(self.build_id)
        if hurry is not None:
            self.setProperty(Property.HURRIED, hurry.by, self.name)
        return hurry is not None

    def _go_on(self) -> None:
        if self.stop_reason:
            raise GivenUp(reason=self.stop_reason)

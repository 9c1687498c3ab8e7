"""Quiesce: waits for a window, stops the background tasks as the settings say, and waits until they have run out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from downtime import errors, windows
from steps.shared import wording
from steps.shared.base import RunbookStep
from steps.shared.commands import Command
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
        self._waiting: Deferred[None] | None = None

    async def act(self) -> int:
        quiesce = self.environment.quiesce
        await self._wait_for_window(lead_seconds=quiesce.lead_minutes * 60 if quiesce.stop else 0)
        if not quiesce.stop:
            self.say("nothing to quiesce")
            return SUCCESS
        # noted before the first command: after a crash in the middle of one everything is resumed
        await self.quiescence.remember(self.build_id, tuple(reversed(quiesce.resume)))
        for number, command in enumerate(quiesce.stop, start=1):
            await self._stop(number, command)
        if quiesce.lead_minutes:
            self.say(f"quiesced by {wording.count(len(quiesce.stop), 'command')}; the downtime begins in"
                     f" {quiesce.lead_minutes} min")
            await self._wait(quiesce.lead_minutes * 60)
        self.say(f"quiesced by {wording.count(len(quiesce.stop), 'command')}")
        return SUCCESS

    def stopping(self, reason: str) -> None:
        if self._command is not None:
            self._command.kill(reason)
        if self._waiting is not None:
            self._waiting.cancel()

    async def _wait_for_window(self, *, lead_seconds: float) -> None:
        """Until quiescing now would end in a window."""
        now = datetime.now(UTC)
        seconds = windows.seconds_until_open(self.environment.windows, now + timedelta(seconds=lead_seconds))
        if seconds > 0:
            begins = now + timedelta(seconds=seconds + lead_seconds)
            self.say(f"waiting for the window: the downtime begins at {begins:%F %H:%M %Z}")
            await self._wait(seconds)

    async def _stop(self, number: int, command: str) -> None:
        self._go_on()
        self._command = Command(command, reactor=self.master.reactor)
        finished = await self._command.run()
        self._command = None
        await self.write(f"stop {number}", f"$ {command}\n{finished.output}{finished.ended}")
        self._go_on()
        if not finished.succeeded:
            raise NotQuiesced(command=command, ended=finished.ended, environment=self.environment_name)

    async def _wait(self, seconds: float) -> None:
        self._go_on()
        self._waiting = deferLater(self.master.reactor, seconds, lambda: None)
        try:
            await self._waiting
        except CancelledError:
            self._go_on()
            raise

    def _go_on(self) -> None:
        if self.stop_reason:
            raise GivenUp(reason=self.stop_reason)

"""Quiesce: stops the background tasks, each its time before the downtime, and looks whether they have run out.

What has not run out by then is a warning: whether its transactions are worth waiting for is what the check of fragile
users decides.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from twisted.internet.defer import Deferred, DeferredList

from downtime import errors
from downtime.history.events import Quiescing
from downtime.printable import printable
from downtime.quiescing import progress, users
from downtime.quiescing.progress import Standing
from downtime.quiescing.tasks import Action, Task, tasks_of
from steps.shared import happenings, wording
from steps.shared.base import RunbookStep
from steps.shared.commands import Command, Finished
from steps.shared.names import Property
from steps.shared.results import SUCCESS, WARNINGS

POLL_SECONDS = 5.0       # between two looks; each costs a process per task that is asked
LEAST_LOOK_SECONDS = 1.0  # for an answer when the downtime is about to begin


class NotQuiesced(errors.Refused):
    """A task could not be stopped; those before it, and what of it may have been stopped, are resumed."""

    happened = "{task} was not stopped: `{command}` {ended}"
    next_step = "see the log; correct the task in environments.{environment}.quiesce, or what it stops, and ask again"


class GivenUp(errors.Refused):
    happened = "{reason} while the background tasks were being quiesced"
    next_step = "ask for the deployment again when you are ready"


class Quiesce(RunbookStep):
    """Nothing to do where the settings name no tasks. `Resume` undoes it, whatever happens in between."""

    name = "quiesce background tasks"

    def __init__(self, settings: Any, **keywords: Any) -> None:
        super().__init__(settings, **keywords)
        self._commands: set[Command] = set()
        self._standings: dict[str, Standing] = {}
        self._begins = 0.0  # of the downtime, on the reactor's clock
        self._log: Any = None
        self._logged = ""

    async def act(self) -> int:
        try:
            return await self._quiesce()
        finally:
            self.turns.end(self.build_id)  # from here on it waits for nothing that an operator could cut short

    async def _quiesce(self) -> int:
        tasks = tasks_of(self.environment.quiesce)
        if not tasks:
            self.say("nothing to quiesce")
            return SUCCESS
        self._log = await self.addLog("progress")
        owed = await self.quiescence.owed(self.build_id)  # by the deployment before, which has left it stopped
        lead = timedelta(0)
        if not owed and not self.getProperty(Property.HURRIED):
            lead = timedelta(seconds=self.environment.quiesce.lead_seconds)
        self._begins = self._seconds() + lead.total_seconds()
        self.journal.note(Quiescing(at=happenings.now(), patch_id=str(self.getProperty(Property.PATCH)),
                                    request_id=self.request_id, begins_at=happenings.now() + lead))
        self._standings = {task.name: Standing(task=task, stopped_at=happenings.now() if task.owed in owed else None)
                           for task in tasks}
        await self._until_it_begins()
        await self._look(seconds=None)
        self._go_on()
        return self._verdict()

    async def _until_it_begins(self) -> None:
        """Stop what is due and look at what is stopped, until everything is due and the time has come."""
        while True:
            await self._stop_what_is_due()
            if self._begins <= self._seconds():
                return
            looking = Deferred.fromCoroutine(self._look(seconds=self._begins - self._seconds()))
            await self._wait()
            if self.stop_reason or self._begins <= self._seconds():
                self._end_commands("was not done when the downtime was to begin")
            await looking

    def _verdict(self) -> int:
        count = wording.count(len(self._standings), "background task")
        left = progress.at_work(tuple(self._standings.values()))
        if not left:
            self.say(f"quiesced: {count}")
            return SUCCESS
        self.say(f"{', '.join(each.task.name for each in left)} still had work when the downtime was to begin"
                 f" ({count} stopped)")
        return WARNINGS

    def stopping(self, reason: str) -> None:
        self._end_commands(reason)
        self.turns.end(self.build_id)

    # -- stop --------------------------------------------------------------------------------------------------------

    async def _stop_what_is_due(self) -> None:
        for standing in tuple(self._standings.values()):
            if not standing.is_stopped and self._begins - standing.task.lead_seconds <= self._seconds():
                await self._stop(standing.task)
        self._go_on()

    async def _stop(self, task: Task) -> None:
        self._go_on()
        # before its command: after a crash in the middle of that it is resumed
        await self.quiescence.remember(self.build_id, (task.owed, *await self.quiescence.owed(self.build_id)))
        finished = await self._run(task.stop)
        await self.write(f"stop {task.name}", f"$ {task.stop.command}\n{finished.output}{finished.ended}")
        self._go_on()
        if not finished.succeeded:
            raise NotQuiesced(task=task.name, command=task.stop.command, ended=finished.ended,
                              environment=self.environment_name)
        self._standings[task.name] = Standing(task=task, stopped_at=happenings.now())
        await self._tell()

    # -- look --------------------------------------------------------------------------------------------------------

    async def _look(self, *, seconds: float | None) -> None:
        """Ask what is stopped whether it is quiet, within so long; None: the last look, which asks every task."""
        asked = [each for each in self._standings.values()
                 if each.is_stopped and each.task.can_be_asked and (seconds is None or not each.is_quiet)]
        sessions = await self._sessions(asked)
        await DeferredList([Deferred.fromCoroutine(self._ask(each, seconds, sessions)) for each in asked],
                           fireOnOneErrback=True, consumeErrors=True)
        await self._tell()

    async def _ask(self, standing: Standing, seconds: float | None, sessions: users.Found) -> None:
        task, why_not = standing.task, sessions.of(standing.task.users)
        if task.stopped is not None and not why_not:
            limit = task.stopped.seconds
            if seconds is not None:
                limit = min(limit, max(seconds, LEAST_LOOK_SECONDS))
            finished = await self._run(replace(task.stopped, seconds=limit))
            said = wording.one_line(finished.output)
            why_not = "" if finished.succeeded else said or finished.ended
        quiet_at = None if why_not else standing.quiet_at or happenings.now()
        self._standings[task.name] = replace(standing, quiet_at=quiet_at, why_not=why_not)

    async def _sessions(self, asked: list[Standing]) -> users.Found:
        wanted = {user for each in asked for user in each.task.users}
        targets = [each.target for each in self.environment.members()]
        return await users.find(wanted, targets, reactor=self.master.reactor)

    # -- wait --------------------------------------------------------------------------------------------------------

    async def _wait(self) -> None:
        """For the next look, the next task, the begin of the downtime, or an operator who says that it begins now."""
        moment, now = self.turns.moment, self._seconds()
        due = [self._begins - each.task.lead_seconds for each in self._standings.values() if not each.is_stopped]
        at_work = [each for each in self._standings.values() if each.task.can_be_asked and not each.is_quiet]
        until = min([self._begins, *due, *([now + POLL_SECONDS] if at_work else [])])
        if not self._hurried():
            await self.turns.wait(self.build_id, max(0.0, until - now), since=moment)
        if self._hurried():
            self._begins = self._seconds()

    def _hurried(self) -> bool:
        hurry = self.turns.hurried(self.build_id)
        if hurry is not None:
            self.setProperty(Property.HURRIED, hurry.by, self.name)
        return hurry is not None

    # -- all of them -------------------------------------------------------------------------------------------------

    async def _run(self, action: Action) -> Finished:
        command = Command(action.command, reactor=self.master.reactor, deadline_seconds=action.seconds, leashed=True)
        self._commands.add(command)
        try:
            return await command.run()
        finally:
            self._commands.discard(command)

    def _end_commands(self, reason: str) -> None:
        for command in tuple(self._commands):
            command.kill(reason)

    async def _tell(self) -> None:
        """Where it stands, for whoever looks; the log has a part for each change."""
        standings = tuple(self._standings.values())
        now = happenings.now()
        begins_at = now + timedelta(seconds=self._begins - self._seconds())
        begins = f"; the downtime begins at {begins_at:%H:%M %Z}" if begins_at > now else ""
        self.say(f"{progress.sentence(standings, now)}{begins}")
        table = progress.table(standings)
        if table != self._logged:
            self._logged = table
            await self._log.addStdout(f"{now:%H:%M:%S %Z}\n{printable(table)}\n\n")

    def _go_on(self) -> None:
        if self.stop_reason:
            raise GivenUp(reason=self.stop_reason)

    def _seconds(self) -> float:
        return float(self.master.reactor.seconds())

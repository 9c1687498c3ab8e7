"""Resume: starts again what `quiesce` has stopped, whatever came of the deployment.

Where the next deployment is about to begin in the same window it leaves the tasks stopped for that one.
"""

from __future__ import annotations

from downtime import windows
from downtime.quiescing import tasks
from steps.shared import happenings, last_words, wording
from steps.shared.base import RunbookStep
from steps.shared.commands import Command
from steps.shared.names import Property
from steps.shared.results import FAILURE, SKIPPED, SUCCESS


class Resume(RunbookStep):
    """Runs every command, also when one fails; what has failed is tried again by the service, every minute."""

    name = "resume background tasks"
    alwaysRun = True
    haltOnFailure = False
    reports_its_own_end = True  # a stopped build has its tasks resumed all the same
    hideStepIf = staticmethod(lambda result, step: result == SKIPPED)

    async def act(self) -> int:
        owed = await self.quiescence.owed(self.build_id)
        if not owed:
            await self.quiescence.forget(self.build_id)
            return SKIPPED
        if await self._is_followed():
            await self.quiescence.keep(self.build_id)
            self.say(f"left stopped for the deployment that follows: {tasks.names(owed)}")
            return SUCCESS
        failed = {each: ended for each in owed if (ended := await self._resume(each))}
        if failed:
            await self.quiescence.try_again(self.build_id, tuple(failed))
            self.say(f"tried again every minute, unless you start it by hand: {'; '.join(failed.values())}")
            return FAILURE
        await self.quiescence.forget(self.build_id)
        self.say(f"{wording.count(len(owed), 'background task')} resumed: {tasks.names(owed)}")
        return SUCCESS

    async def _resume(self, owed: tasks.Owed) -> str:
        """What went wrong, or an empty text."""
        finished = await Command(owed.command, reactor=self.master.reactor, deadline_seconds=owed.seconds).run()
        await self.write(f"resume {owed.task}", f"$ {owed.command}\n{finished.output}{finished.ended}")
        return "" if finished.succeeded else f"{owed.task}: `{owed.command}` {finished.ended}"

    async def _is_followed(self) -> bool:
        """Whether another build has stopped them too, or one may begin that waited for this patch alone."""
        if self.quiescence.wanted_by_another(self.build_id):
            return True
        outcome = self.outages.outcome(self.build_id)
        patch = str(self.getProperty(Property.PATCH))
        if outcome is None or not last_words.is_applied(
                last_words.of_all(await last_words.end_of(outcome), patch, self.settings)):
            return False
        followers = self.turns.followers(patch)
        is_open = windows.seconds_until_open(self.environment.windows, happenings.now()) == 0
        return any(is_open or self.turns.hurried(build_id) is not None for build_id in followers)

"""Resume: starts again what `quiesce` has stopped, whatever came of the deployment."""

from __future__ import annotations

from steps.shared import wording
from steps.shared.base import RunbookStep
from steps.shared.commands import Command
from steps.shared.results import FAILURE, SKIPPED, SUCCESS


class Resume(RunbookStep):
    """Runs every command, also when one fails; what has failed is tried again by the service, every minute."""

    name = "resume background tasks"
    alwaysRun = True
    haltOnFailure = False
    reports_its_own_end = True  # a stopped build has its tasks resumed all the same
    hideStepIf = staticmethod(lambda result, step: result == SKIPPED)

    async def act(self) -> int:
        commands = await self.quiescence.owed(self.build_id)
        if not commands:
            await self.quiescence.forget(self.build_id)
            return SKIPPED
        failed = {}
        for number, command in enumerate(commands, start=1):
            finished = await Command(command, reactor=self.master.reactor).run()
            await self.write(f"resume {number}", f"$ {command}\n{finished.output}{finished.ended}")
            if not finished.succeeded:
                failed[command] = f"`{command}` {finished.ended}"
        if failed:
            await self.quiescence.try_again(self.build_id, tuple(failed))
            self.say(f"{'; '.join(failed.values())}: it is tried again every minute, unless you start it by hand")
            return FAILURE
        await self.quiescence.forget(self.build_id)
        self.say(f"resumed by {wording.count(len(commands), 'command')}")
        return SUCCESS

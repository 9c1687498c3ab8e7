"""Resume: starts again what `quiesce` has stopped, whatever came of the deployment."""

from __future__ import annotations

from steps.shared import wording
from steps.shared.base import RunbookStep
from steps.shared.commands import Command
from steps.shared.results import FAILURE, SKIPPED, SUCCESS


class Resume(RunbookStep):
    """Runs every command, also when one fails; what is left undone is undone by the service at the master's start."""

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
        failed = []
        for number, command in enumerate(commands, start=1):
            finished = await Command(command, reactor=self.master.reactor).run()
            await self.write(f"resume {number}", f"$ {command}\n{finished.output}{finished.ended}")
            if not finished.succeeded:
                failed.append(f"`{command}` {finished.ended}")
        await self.quiescence.forget(self.build_id)
        if failed:
            self.say(f"{'; '.join(failed)}: start it by hand")
            return FAILURE
        self.say(f"resumed by {wording.count(len(commands), 'command')}")
        return SUCCESS

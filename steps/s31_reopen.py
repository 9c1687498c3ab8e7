"""Reopen: undoes what a dead deployment has left closed. Never opens what an administrator has closed."""

from __future__ import annotations

from downtime import errors, recovery
from downtime.settings import Role
from steps.shared import asking
from steps.shared.base import RunbookStep
from steps.shared.names import BuilderName, Property
from steps.shared.results import SUCCESS


class UnknownEnvironment(errors.Refused):
    happened = "there is no environment {name!r}"
    next_step = "ask again, for staging or production"


class Reopen(RunbookStep):
    """The only step of `reopen`; safe at any time."""

    name = "reopen"

    async def act(self) -> int:
        await asking.who_asked(self, BuilderName.REOPEN, {Role.OPERATOR})
        name = str(self.getProperty(Property.ENVIRONMENT))
        try:
            environment = self.settings.environment(name)
        except KeyError:
            raise UnknownEnvironment(name=name) from None
        recovered = await recovery.reopen_all(environment, reactor=self.master.reactor)
        await self.write("recovery", "\n".join(recovered.lines))
        self.say(recovered.lines[-1], headline=recovered.lines[-1])
        return SUCCESS

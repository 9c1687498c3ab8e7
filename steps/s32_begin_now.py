"""Begin now: an operator's word that an approved deployment does not wait for its window."""

from __future__ import annotations

from downtime import errors
from downtime.history.events import Hurried
from downtime.settings import Role
from steps.shared import asking, happenings
from steps.shared.base import RunbookStep
from steps.shared.names import BuilderName, Property
from steps.shared.results import SUCCESS
from steps.shared.services import Hurry


class NothingWaits(errors.Refused):
    happened = "no approved deployment waits under build {given}"
    next_step = "look at the page Deployments; only what is approved and waits for a time can begin now"


class BeginNow(RunbookStep):
    """The only step of `begin-now`. Patches before it are waited for all the same: order is no matter of time."""

    name = "begin now"

    async def act(self) -> int:
        names = await asking.who_asked(self, BuilderName.BEGIN_NOW, {Role.OPERATOR})
        by, reason = min(names, key=len), str(self.getProperty(Property.REASON) or "").strip()
        given = str(self.getProperty(Property.BUILD) or "").strip()
        build_id = int(given) if given.isascii() and given.isdigit() else -1
        properties = await self.master.data.get(("builds", build_id, "properties"))
        if not self.turns.hurry(build_id, Hurry(by=by, reason=reason)):
            raise NothingWaits(given=given or "(none)")
        patch = str(properties[Property.PATCH][0])
        build = await self.master.data.get(("builds", build_id))
        self.journal.note(Hurried(at=happenings.now(), patch_id=patch, request_id=build["buildrequestid"], by=by,
                                  reason=reason))
        sentence = f"{patch} begins now, on the word of {by}" + (f": {reason}" if reason else "")
        self.say(sentence, headline=sentence)
        return SUCCESS

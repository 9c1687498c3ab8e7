"""Admit: may this build deploy at all? Says no before anything is touched and before anybody is asked."""

from __future__ import annotations

from typing import Any

from downtime import errors
from downtime.plan import plan
from downtime.settings import Role
from steps.shared import asking, errands
from steps.shared.base import RunbookStep
from steps.shared.errands import Errand
from steps.shared.names import BUILDER_OF, BuilderName, Property
from steps.shared.results import SUCCESS


class AlreadyBegun(errors.Refused):
    """Buildbot builds a request again after a crash; a deployment is never repeated unasked."""

    happened = "build {number} of this very request has begun to deploy already, and its outcome is in its own log"
    next_step = "look at that build and at `python -m downtime status`, then ask for the deployment anew"


class WrongLane(errors.Refused):
    happened = "{patch} declares the lane {lane}, which the builder {builder} does not deploy"
    next_step = "ask the builder {right!r}"


class NotPending(errors.Refused):
    happened = "{reason}"
    next_step = "python -m downtime plan shows what is pending"


class AskedTwice(errors.Refused):
    happened = "{patch} waits for its approval already: {url}"
    next_step = "decide about that build, or stop it and ask again"


class Admit(RunbookStep):
    """First step of `production` and `live`."""

    name = "admit"

    def __init__(self, settings: Any, builder: BuilderName, **keywords: Any) -> None:
        super().__init__(settings, **keywords)
        self.builder_name = builder

    async def act(self) -> int:
        await self._refuse_repetition()
        asked_by = await asking.who_asked(self, self.builder_name, {Role.OPERATOR})
        errand = await errands.read(self)
        self._refuse_what_cannot_be(errand)
        await self._refuse_unless_pending(errand)
        await self._note(errand, asked_by)
        self.say(errand.evidence.sentence)
        return SUCCESS

    async def _refuse_repetition(self) -> None:
        assert self.build is not None
        for request in self.build.requests:
            for build in await self.master.data.get(("buildrequests", request.id, "builds")):
                properties = await self.master.data.get(("builds", build["buildid"], "properties"))
                if build["buildid"] != self.build_id and Property.BEGUN in properties:
                    raise AlreadyBegun(number=build["number"])

    def _refuse_what_cannot_be(self, errand: Errand) -> None:
        patch = errand.patch
        if BUILDER_OF[patch.lane] is not self.builder_name:
            raise WrongLane(patch=patch.id, lane=patch.lane, builder=self.builder_name,
                            right=str(BUILDER_OF[patch.lane]))
        if (waiting := self.approvals.waiting_for(patch.id)) is not None:
            raise AskedTwice(patch=patch.id, url=waiting.build_url)

    async def _refuse_unless_pending(self, errand: Errand) -> None:
        """Patches before it may be pending still: they are asked about when somebody approves."""
        found = plan(errand.inventory, await self.read_ledger(self.environment))
        if errand.patch.id not in {patch.id for patch in found.pending} or errand.patch in found.late:
            raise NotPending(reason=found.objections_to(errand.patch)[0])

    async def _note(self, errand: Errand, asked_by: frozenset[str]) -> None:
        authors = await self.patches.repository.authors(errand.patch.commit, errand.patch.path)
        requested_by = sorted(errand.requested_by | asked_by | authors)
        for name, value in ((Property.PATCH, errand.patch.id), (Property.SHA256, errand.patch.sha256),
                            (Property.DIGEST, errand.evidence.digest), (Property.REQUESTED_BY, requested_by)):
            self.setProperty(name, value, self.name)

"""Admit: may this build deploy at all? Says no before anything is touched and before anybody is asked."""

from __future__ import annotations

from typing import Any

from downtime import deployment_lock, errors, ledger
from downtime.fleet import ledgers
from downtime.history.events import Offered
from downtime.node import Node, connect
from downtime.plan import listing
from downtime.settings import Role
from steps.shared import asking, errands, happenings
from steps.shared.base import RunbookStep
from steps.shared.errands import Errand
from steps.shared.names import BUILDER_OF, BuilderName, Property
from steps.shared.results import SUCCESS, WARNINGS

BEGUN_ALREADY = "build {number} of this request has begun to deploy already, and its master died in the middle: "


class NotRepeated(errors.Refused):
    """Buildbot builds a request again after a crash; a deployment is never repeated unasked."""

    happened = BEGUN_ALREADY + "{environment} does not have {patch}; {rest}"
    next_step = "ask for the deployment anew when you are ready"


class HalfWay(errors.Refused):
    """The master died between the first of several databases and the last."""

    happened = BEGUN_ALREADY + "{had} of {all} databases have {patch}; without it: {listing}"
    next_step = "ask for the deployment anew when you are ready: it goes on with those that lack it"


class StillUnderWay(errors.Refused):
    """The session of the dead deployment, or another deployer, may commit yet."""

    happened = BEGUN_ALREADY + "{environment} does not have {patch} yet, and is being deployed to: {holder}"
    next_step = "python -m downtime status --environment {environment}, until that session is gone"
    left = errors.Left.UNKNOWN


class OutcomeUnknown(errors.Refused):
    happened = BEGUN_ALREADY + "{environment} cannot be asked whether it has {patch}: {reason}"
    next_step = "python -m downtime status --environment {environment}, and ask for the deployment anew if it is not in"
    left = errors.Left.UNKNOWN


class WrongLane(errors.Refused):
    happened = "{patch} declares the lane {lane}, which the builder {builder} does not deploy"
    next_step = "ask the builder {right!r}"


class NotPending(errors.Refused):
    happened = "{reason}"
    next_step = "python -m downtime plan shows what is pending"


class AskedTwice(errors.Refused):
    happened = "{patch} waits for its approval already: {url}"
    next_step = "decide about that build, or stop it and ask again"


class ApprovedAlready(errors.Refused):
    """Whoever rejected the second one would believe that nothing is deployed."""

    happened = "{patch} is approved already and on its way: {url}"
    next_step = "let that build go on, let it begin now, or stop it and ask again"


class Admit(RunbookStep):
    """First step of `production` and `live`."""

    name = "admit"
    warnOnWarnings = True  # the one case: what a dead master has done already

    def __init__(self, settings: Any, builder: BuilderName, **keywords: Any) -> None:
        super().__init__(settings, **keywords)
        self.builder_name = builder

    async def act(self) -> int:
        if (died := await self._died_before()) is not None:
            return await self._tell_what_came_of(*died)
        asked_by = await asking.who_asked(self, self.builder_name, {Role.OPERATOR})
        errand = await errands.read(self)
        self._refuse_what_cannot_be(errand)
        await self._refuse_unless_pending(errand)
        await self._note(errand, asked_by)
        self.say(errand.evidence.sentence)
        return SUCCESS

    async def _died_before(self) -> tuple[int, str] | None:
        """Number and patch of an earlier build of this very request that has touched production; or None."""
        assert self.build is not None
        for request in self.build.requests:
            for build in await self.master.data.get(("buildrequests", request.id, "builds")):
                properties = await self.master.data.get(("builds", build["buildid"], "properties"))
                if build["buildid"] != self.build_id and Property.BEGUN in properties:
                    patch, _ = properties.get(Property.PATCH) or (self.getProperty(Property.PATCH), "")
                    return build["number"], str(patch)
        return None

    async def _tell_what_came_of(self, number: int, patch: str) -> int:
        """Whatever came of it, this build deploys nothing."""
        facts: dict[str, Any] = {"number": number, "patch": patch, "environment": self.environment_name}
        try:
            if self.environment.fleet.databases:
                return await self._tell_of_several(facts)
            node = await connect(self.environment.target, application_name="fastdowntime looking what came of it",
                                 reactor=self.master.reactor)
            try:
                return await self._tell(node, facts)
            finally:
                node.close()
        except errors.NodeError as error:
            raise OutcomeUnknown(**facts, reason=error) from error

    async def _tell(self, node: Node, facts: dict[str, Any]) -> int:
        # asked before the ledger: whoever has let go of the lock by now has committed by now, or never will
        holder = await deployment_lock.holder(node, node.target.database)
        found = next((entry for entry in await ledger.read(node) if entry.id == facts["patch"]), None)
        if found is None and holder is not None:
            raise StillUnderWay(**facts, holder=deployment_lock.describe(holder))
        self.setProperty(Property.APPLIED, found is not None, self.name)
        if found is None:
            raise NotRepeated(**facts, rest=await self._what_is_left(node, facts["patch"]), left=self._left)
        return self._tell_deployed(
            f"{found.id} is deployed: {self.environment_name} has it since {found.finished_at:%F %T %Z},"
            f" applied in {found.seconds:.3f} s", facts)

    async def _tell_of_several(self, facts: dict[str, Any]) -> int:
        environment, reactor = self.environment, self.master.reactor
        deploying = await ledgers.deployers(environment, reactor=reactor)  # before the ledgers, as above
        had = await ledgers.read(environment, reactor=reactor)
        lacking = [name for name, entries in had.items() if facts["patch"] not in {entry.id for entry in entries}]
        if busy := [f"{name}: {deploying[name]}" for name in lacking if name in deploying]:
            raise StillUnderWay(**facts, holder=listing(busy))
        self.setProperty(Property.APPLIED, not lacking, self.name)
        if lacking:
            raise HalfWay(**facts, had=len(had) - len(lacking), all=len(had), listing=listing(lacking), left=self._left)
        return self._tell_deployed(f"{facts['patch']} is deployed: all {len(had)} databases have it", facts)

    def _tell_deployed(self, what: str, facts: dict[str, Any]) -> int:
        sentence = f"{what}; the master died before build {facts['number']} could say so"
        self.say(sentence, headline=sentence)
        assert self.build is not None
        self.build.terminate = True  # there is nothing left to do, and nothing has failed
        return WARNINGS

    @property
    def _left(self) -> errors.Left:
        return errors.Left.REOPENED if self.builder_name is BuilderName.PRODUCTION else errors.Left.OPEN

    async def _what_is_left(self, node: Node, patch: str) -> str:
        if self.builder_name is BuilderName.PRODUCTION:
            return "it was rolled back"
        done = await ledger.half_way(node, patch)
        return f"of its statements {done} are done and stay, and asked for anew it goes on behind them"

    def _refuse_what_cannot_be(self, errand: Errand) -> None:
        patch = errand.patch
        if BUILDER_OF[patch.lane] is not self.builder_name:
            raise WrongLane(patch=patch.id, lane=patch.lane, builder=self.builder_name,
                            right=str(BUILDER_OF[patch.lane]))
        if (waiting := self.approvals.waiting_for(patch.id)) is not None:
            raise AskedTwice(patch=patch.id, url=waiting.build_url)
        # with other evidence the one on its way is about to be given up: what was approved is not what would run
        approved = self.approvals.on_its_way(patch.id)
        if approved is not None and approved.digest == errand.evidence.digest:
            raise ApprovedAlready(patch=patch.id, url=approved.build_url)

    async def _refuse_unless_pending(self, errand: Errand) -> None:
        """Patches before it may be pending still: they are asked about when somebody approves."""
        found = await self.read_plan(self.environment, errand.inventory)
        if errand.patch.id not in {patch.id for patch in found.pending} or errand.patch in found.late:
            raise NotPending(reason=found.objections_to(errand.patch)[0])

    async def _note(self, errand: Errand, asked_by: frozenset[str]) -> None:
        authors = await self.patches.repository.authors(errand.patch.commit, errand.patch.path)
        requested_by = sorted(errand.requested_by | asked_by | authors)
        for name, value in ((Property.PATCH, errand.patch.id), (Property.SHA256, errand.patch.sha256),
                            (Property.DIGEST, errand.evidence.digest), (Property.REQUESTED_BY, requested_by)):
            self.setProperty(name, value, self.name)
        known = self.journal.journey(errand.patch.id)
        if known is None or self.request_id not in {attempt.request_id for attempt in known.attempts}:
            # asked for with a button: what a rehearsal offers is in the journal already
            self.journal.note(Offered(at=happenings.now(), patch_id=errand.patch.id, request_id=self.request_id,
                                      requested_by=tuple(requested_by)))

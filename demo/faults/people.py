"""What people do with the buildmaster of a world: ask, approve, look what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from demo import web
from demo.faults.sample import LIVE_PATCH, PATCH
from demo.sandbox import Sandbox
from demo.stage import WAITING
from demo.web import Build, Web
from steps.shared.names import FORCED_BY, BuilderName, Property

ANSWER_SECONDS = 45.0    # of the buildmaster to what it is asked; 0.5 s on a quiet machine
ENDED_SECONDS = 40.0     # from a fault to the end of the build


@dataclass(slots=True)
class People:
    """Their sessions at the buildmaster of a sandbox. Blocking."""

    sandbox: Sandbox
    _sessions: dict[str, Web] = field(default_factory=dict, init=False)

    def as_(self, name: str) -> Web:
        """Somebody's session; they sign in when they are first needed, and again after a restart with a new state."""
        if name not in self._sessions:
            self._sessions[name] = Web.signed_in(self.sandbox.address, name, self.sandbox.passwords[name])
        return self._sessions[name]

    def forget_sessions(self) -> None:
        self._sessions.clear()

    def ask(self, patch: str = PATCH) -> Build:
        """An operator asks for the deployment; the build, when it waits for its approval."""
        builder = BuilderName.LIVE if patch == LIVE_PATCH else BuilderName.PRODUCTION
        request = self.as_("operator").force(FORCED_BY[builder], patch=patch)
        return self.awaits_approval(self.as_("operator").build_of(builder, request, ANSWER_SECONDS))

    def awaits_approval(self, build: Build) -> Build:
        """The build, when it waits for its approval. Raises WebError where it ends instead."""
        def look() -> Build | None:
            now = self.as_("operator").build(build)
            if now.complete:
                raise web.WebError(0, f"should wait for approval:\n{self.as_('operator').story_of(now)}")
            return now if self.is_asking(now) else None
        return web.wait(look, ANSWER_SECONDS, "the build to wait for its approval")

    def is_asking(self, build: Build) -> bool:
        """Whether it waits for its approval now."""
        return any(step.state.startswith(WAITING) for step in self.as_("operator").steps(build))

    def approve(self, build: Build, *, by: str = "approver", reason: str = "") -> int:
        """Somebody lets it through; not waited for. Returns the build request of the decision."""
        return self.as_(by).force(FORCED_BY[BuilderName.APPROVE], build=str(build.id), decision="approve",
                                  reason=reason, digest=build.properties[Property.DIGEST])

    def ended(self, build: Build) -> Build:
        return self.as_("operator").ended(build, ENDED_SECONDS)

    def story_of(self, build: Build) -> str:
        """The build as it is now, a line for each step."""
        operator = self.as_("operator")
        return operator.story_of(operator.build(build))

    def builds_of_request(self, build: Build) -> list[Build]:
        """Every build that was made of the same request, latest first."""
        rows = self.as_("operator").get(f"buildrequests/{self._request_of(build)}/builds", order="-number")["builds"]
        return [self.as_("operator").build(replace(build, id=row["buildid"])) for row in rows]

    def latest_of_request(self, build: Build) -> Build:
        """The latest build that was made of the same request."""
        return self.as_("operator").build_of(build.builder, self._request_of(build), ANSWER_SECONDS)

    def is_done_with(self, build: Build) -> bool:
        """Whether Buildbot will make no further build of the same request."""
        (request,) = self.as_("operator").get(f"buildrequests/{self._request_of(build)}")["buildrequests"]
        return bool(request["complete"])

    def later_build(self, build: Build) -> Build:
        """The build that Buildbot makes of the same request after a restart."""
        def look() -> Build | None:
            latest = self.latest_of_request(build)
            return latest if latest.id != build.id else None
        try:
            return web.wait(look, ANSWER_SECONDS, "the request to be built again")
        except web.WebError as error:
            (request,) = self.as_("operator").get(f"buildrequests/{self._request_of(build)}")["buildrequests"]
            raise AssertionError(f"{error}: {request}\n{self.story_of(build)}") from error

    def stop_builds(self) -> None:
        """End what waits or runs still."""
        operator = self.as_("operator")
        for builder in (BuilderName.PRODUCTION, BuilderName.LIVE):
            (known,) = operator.get(f"builders/{builder}")["builders"]
            waiting = operator.get(f"builders/{known['builderid']}/buildrequests", complete="false", claimed="false")
            for request in waiting["buildrequests"]:
                operator.call(f"buildrequests/{request['buildrequestid']}", "cancel", reason="put right")
            for build in operator.builds(builder, limit=10):
                if not build.complete:
                    operator.stop(build, "put right")
                    operator.ended(build, ENDED_SECONDS)

    def _request_of(self, build: Build) -> int:
        (found,) = self.as_("operator").get(f"builds/{build.id}")["builds"]
        return int(found["buildrequestid"])

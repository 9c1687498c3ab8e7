"""Who may do what on the web pages and through the API: a rule per builder, and "no" at the end.

Our rules stand before those of a configuration that was there before us: they decide about our builders, schedulers
and workers and about nothing else. Where there was no configuration before us, whoever has no role may change nothing.
What the rules cannot see (see `steps.shared.asking`), the first step of each build looks at again.

| builder    | ask for it          | stop, cancel | again, in another order |
|------------|---------------------|--------------|-------------------------|
| staging    | operators, sign-off | operators    | nobody                  |
| production | operators           | operators    | nobody                  |
| live       | operators           | operators    | nobody                  |
| approve    | approvers, sign-off | operators    | nobody                  |
| begin-now  | operators           | operators    | nobody                  |
| reopen     | operators           | operators    | nobody                  |
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from buildbot.data.buildrequests import BuildRequestEndpoint
from buildbot.data.builds import BuildEndpoint
from buildbot.data.exceptions import InvalidPathError
from buildbot.data.forceschedulers import ForceSchedulerEndpoint
from buildbot.data.schedulers import SchedulerEndpoint
from buildbot.data.workers import WorkerEndpoint
from buildbot.www.authz import Authz
from buildbot.www.authz.endpointmatchers import AnyControlEndpointMatcher, EndpointMatcherBase, Match
from buildbot.www.authz.roles import RolesFromBase
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from downtime.settings import People, Role
from steps.shared.names import SCHEDULERS, BuilderName, ServiceName

LOG = Logger()

NOBODY = "nobody (not permitted to anybody, or the state database cannot be read)"  # the refusal names it
WORKERS = "fastdowntime-"       # how the names of our workers begin

MAY_FORCE: dict[BuilderName, tuple[Role, ...]] = {
    BuilderName.STAGING: (Role.OPERATOR, Role.SIGNOFF),
    BuilderName.PRODUCTION: (Role.OPERATOR,),
    BuilderName.LIVE: (Role.OPERATOR,),
    BuilderName.APPROVE: (Role.APPROVER, Role.SIGNOFF),
    BuilderName.BEGIN_NOW: (Role.OPERATOR,),
    BuilderName.REOPEN: (Role.OPERATOR,),
}


def role_name(role: Role) -> str:
    """Buildbot's name of the role; a foreign configuration may have its own `operators`."""
    return f"fastdowntime-{role}"


class RolesOfPeople(RolesFromBase):  # type: ignore[misc]
    """The roles that the settings give to a user name or an e-mail address."""

    def __init__(self, people: People) -> None:
        super().__init__()
        self.people = people

    def getRolesFromUser(self, userDetails: dict[str, Any]) -> list[str]:
        visitors = self.master.service_manager.namedServices.get(ServiceName.VISITORS)
        if visitors is not None:
            visitors.note(userDetails)
        names = [str(userDetails[key]) for key in ("username", "email") if userDetails.get(key)]
        return [role_name(role) for role in self.people.roles_of(*names)]


class Controls(EndpointMatcherBase):  # type: ignore[misc]
    """Matches what changes something about one of our builders; `actions` empty: whatever it is.

    What cannot be looked up matches the rule that denies, and none that allows.
    """

    def __init__(self, role: str, *, builders: Collection[str], actions: Collection[str] = (),
                 defaultDeny: bool = True) -> None:
        super().__init__(role=role, defaultDeny=defaultDeny)
        self.builders = frozenset(builders)
        self.actions = frozenset(actions)

    def match(self, ep: Any, action: str = "get", options: dict[str, Any] | None = None) -> Deferred[Match | None]:
        return Deferred.fromCoroutine(self._match(ep, action, options or {}))

    async def _match(self, ep: Any, action: str, options: dict[str, Any]) -> Match | None:
        if action.lower() == "get" or (self.actions and action not in self.actions):
            return None
        try:
            endpoint, arguments = self.master.data.getEndpoint(ep)
        except InvalidPathError:
            return None  # there is no such thing, so nothing can be done to it
        try:
            touched = await self._builders_at(endpoint, arguments, options)
        except Exception as error:
            LOG.warn("cannot tell what {path} is about: {error!r}", path=ep, error=error)
            touched = self.builders if self.role == NOBODY else frozenset()
        return Match(self.master) if self.builders & touched else None

    async def _builders_at(self, endpoint: Any, arguments: dict[str, Any], options: dict[str, Any]) -> frozenset[str]:
        if isinstance(endpoint, ForceSchedulerEndpoint):
            scheduler = next(each for each in self.master.allSchedulers() if each.name == arguments["schedulername"])
            # Buildbot takes any builder's id here, whatever the scheduler was made for
            return frozenset(await scheduler.computeBuilderNames(options.get("builderNames"), options.get("builderid")))
        if isinstance(endpoint, (BuildEndpoint, BuildRequestEndpoint)):
            found = await endpoint.get({}, arguments)
            if found is None:
                return frozenset()
            builder = await self.master.data.get(("builders", found["builderid"]))
            return frozenset({builder["name"]})
        return frozenset()


class OurSchedulersAndWorkers(EndpointMatcherBase):  # type: ignore[misc]
    """Matches what is done to a scheduler or a worker of ours; `actions` empty: whatever it is."""

    def __init__(self, role: str, *, actions: Collection[str] = ()) -> None:
        super().__init__(role=role)
        self.actions = frozenset(actions)

    def match(self, ep: Any, action: str = "get", options: dict[str, Any] | None = None) -> Deferred[Match | None]:
        return Deferred.fromCoroutine(self._match(ep, action))

    async def _match(self, ep: Any, action: str) -> Match | None:
        if action.lower() == "get" or (self.actions and action not in self.actions):
            return None
        try:
            endpoint, arguments = self.master.data.getEndpoint(ep)
        except InvalidPathError:
            return None
        if isinstance(endpoint, SchedulerEndpoint):
            # by its id alone, as Buildbot acts: with another master's id in the path its own `get` finds nothing
            found = await self.master.data.get(("schedulers", arguments["schedulerid"]))
            return Match(self.master) if found and found["name"] in SCHEDULERS else None
        if isinstance(endpoint, WorkerEndpoint):
            found = await endpoint.get({}, arguments)
            return Match(self.master) if found and found["name"].startswith(WORKERS) else None
        return None


def rules() -> list[EndpointMatcherBase]:
    """Our rules, first match first."""
    everything = [builder.value for builder in BuilderName]
    operators = role_name(Role.OPERATOR)
    found: list[EndpointMatcherBase] = []
    for builder, roles in MAY_FORCE.items():
        for role in roles:
            found.append(Controls(role_name(role), builders=[builder.value], actions=["force"],
                                  defaultDeny=role is roles[-1]))
    return [*found,
            Controls(operators, builders=everything, actions=["stop", "cancel"]),
            Controls(NOBODY, builders=everything),
            OurSchedulersAndWorkers(operators, actions=["enable", "pause", "unpause"]),
            OurSchedulersAndWorkers(NOBODY)]  # a worker inside the master that was shut down keeps it from ending


def authz(people: People, before_us: Authz | None) -> Authz:
    """Our rules, and behind them those that were there before us, or a "no" for whoever has no role."""
    if before_us is None:
        return Authz(allowRules=[*rules(), AnyControlEndpointMatcher(role=role_name(Role.OPERATOR))],
                     roleMatchers=[RolesOfPeople(people)])
    return Authz(allowRules=[*rules(), *before_us.allowRules], stringsMatcher=before_us.match,
                 roleMatchers=[*before_us.roleMatchers, *before_us.ownerRoleMatchers, RolesOfPeople(people)])

"""What the pages read, out of the running master. Pages are made in threads: every question goes to the reactor."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from buildbot.data.exceptions import InvalidPathError
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread

from downtime.errors import DowntimeError
from downtime.evidence import Evidence
from downtime.git import RepositoryError
from downtime.history.events import Event
from downtime.history.journey import Journey
from downtime.printable import cut
from downtime.settings import Settings
from master.recovery import Recovery
from steps.shared.names import ServiceName

T = TypeVar("T")

ROOT = "../../../"           # from any of our pages to Buildbot's own, whatever path prefix it lives below
LONGEST_DIFF = 200_000       # characters; more is no reading for a page
OUTAGE = "outage"            # the names of the build data
FLEET = "fleet"


class Source(Protocol):
    """What pages read. Every method may be called from any thread, and blocks it."""

    @property
    def settings(self) -> Settings: ...

    @property
    def base_url(self) -> str:
        """The relative way from one of our pages to Buildbot's root."""

    def now(self) -> datetime:
        """Aware, UTC."""

    def journeys(self) -> Mapping[str, Journey]:
        """Everything that is known, by patch."""

    def events(self) -> tuple[Event, ...]:
        """Everything that has happened, oldest first."""

    def evidence(self, journey: Journey) -> Evidence | None:
        """Of the newest rehearsal; None where it is not kept, or of another version."""

    def outage(self, build_id: int) -> dict[str, Any]:
        """The outage document of a build; empty where there is none."""

    def fleet(self, build_id: int) -> dict[str, Any]:
        """What became of each of several databases in a build, or has so far; empty where there is one."""

    def in_doubt(self) -> bool:
        """Whether nobody knows that production is open, while no deployment is under way."""

    def patch_diff(self, journey: Journey) -> str:
        """What the patch's last landing changed in its file, or a sentence on why that cannot be shown."""


class MasterSource:
    """See `Source`."""

    base_url = ROOT

    def __init__(self, settings: Settings, master: Callable[[], Any]) -> None:
        """`master` gives the running one: it is not there yet when the configuration is read."""
        self.settings = settings
        self._master = master

    def now(self) -> datetime:
        return datetime.now(UTC)

    def journeys(self) -> Mapping[str, Journey]:
        found: Mapping[str, Journey] = self._of_journal("journeys")
        return found

    def events(self) -> tuple[Event, ...]:
        found: tuple[Event, ...] = self._of_journal("events")
        return found

    def evidence(self, journey: Journey) -> Evidence | None:
        rehearsed = journey.rehearsed
        if rehearsed is None:
            return None
        found: Evidence | None = self._ask(
            lambda: self._service(ServiceName.EVIDENCE).find(journey.patch_id, rehearsed.sha256))
        return found

    def outage(self, build_id: int) -> dict[str, Any]:
        return self._ask(lambda: self._kept(build_id, OUTAGE))

    def fleet(self, build_id: int) -> dict[str, Any]:
        return self._ask(lambda: self._kept(build_id, FLEET))

    def in_doubt(self) -> bool:
        # a look at a dictionary, which any thread may take; a master that is put together otherwise has no recovery
        recovery = self._master().service_manager.namedServices.get(Recovery.name)
        return recovery is not None and recovery.in_doubt(self.settings.environments.production.name)

    def patch_diff(self, journey: Journey) -> str:
        rehearsed = journey.rehearsed
        if rehearsed is None:
            return ""
        try:
            return cut(self._ask(lambda: self._diff(rehearsed.commit, rehearsed.path)), LONGEST_DIFF)
        except DowntimeError as error:
            return f"The repository does not show it: {error}"

    def _of_journal(self, question: str) -> Any:
        return blockingCallFromThread(self._reactor, getattr(self._service(ServiceName.JOURNAL), question))

    def _ask(self, question: Callable[[], Coroutine[Any, Any, T]]) -> T:
        ask: Callable[[], Any] = lambda: Deferred.fromCoroutine(question())  # noqa: E731
        answer: T = blockingCallFromThread(self._reactor, ask)
        return answer

    async def _kept(self, build_id: int, name: str) -> dict[str, Any]:
        try:
            found = await self._master().data.get(("builds", str(build_id), "data", name, "value"))
        except InvalidPathError:
            return {}
        return dict(json.loads(found["raw"])) if found else {}

    async def _diff(self, commit: str, path: str) -> str:
        repository = self._service(ServiceName.PATCHES).repository
        try:
            landings = await repository.landings_of(commit, path)
        except RepositoryError:  # of several buildmasters another one has looked at it
            await repository.fetch()
            landings = await repository.landings_of(commit, path)
        text: str = await repository.diff(await repository.parent(landings[0]), landings[0], path) if landings else ""
        return text

    def _service(self, name: ServiceName) -> Any:
        return self._master().service_manager.namedServices[name.value]

    @property
    def _reactor(self) -> Any:
        return self._master().reactor

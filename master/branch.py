"""The service that reads the patches of the branch: one copy of the repository, and the inventories taken of late."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from buildbot.util.service import BuildbotService
from twisted.internet.defer import Deferred, DeferredLock
from twisted.python.failure import Failure

from downtime import deployments
from downtime.repository import Repository
from downtime.settings import Settings
from steps.shared.names import ServiceName
from steps.shared.services import Snapshot

KEPT_INVENTORIES = 4  # the tip and the landings looked at last; one of 10,000 patches holds the text of them all


class Branch(BuildbotService):  # type: ignore[misc]
    """See `steps.shared.services.Patches`."""

    name = ServiceName.PATCHES.value

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._repository: Repository | None = None
        self._inventories: dict[str, Snapshot] = {}
        self._asking: list[Deferred[str]] = []  # for the tip, since the last fetch began
        self._fetching = DeferredLock()

    def reconfigService(self, settings: Settings) -> None:
        self._settings = settings
        self._repository = None
        self._inventories.clear()

    @property
    def repository(self) -> Repository:
        if self._repository is None:
            about = self._settings.repository
            self._repository = Repository(about.url, about.branch, Path(self.master.basedir) / "repository.git",
                                          reactor=self.master.reactor)
        return self._repository

    async def tip(self) -> Snapshot:
        return await self.at(await self._fetched())

    async def at(self, commit: str) -> Snapshot:
        found = self._inventories.pop(commit, None)
        if found is None:
            found = Snapshot(commit=commit, inventory=await deployments.inventory_at(
                self.repository, self._settings, commit))
        self._inventories[commit] = found
        while len(self._inventories) > KEPT_INVENTORIES:
            del self._inventories[next(iter(self._inventories))]  # the one not asked for the longest
        return found

    def _fetched(self) -> Deferred[str]:
        """The commit at the tip, as it is now or later: of a fetch that has not begun yet.

        Whoever asks while one is under way shares the next: of ten deployments that wait for each other each looks at
        the branch whenever one of them ends, and a fetch costs 20 ms of the reactor.
        """
        asking: Deferred[str] = Deferred()
        self._asking.append(asking)
        if len(self._asking) == 1:
            self._fetching.run(lambda: Deferred.fromCoroutine(self._fetch_for_all()))
        return asking

    async def _fetch_for_all(self) -> None:
        asking, self._asking = self._asking, []
        try:
            commit = await self.repository.fetch()
        except Exception:
            why = Failure()
            for each in asking:
                each.errback(why)
        else:
            for each in asking:
                each.callback(commit)

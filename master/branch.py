"""The service that reads the patches of the branch: one copy of the repository, and the inventories taken of late."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from buildbot.util.service import BuildbotService

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
        return await self.at(await self.repository.fetch())

    async def at(self, commit: str) -> Snapshot:
        found = self._inventories.pop(commit, None)
        if found is None:
            found = Snapshot(commit=commit, inventory=await deployments.inventory_at(
                self.repository, self._settings, commit))
        self._inventories[commit] = found
        while len(self._inventories) > KEPT_INVENTORIES:
            del self._inventories[next(iter(self._inventories))]  # the one not asked for the longest
        return found

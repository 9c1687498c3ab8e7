"""Who gets a place among the deployments: patches in their order, and the first of them always.

Every deployment that waits, for an approval or for its turn, holds a worker. If the workers were all held by patches
that follow another one, that other one could never begin, and nothing would go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from downtime.history.journey import Journey
from downtime.patches import number_of
from downtime.settings import Settings
from master import leadership
from steps.shared.names import Property, ServiceName


class Places:
    """What a builder of deployments asks before it begins one."""

    def __init__(self, settings: Settings) -> None:
        self._counting = settings.patches.number

    async def next_request(self, builder: Any, requests: Sequence[Any]) -> Any:
        """Of the requests that wait for a worker the one whose patch comes first: `nextBuild`."""
        return min(requests, key=lambda request: (self._number(patch_of(request)), request.id))

    async def may_begin(self, builder: Any, worker: Any, request: Any) -> bool:
        """Whether a worker may be taken: the last free one is kept for the first patch. `canStartBuild`."""
        if not leadership.leads(builder.master):
            return False
        if sum(each.isAvailable() for each in builder.workers) > 1:
            return True
        journal = builder.master.service_manager.namedServices[ServiceName.JOURNAL]
        return self.is_first(patch_of(request), journal.journeys())

    def is_first(self, patch: str, journeys: Mapping[str, Journey]) -> bool:
        """Whether no patch before this one is known that is not in production."""
        return not any(self._number(other) < self._number(patch) and journey.in_production_at is None
                       and journey.withdrawn is None for other, journey in journeys.items())

    def _number(self, patch: str) -> tuple[int, ...]:
        return number_of(patch, self._counting)


def patch_of(request: Any) -> str:
    return str(request.properties.getProperty(Property.PATCH) or "")

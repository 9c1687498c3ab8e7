"""The service that lets approved deployments wait for their turn, and wakes them when something has changed.

In memory only: after a restart the builds ask again, and find in the journal what was approved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from buildbot.util.service import BuildbotService
from twisted.internet.defer import Deferred

from steps.shared.names import ServiceName
from steps.shared.services import Hurry


class Turns(BuildbotService):  # type: ignore[misc]
    """See `steps.shared.services.Turns`."""

    name = ServiceName.TURNS.value

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._waiting: dict[int, Deferred[None]] = {}
        self._here: set[int] = set()  # builds that wait, or are busy between two waits
        self._hurried: dict[int, Hurry] = {}
        self._behind: dict[int, tuple[str, ...]] = {}
        self.moment = 0

    async def wait(self, build_id: int, seconds: float, *, since: int) -> None:
        self._here.add(build_id)
        if since != self.moment:
            return  # what has changed has changed while the build looked
        waiting: Deferred[None] = Deferred()
        self._waiting[build_id] = waiting
        timer = self.master.reactor.callLater(seconds, self._wake, build_id)
        try:
            await waiting
        finally:
            if timer.active():
                timer.cancel()

    def end(self, build_id: int) -> None:
        self._here.discard(build_id)
        self._hurried.pop(build_id, None)
        self._behind.pop(build_id, None)
        self._wake(build_id)

    def follow(self, build_id: int, behind: Sequence[str]) -> None:
        self._behind[build_id] = tuple(behind)

    def followers(self, patch_id: str) -> tuple[int, ...]:
        return tuple(build_id for build_id, behind in self._behind.items() if behind == (patch_id,))

    def wake(self) -> None:
        self.moment += 1
        for build_id in list(self._waiting):
            self._wake(build_id)

    def hurry(self, build_id: int, hurry: Hurry) -> bool:
        if build_id not in self._here:
            return False
        self._hurried[build_id] = hurry
        self.moment += 1  # it may look just now, and be about to wait
        self._wake(build_id)
        return True

    def hurried(self, build_id: int) -> Hurry | None:
        return self._hurried.get(build_id)

    def _wake(self, build_id: int) -> None:
        waiting = self._waiting.pop(build_id, None)
        if waiting is not None:
            waiting.callback(None)

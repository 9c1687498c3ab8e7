"""What steps expect of the master's services. Steps import nothing of `master`: they find a service by its name."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred

from downtime.approval import Decision, Outcome, Request
from downtime.evidence import Evidence
from downtime.history.events import Event
from downtime.history.journey import Journey
from downtime.patches import Inventory
from downtime.repository import Repository

T = TypeVar("T")


class Course(Protocol):
    """Something under way on a database that can be ended: an outage, a live application, a rehearsal."""

    def abort(self, reason: str) -> None: ...


class Outages(Protocol):
    """Owns what is under way on databases, so that a build that dies changes nothing about how it ends."""

    async def take_turn(self, build_id: int, database: str) -> None:
        """Wait until no other build of this master is at work on the database."""

    def hold(self, build_id: int, course: Course) -> None:
        """From now on the course is the service's to end."""

    def supervise(self, build_id: int, work: Coroutine[Any, Any, T]) -> Deferred[T]:
        """Run the work of the held course as the service's own; fires with its result."""

    def course_of(self, build_id: int) -> Any:
        """What the build holds, or None."""

    def outcome(self, build_id: int) -> Deferred[Any] | None:
        """Fires with the result of the supervised work; None where the build has none."""

    async def release(self, build_id: int) -> None:
        """End whatever the build holds, wait until it has ended, and let the next one take its turn."""


class Approvals(Protocol):
    """The builds that wait for somebody's word."""

    def ask(self, request: Request) -> Deferred[Outcome | None]:
        """Fires with what was decided, or with None when the request was withdrawn."""

    def withdraw(self, build_id: int) -> None: ...

    def waiting(self, build_id: int) -> Request | None: ...

    def waiting_for(self, patch_id: str) -> Request | None: ...

    def decide(self, decision: Decision, *, earlier: tuple[str, ...]) -> Outcome: ...


class EvidenceStore(Protocol):
    """What the rehearsals have shown, kept across restarts."""

    async def keep(self, evidence: Evidence) -> None: ...

    async def find(self, patch_id: str, sha256: str) -> Evidence | None: ...


class Quiescence(Protocol):
    """Remembers what was quiesced, across restarts, so that it is resumed whatever became of the build."""

    async def remember(self, build_id: int, resume: Sequence[str]) -> None: ...

    async def owed(self, build_id: int) -> tuple[str, ...]:
        """The commands still to be run, in their running order."""

    async def forget(self, build_id: int) -> None: ...

    async def try_again(self, build_id: int, failed: Sequence[str]) -> None:
        """These alone are owed still: they are tried again, every minute and at the master's start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The patches of one commit."""

    commit: str
    inventory: Inventory


class Patches(Protocol):
    """The repository as this master sees it, and the patches in it."""

    @property
    def repository(self) -> Repository: ...

    async def tip(self) -> Snapshot:
        """The patches at the branch's tip, fetched now."""

    async def at(self, commit: str) -> Snapshot: ...


class Visitors(Protocol):
    """Who has used the web pages: Buildbot hands on one name of a visitor, and rules may know another."""

    async def names_of(self, owner: str) -> frozenset[str]:
        """Every name and address of the visitor whom Buildbot calls so; at least that one."""


class Journal(Protocol):
    """What has happened to every patch, written down once and for good."""

    def note(self, event: Event) -> None:
        """It has happened. Returns at once: it is written down beside the work, and again until it is."""

    async def record(self, event: Event) -> None:
        """Returns when it is written down; what counts only then has not happened where this raises."""

    def journey(self, patch_id: str) -> Journey | None:
        """What is known of a patch; None where nothing is."""

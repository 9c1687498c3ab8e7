"""What steps expect of the master's services. Steps import nothing of `master`: they find a service by its name."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred

from downtime import probing
from downtime.approval import Approval, Decision, Outcome, Rejected, Request
from downtime.evidence import Evidence
from downtime.history.events import Event
from downtime.history.journey import Journey
from downtime.lanes import Lane
from downtime.patches import Inventory
from downtime.quiescing.tasks import Owed
from downtime.repository import Repository
from downtime.settings import Environment

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """Every word that a request needs is there."""

    approvals: tuple[Approval, ...]
    override: bool

    @property
    def by(self) -> str:
        return ", ".join(each.by for each in self.approvals)


@dataclass(frozen=True, slots=True)
class Renewed:
    """There is other evidence than what was shown: the request is to be made anew."""


Word = Cleared | Rejected | Renewed


class Approvals(Protocol):
    """The builds that wait for somebody's word."""

    @property
    def needed(self) -> int:
        """How many approvals a request needs by the settings of today."""

    def ask(self, request: Request, *, lane: Lane) -> Deferred[Word | None]:
        """Fires with what was decided, or with None when the request was withdrawn; at once where enough was approved
        before a restart.
        """

    def withdraw(self, build_id: int) -> None: ...

    def renew(self, evidence: Evidence) -> None:
        """A patch was rehearsed again: a request that waits with other evidence is to be made anew."""

    def waiting(self, build_id: int) -> Request | None: ...

    def waiting_for(self, patch_id: str) -> Request | None: ...

    def on_its_way(self, patch_id: str) -> Request | None:
        """The request that has every word it needs, and whose build has not ended."""

    async def decide(self, decision: Decision, *, earlier: tuple[str, ...], build_url: str = "") -> Outcome:
        """Judge the decision, write it down and, where it counts, deliver it: once. `earlier` are pending patches.

        Raises what writing it down raises; it has not been made then.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Hurry:
    """An operator's word that a deployment begins now."""

    by: str
    reason: str


class Turns(Protocol):
    """The approved builds that wait: for patches before them, or for a time."""

    moment: int  # another one whenever something has changed

    async def wait(self, build_id: int, seconds: float, *, since: int) -> None:
        """Returns after so long, or earlier when anything changes that a turn depends on; at once where the moment
        is not `since` any more.
        """

    def end(self, build_id: int) -> None:
        """The build waits no more."""

    def follow(self, build_id: int, behind: Sequence[str]) -> None:
        """Until `end` it waits for these patches to be in production; none: for its window alone."""

    def followers(self, patch_id: str) -> tuple[int, ...]:
        """The builds that wait for no other patch but this one."""

    def wake(self) -> None:
        """Something has changed: a deployment has ended, or evidence is other than it was."""

    def hurry(self, build_id: int, hurry: Hurry) -> bool:
        """Let it begin now; False where no such build has waited, or it waits for nothing any more."""

    def hurried(self, build_id: int) -> Hurry | None: ...


class EvidenceStore(Protocol):
    """What the rehearsals have shown, kept across restarts."""

    async def keep(self, evidence: Evidence) -> None: ...

    async def find(self, patch_id: str, sha256: str) -> Evidence | None: ...


class Quiescence(Protocol):
    """Remembers which tasks were stopped, across restarts, so that they are resumed whatever became of the build.

    Where another deployment follows, the tasks can stay stopped: `keep` leaves them to whoever claims them first.
    """

    @property
    def kept(self) -> bool:
        """Whether a deployment that has ended has left its tasks stopped, for one that claims them."""

    async def remember(self, build_id: int, owed: Sequence[Owed]) -> None:
        """That is what it owes from now on, in the order in which it is to be resumed. Returns when none is being
        resumed for another build.
        """

    def wanted_by_another(self, build_id: int) -> bool:
        """Whether another build has stopped tasks, and its downtime is to come."""

    async def owed(self, build_id: int) -> tuple[Owed, ...]:
        """What is still to be resumed, in that order."""

    async def forget(self, build_id: int) -> None: ...

    async def try_again(self, build_id: int, failed: Sequence[Owed]) -> None:
        """These alone are owed still: they are tried again, every minute and at the master's start."""

    async def keep(self, build_id: int) -> None:
        """Do not resume what it owes for a minute: a deployment that follows is about to claim it."""

    async def claim(self, build_id: int) -> None:
        """What was kept is from now on owed by this build, which need not stop it again."""


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

    async def ready(self) -> None:
        """Returns when everything that was ever written is known: soon after the master has started."""

    def note(self, event: Event) -> None:
        """It has happened. Returns at once: it is written down beside the work, and again until it is."""

    async def record(self, event: Event) -> None:
        """Returns when it is written down; what counts only then has not happened where this raises."""

    def journeys(self) -> Mapping[str, Journey]:
        """Everything that is known, by patch."""

    def journey(self, patch_id: str) -> Journey | None:
        """What is known of a patch; None where nothing is."""


class Probes(Protocol):
    """Measures outages as a client sees them, where the settings want that. No deployment fails or waits for it."""

    def start(self, build_id: int, environment: Environment) -> Deferred[None]:
        """Fires when it measures, or when it is clear that it will not: within 3 s."""

    def mark(self, build_id: int) -> Deferred[None]:
        """The outage is about to begin: what was seen so far is not of it. Fires within 3 s."""

    def finish(self, build_id: int) -> Deferred[probing.Report | None]:
        """End it and give what was seen since `mark`; None where nothing was measured. Again: the same. Within 3 s."""

    def release(self, build_id: int) -> Deferred[None]:
        """Whatever has happened, nothing of it is left when this fires."""


class Pages(Protocol):
    """The web pages, which share the buildmaster's processor."""

    async def hush(self) -> None:
        """An outage is about to begin: no page is made for some moments. Returns when none is under way, 0.3 s later
        at the latest.
        """

    def speak(self) -> None:
        """It is over."""

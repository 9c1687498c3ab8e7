"""All hot standbys of one database in an outage: looked at before, kicked in it, brought up to date after it.

There are two ways, by the setting `serve_reads`:

* Without it a standby shares the primary's outage. The closing of the gate is flushed, so that it arrives within
  milliseconds; sessions there are checked and kicked like the primary's; COMMIT or (flushed again) ROLLBACK opens it.
* With it replay is paused on every standby before the gate closes, so that they serve the old schema through the
  outage. After the COMMIT they are brought up to date one after another. A pause outlives its deployer, so whoever
  calls writes `replays` down before and has a watchdog stand by: see `downtime.held`.

Either way no COMMIT is sent where a standby is no standby any more: see `downtime.failover`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from time import monotonic
from typing import Any, TypeVar

from twisted.logger import Logger

from downtime import errors, replay, sessions, standby_check
from downtime.catching_up import RESUME_SECONDS, Caught, Committed, ReplayStaysPaused, catch_up
from downtime.failover import FailedOver, Lineage, lineage_of
from downtime.flushing import flush, flushed
from downtime.node import Node, connect
from downtime.parallel import failures, in_parallel, results
from downtime.patches import Patch
from downtime.preflight import PreflightRefused
from downtime.replica import Replica
from downtime.sessions import Session
from downtime.settings.cluster import Replicas as Settings
from downtime.standby_check import Seen
from downtime.target import Target

LOG = Logger()

CALL_OFF_SECONDS = 1.0  # the same before the outage has begun: clients of paused poolers wait for it
T = TypeVar("T")


class Replicas:
    """The standbys of one outage. Every method but `prepare` is a no-op where none is listed."""

    def __init__(self, settings: Settings, primary: Target, reactor: Any) -> None:
        self._settings = settings
        self._primary = primary
        self._replicas = tuple(Replica(target, reactor) for target in settings.targets)
        self._control: Node | None = None
        self._lineage: Lineage | None = None
        self._gate_at: str | None = None  # where in the WAL the gate has closed
        self._paused = False

    @property
    def replays(self) -> tuple[Target, ...]:
        """Where replay will be paused: for whoever must be able to resume it without us."""
        return tuple(each.target for each in self._replicas) if self._settings.serve_reads else ()

    @property
    def lineage(self) -> Lineage:
        """The primary's, as `prepare` has found it."""
        assert self._lineage is not None, "prepare() comes first"
        return self._lineage

    @property
    def kicked(self) -> tuple[tuple[str, Session], ...]:
        """Whom we have ended on the standbys, with the standby's label; those who stalled replay among them."""
        return tuple((each.label, session) for each in self._replicas for session in each.ended.values())

    async def prepare(self, control: Node, rules: sessions.Rules, *, kick_all: bool = True) -> tuple[str, ...]:
        """Open a session on each standby and look; returns what was found, for a log.

        `control` is a session on the primary and stays in use. Raises PreflightRefused with all reasons, or NodeError
        where the primary does not answer; then no session is left open. Waits up to `lag_seconds` for a standby that
        is behind.
        """
        try:
            return await self._prepare(control, rules, kick_all=kick_all)
        except BaseException:
            await self.close()
            raise

    async def _prepare(self, control: Node, rules: sessions.Rules, *, kick_all: bool) -> tuple[str, ...]:
        self._control = control
        self._lineage = await lineage_of(control)
        followers = await standby_check.followers(control)
        lsn = await flushed(control) if self._replicas else ""
        looked = await in_parallel(self._look(each, rules, lsn) for each in self._replicas)
        seen, serve_reads = results(looked), self._settings.serve_reads
        reasons = [str(error) for error in failures(looked)]
        reasons += standby_check.awaited(followers, serve_reads=serve_reads) if self._replicas else []
        for each in seen:
            reasons += standby_check.judge(each, primary=self._primary.label, lineage=self._lineage,
                                           serve_reads=serve_reads, kick_all=kick_all)
        if reasons:
            users = [] if serve_reads else [user for each in seen for user in sessions.users(each.verdict.fragile)]
            raise PreflightRefused(reasons, fragile=users)
        lines = [f"standby {each.label}: follows on timeline {each.observation.timeline}, has replayed what was"
                 f" written after {(each.replayed_seconds or 0) * 1000:.0f} ms, "
                 + (f"{len(each.verdict.to_kick)} client sessions" if not serve_reads else "serves reads throughout")
                 for each in seen]
        return (*lines, *standby_check.warnings(followers, [each.observation for each in seen]))

    async def _look(self, replica: Replica, rules: sessions.Rules, lsn: str) -> Seen:
        observation = await replica.observe(rules)
        began = monotonic()
        seconds = self._settings.lag_seconds
        there = (observation.follows(self.lineage) and observation.replay_state == replay.NOT_PAUSED
                 and await replica.replays(lsn, deadline=began + seconds, clearing=False))
        behind = "" if there else (f"it has not replayed within {seconds:g} s what {self._primary.label} had written,"
                                   f" {await replica.in_the_way()}")
        return Seen(label=replica.label, observation=observation, verdict=await replica.check(), behind=behind,
                    replayed_seconds=monotonic() - began if there else None)

    # -- around the gate ----------------------------------------------------------------------------------------------

    async def pause_replay(self) -> tuple[str, ...]:
        """With serve_reads: returns when no standby replays anything any more; lines for a log.

        Where one fails replay goes on at all of them. Raises ReplayNotPaused, NodeError or ReplayStaysPaused.
        """
        if not self.replays:
            return ()
        self._paused = True
        began = monotonic()
        if failed := failures(await in_parallel(each.pause_replay() for each in self._replicas)):
            await self.let_replay(seconds=CALL_OFF_SECONDS)
            raise failed[0]
        return (f"replay is paused on {self._names}: they serve reads ({(monotonic() - began) * 1000:.0f} ms)",)

    async def gate_closed(self, control: Node) -> None:
        """Say so as soon as the gate has closed, that it closes on the standbys at once; not with serve_reads."""
        if self._replicas and not self.replays:
            self._gate_at = await flush(control)

    async def check(self) -> tuple[Session, ...]:
        """Who would be kicked on the standbys; nobody with serve_reads. Raises FragileUsersActive naming them."""
        if self.replays:
            return ()
        verdicts = await self._on_each(lambda replica: replica.check())
        fragile = [(replica, verdict.fragile)
                   for replica, verdict in zip(self._replicas, verdicts, strict=True) if verdict.fragile]
        if fragile:
            raise sessions.FragileUsersActive(
                listing="; ".join(f"on the standby {replica.label}: {sessions.listing(them)}"
                                  for replica, them in fragile),
                users=sessions.users([each for _, them in fragile for each in them]))
        return tuple(session for verdict in verdicts for session in verdict.to_kick)

    async def kick(self, *, kick_all: bool, deadline: float, before_each: Callable[[], None] = lambda: None) -> None:
        """End the sessions on the standbys, and see that the gate is closed there; nobody with serve_reads.

        `deadline` is of the monotonic clock; `before_each` is called before every look and may raise. Raises
        FragileUsersActive, UnkickableSessions, SessionsSurvive, GateNotReplayed or FailedOver, naming the standby.
        """
        if self.replays:
            return
        given_up: list[errors.DowntimeError] = []

        def go_on() -> None:
            before_each()
            if given_up:
                raise given_up[0]  # of another standby: the outage ends, this sweep with it

        async def kick_one(replica: Replica) -> None:
            try:
                await replica.kick(kick_all=kick_all, deadline=deadline, gate_at=self._gate_at, before_each=go_on)
            except errors.DowntimeError as error:
                given_up.append(error)
                raise

        await self._on_each(kick_one)

    async def refuse_failover(self) -> None:
        """In the last moment before the COMMIT, in one round trip: the standbys are standbys and the primary is the
        primary still. Raises FailedOver; a standby that cannot be asked may have been promoted and counts as such."""
        if not self._replicas:
            return
        assert self._control is not None, "prepare() comes first"
        primary, *standbys = await in_parallel(
            [lineage_of(self._control), *(each.lineage() for each in self._replicas)])
        reasons = self._changes_of_the_primary(primary)
        for replica, found in zip(self._replicas, standbys, strict=True):
            if isinstance(found, errors.DowntimeError):
                reasons.append(f"cannot ask {replica.label} whether it is a standby still: {found}")
            elif not found.is_a_standby_of(self.lineage):
                reasons.append(f"{replica.label} was promoted: it takes writes on timeline {found.timeline}")
        if reasons:
            raise FailedOver(listing="; ".join(reasons))

    def _changes_of_the_primary(self, found: Lineage | errors.DowntimeError) -> list[str]:
        label = self._primary.label
        if isinstance(found, errors.DowntimeError):
            return [f"cannot ask {label} whether it is the primary still: {found}"]
        if replace(found, lsn="") == replace(self.lineage, lsn=""):
            return []
        now = "a standby" if found.in_recovery else f"on timeline {found.timeline}, and was on {self.lineage.timeline}"
        return [f"{label} is not the primary it was: it is {now}"]

    # -- after it -----------------------------------------------------------------------------------------------------

    async def let_replay(self, *, seconds: float = RESUME_SECONDS) -> tuple[str, ...]:
        """The outage came to nothing: the standbys replay its end at once; lines for a log.

        Safe to call again. Raises ReplayStaysPaused where replay could not be resumed within `seconds`, after it was
        everywhere else.
        """
        if not self._replicas:
            return ()
        if self._control is not None and not self._control.closed:
            try:
                await flush(self._control)
            except errors.NodeError as error:
                LOG.info("the end of the outage reaches the standbys a moment later: {error}", error=error)
        if not self._paused:
            return ()
        deadline = monotonic() + seconds
        resumed = await in_parallel(each.resume_replay(deadline=deadline) for each in self._replicas)
        if failed := failures(resumed):
            raise ReplayStaysPaused(listing="; ".join(map(str, failed)))
        self._paused = False
        return (f"replay is resumed on {self._names}",)

    async def catch_up(self, control: Node, patch: Patch) -> Caught:
        """After the COMMIT: returns when every standby has it, or after `catch_up_seconds`.

        With serve_reads replay is resumed on one after another. Sessions that stall replay are ended, but those of
        fragile users. What needs an operator is in the answer, not raised: the patch is in.
        """
        if not self._replicas:
            return Caught()
        committed = Committed(patch=patch, primary=self._primary.label, lsn=await self._behind_the_commit(control))
        return await catch_up(self._replicas, committed, seconds=self._settings.catch_up_seconds, paused=self._paused)

    async def _behind_the_commit(self, control: Node) -> str | None:
        """None where the primary does not answer, not even over a new session."""
        try:
            return await flushed(control)
        except errors.NodeError:
            LOG.info("asking {primary} anew how far its standbys must come", primary=self._primary.label)
        try:
            node = await connect(self._primary, application_name="fastdowntime standbys", reactor=control.reactor)
        except errors.NodeError:
            return None
        try:
            return await flushed(node)
        except errors.NodeError:
            return None
        finally:
            node.close()

    async def close(self) -> None:
        """Give back the sessions; safe at any time."""
        for each in self._replicas:
            each.close()

    async def _on_each(self, work: Callable[[Replica], Coroutine[Any, Any, T]]) -> list[T]:
        """On all at once; what the first has failed with is raised when all have ended."""
        outcomes = await in_parallel(work(each) for each in self._replicas)
        if failed := failures(outcomes):
            raise failed[0]
        return results(outcomes)

    @property
    def _names(self) -> str:
        return ", ".join(each.label for each in self._replicas)

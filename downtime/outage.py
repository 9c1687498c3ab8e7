"""The critical section: prevent connections, check fragile users, kick, apply one patch, allow connections.

The contract, in the order in which a database administrator would ask:

* It ends. Every wait has a deadline, the server's own first; when `limit_seconds` have passed the section aborts
  itself. Committing, failing, aborting and dying all lead to open connections: see `downtime.gate`.
* A failed patch leaves nothing. Patch, ledger row and (gate "refuse") the reopening are one transaction.
* Nobody reopens while the patching session may still commit: it has answered, or it is ended and gone (`_fence`).
* It awaits nothing but the database. All sessions are open and all checks are made by `prepare()` before `run()`
  begins; whoever watches is told a moment later (`REPORT_SECONDS`), so that no watcher costs outage.

Three sessions: the *patcher* runs the transaction and holds the deployment lock; the *control* session lists, kicks,
and cancels the patcher's statement on `abort()`; the gate may have its own. `run()` is one coroutine that belongs to
a service of the master or to the command line, never to a Buildbot step: a step that dies changes nothing here.

    prepare() ──► run(): prevent ──► check ──► kick ──► apply ──┐
                            │          │         │        │     ▼
                            └──────────┴─────────┴────────┴──► allow ──► Report
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from downtime import deployment_lock, errors, gate, ledger, preflight, sessions
from downtime.apply import AppliedStatement, Deployment, apply_cold
from downtime.node import Node, connect, milliseconds
from downtime.phases import Phase, PhaseReport, PhaseState, Report
from downtime.target import Target

LOG = Logger()

KICK_SECONDS = 10.0         # 1,000 sessions die in about 1 s; what still stands after this will not die by itself
PATCH_LOCK_SECONDS = 5.0    # a cold patch waits for nobody but what could not be kicked
IDLE_SECONDS = 3.0          # the server ends a patcher that says nothing for so long inside its transaction
CANCEL_EVERY_SECONDS = 0.05  # an abort repeats its cancel request: the first may fall between two statements
FENCE_SECONDS = 10.0
REPORT_SECONDS = 0.05       # watchers hear of a phase so much later: a short section is over before they are called
DRAIN_PACE = (2, 0.02)      # after the outage, policy `transactions`: sessions at a time and seconds between

# Ends a backend, known by pid and start; says whether it is still there. Works from any database of the cluster.
FENCE = """
SELECT count(pg_catalog.pg_terminate_backend(pid)) AS there
  FROM pg_catalog.pg_stat_get_activity(%s) WHERE backend_start = %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the settings say about outages of one database; durations in seconds."""

    gate: str = "hold"                  # hold | refuse
    kick: str = "all"                   # all | transactions
    fragile: frozenset[str] = frozenset()
    spared: frozenset[str] = frozenset()
    drain_seconds: float = 0.0
    limit_seconds: float = 60.0
    long_transaction_seconds: float = 60.0
    prove_gate: bool = False            # try to get in while the gate is closed; costs the outage 0.3 s


Objections = Callable[[Sequence[ledger.Entry]], Sequence[str]]


@dataclass(slots=True)
class _Course:
    """What happens while the section runs; frozen into a Report at its end."""

    lines: list[str] = field(default_factory=list)
    statements: list[AppliedStatement] = field(default_factory=list)
    idle: tuple[sessions.Session, ...] = ()
    patch_seconds: float = 0.0
    committing: bool = False
    applied: bool = False


class Outage:
    """One patch, one database, one critical section. `prepare()`, then `run()`, and `close()` in any case."""

    def __init__(self, target: Target, deployment: Deployment, rules: Rules, *, reactor: Any = None) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self.deployment = deployment
        self._target = target
        self._rules = rules
        self._reactor = reactor
        self._gate: gate.Gate = (gate.Hold(reactor) if rules.gate == "hold"
                                 else gate.Refuse(target, reactor, limit_seconds=rules.limit_seconds))
        self._patcher: Node | None = None
        self._control: Node | None = None
        self._abort_reason: str | None = None
        self._phase = Phase.PREVENT
        self._reports: dict[Phase, PhaseReport] = {}
        self._watchers: dict[Phase, list[Deferred[PhaseReport]]] = {phase: [] for phase in Phase}
        self._running = False
        self._course = _Course()

    # -- before --------------------------------------------------------------------------------------------------

    async def prepare(self, objections: Objections) -> list[str]:
        """Open every session, take the deployment lock, and look for reasons not to begin.

        `objections` says from the ledger what speaks against this patch (order, drift). Returns what was found, for
        a log. Raises Refused, with nothing closed and nobody kicked, or NodeError.
        """
        name = f"fastdowntime {socket.gethostname()} {os.getpid()} {self.deployment.patch.id}"
        self._patcher = await connect(
            self._target, application_name=name, statement_timeout_seconds=self._rules.limit_seconds,
            reactor=self._reactor, settings={
                "lock_timeout": milliseconds(PATCH_LOCK_SECONDS),
                "idle_in_transaction_session_timeout": milliseconds(IDLE_SECONDS)})
        self._control = await connect(self._target, application_name=f"{name} control", reactor=self._reactor)
        await deployment_lock.take(self._patcher)
        seen = await preflight.observe(self._control)
        reasons = preflight.judge_server(seen, gate=self._rules.gate)
        if reasons:
            raise preflight.PreflightRefused(reasons)
        reasons = list(objections(await ledger.read(self._control)))
        self._session_rules = sessions.Rules(
            fragile=self._rules.fragile, spared=self._rules.spared, superusers=seen.unkickable_users,
            ours=frozenset({self._patcher.pid, self._control.pid}))
        found = await sessions.list_all(self._control, self._session_rules)
        reasons += preflight.judge_traffic(
            seen, sessions.judge(found, self._session_rules), kick_all=self._rules.kick == "all",
            long_transaction_seconds=self._rules.long_transaction_seconds)
        if reasons:
            raise preflight.PreflightRefused(reasons)
        await self._gate.arm(self._patcher)
        self._kick = sessions.Kick(self._control, self._session_rules, self._reactor, before_each=self._go_on)
        started = await self._patcher.execute("SELECT backend_start FROM pg_stat_get_activity(pg_backend_pid())")
        self._patcher_started_at = started.scalar
        return [f"role {seen.role} on {self._target.label}, server version {seen.server_version}",
                f"{len(found)} client sessions, {sum(s.in_transaction for s in found)} of them in a transaction",
                "no fragile user is in a transaction, no prepared transaction, the deployment lock is ours"]

    async def close(self) -> None:
        """Give back sessions and lock; safe at any time, also when `prepare()` failed half-way."""
        if self._running:
            self.abort("the deployment was given up")
            return  # run() closes when it is over
        try:
            await self._gate.disarm()
        except errors.NodeError as error:
            LOG.warn("gate of {database}: {error}", database=self._target.label, error=error)
        for node in (self._patcher, self._control):
            if node is not None:
                node.close()

    # -- the section ---------------------------------------------------------------------------------------------

    async def run(self) -> Report:
        """The critical section. Never raises: whatever happened is in the report, after reopening."""
        assert self._patcher is not None, "prepare() comes first"
        self._running = True
        self._started_at, self._began = datetime.now(UTC), monotonic()
        self._phase_began = self._began
        limit = self._reactor.callLater(
            self._rules.limit_seconds, self.abort, f"the limit of {self._rules.limit_seconds:g} s has passed")
        failure: errors.DowntimeError | None = None
        alive = LoopingCall(self._stay_alive)
        alive.start(IDLE_SECONDS / 3, now=False)
        try:
            async with self._patcher.transaction():
                await self._in_phase(Phase.PREVENT, self._prevent)
                await self._in_phase(Phase.CHECK, self._check)
                await self._in_phase(Phase.KICK, self._kick_sessions)
                await self._in_phase(Phase.APPLY, self._apply)
                await self._gate.allow_in_transaction()
                self._course.committing = True
            self._course.applied = True
        except Exception as error:  # whatever it is, the way to open connections is the same
            failure = _as_ours(error)
        failure = await self._reopen(failure)
        self._running = False
        alive.stop()
        if limit.active():
            limit.cancel()
        drained = await self._drain() if failure is None else ()
        await self.close()
        await self._pause(REPORT_SECONDS + CANCEL_EVERY_SECONDS)  # until every watcher was told, every timer has fired
        return self._report(failure, drained)

    def abort(self, reason: str) -> None:
        """End the section: cancel the statement, roll back, reopen. Without effect once the COMMIT is under way."""
        if self._abort_reason is None:
            self._abort_reason = reason
            if self._running:
                Deferred.fromCoroutine(self._cancel_until_over()).addErrback(_note)

    def watch(self, phase: Phase) -> Deferred[PhaseReport]:
        """Fires when the phase is over or will not be reached."""
        watcher: Deferred[PhaseReport] = Deferred()
        if phase in self._reports:
            watcher.callback(self._reports[phase])
        else:
            self._watchers[phase].append(watcher)
        return watcher

    # -- phases --------------------------------------------------------------------------------------------------

    async def _prevent(self) -> str:
        await self._gate.prevent()
        self._say(f"gate {self._rules.gate} closed: no new client gets in")
        if self._rules.prove_gate:
            await gate.prove(self._target, self._rules.gate, self._reactor)
            self._say("self-test: a new connection did not get in")
        return f"new connections {'wait' if self._rules.gate == 'hold' else 'are refused'}"

    async def _check(self) -> str:
        drain_until = monotonic() + self._rules.drain_seconds
        while True:
            self._go_on()
            verdict = sessions.judge(await sessions.list_all(self._nodes()[1], self._session_rules),
                                     self._session_rules)
            if not verdict.in_transaction or monotonic() >= drain_until:
                break
            await self._pause(0.02)
        if verdict.fragile:
            raise sessions.FragileUsersActive(listing=sessions.listing(verdict.fragile))
        self._course.idle = tuple(s for s in verdict.to_kick if not s.in_transaction)
        count = len(verdict.to_kick)
        self._say(f"{count} sessions, {len(verdict.in_transaction)} in a transaction, none of a fragile user")
        return f"no fragile user among {count} sessions is in a transaction"

    async def _kick_sessions(self) -> str:
        deadline = monotonic() + KICK_SECONDS
        if self._rules.kick == "all":
            await self._kick.everybody(deadline=deadline)
        else:
            await self._kick.those_in_a_transaction(deadline=deadline)
        self._say(f"{len(self._kick.kicked)} sessions kicked and gone")
        return f"kicked {len(self._kick.kicked)} sessions"

    async def _apply(self) -> str:
        patcher, _ = self._nodes()
        self._course.patch_seconds = await apply_cold(
            patcher, self.deployment, before_each=self._go_on, progress=self._course.statements.append)
        self._say(f"{len(self._course.statements)} statements applied, ledger row written")
        return f"applied {self.deployment.patch.id} in {self._course.patch_seconds:.3f} s"

    async def _reopen(self, failure: errors.DowntimeError | None) -> errors.DowntimeError | None:
        """Allow connections, after making sure that the patching session has ended. Returns what really failed."""
        if failure is not None and self._phase not in self._reports:
            self._finish(self._phase, PhaseState.FAILED, str(failure), failure)
        self._phase = Phase.ALLOW
        for phase in Phase:
            if phase not in self._reports and phase is not Phase.ALLOW:
                self._finish(phase, PhaseState.NOT_REACHED, "not reached", None)
        try:
            patcher, _ = self._nodes()
            if patcher.closed:
                await self._fence()
            await self._gate.allow()
            if failure is not None and self._course.committing:
                failure = await self._learn_outcome(failure)
        except errors.NodeError as error:
            stuck = errors.NeedsOperator(
                reason=f"cannot make sure that {self._target.label} is open: {error}",
                command="python -m downtime reopen", left=errors.Left.UNKNOWN)
            self._finish(Phase.ALLOW, PhaseState.FAILED, str(stuck), stuck)
            return stuck
        self._say("connections are allowed")
        self._finish(Phase.ALLOW, PhaseState.DONE, "connections are allowed again", None)
        return failure

    # -- details -------------------------------------------------------------------------------------------------

    async def _in_phase(self, phase: Phase, work: Callable[[], Awaitable[str]]) -> None:
        self._phase = phase
        try:
            self._go_on()
            summary = await work()
        except errors.DowntimeError as error:
            failure = self._aborted(error)
            self._finish(phase, PhaseState.FAILED, str(failure), failure)
            raise failure from error
        self._finish(phase, PhaseState.DONE, summary, None)

    def _go_on(self) -> None:
        if self._abort_reason is not None:
            raise errors.Aborted(phase=self._phase, reason=self._abort_reason)

    def _aborted(self, error: errors.DowntimeError) -> errors.DowntimeError:
        """A cancelled statement is an abort if it was we who cancelled it."""
        error.left = errors.Left.REOPENED
        if self._abort_reason is not None and isinstance(error, errors.StatementCancelled):
            return errors.Aborted(phase=self._phase, reason=self._abort_reason)
        return error

    async def _cancel_until_over(self) -> None:
        patcher, control = self._nodes()
        while self._running and not self._course.committing and not control.closed:
            await control.execute("SELECT pg_catalog.pg_cancel_backend(%s)", (patcher.pid,))
            await self._pause(CANCEL_EVERY_SECONDS)

    def _stay_alive(self) -> None:
        """While we drain and kick the patcher has nothing to say; IDLE_SECONDS is for a master that is gone."""
        patcher, _ = self._nodes()
        if self._phase in (Phase.CHECK, Phase.KICK) and not patcher.closed:
            Deferred.fromCoroutine(patcher.execute("SELECT 1")).addErrback(_note)

    async def _fence(self) -> None:
        """End the patching session and wait until it is gone. Raises NodeError."""
        patcher, control = self._nodes()
        if control.closed:  # the maintenance database can be reached whatever the gate
            control = await connect(self._target.with_database("postgres"), reactor=self._reactor,
                                    application_name="fastdowntime fence", connect_seconds=FENCE_SECONDS)
        deadline = monotonic() + FENCE_SECONDS
        while (await control.execute(FENCE, (patcher.pid, self._patcher_started_at))).scalar:
            if monotonic() > deadline:
                raise errors.DeadlineExceeded(node=self._target.label, what="ending the patching session",
                                              seconds=FENCE_SECONDS)
            await self._pause(0.005)
        self._say("the patching session was lost; it is ended and gone")

    async def _learn_outcome(self, failure: errors.DowntimeError) -> errors.DowntimeError | None:
        """The COMMIT got no answer: the ledger knows whether it was carried out."""
        asking = await connect(self._target, application_name="fastdowntime ledger", reactor=self._reactor)
        try:
            patch = self.deployment.patch
            self._course.applied = await ledger.has(asking, patch.id, patch.sha256)
        finally:
            asking.close()
        return None if self._course.applied else failure

    async def _drain(self) -> tuple[sessions.Session, ...]:
        """Policy `transactions`: end the sessions that were idle, a few at a time, now that they may reconnect."""
        if self._rules.kick == "all":
            return ()
        before = set(self._kick.kicked)
        try:
            await self._kick.idle_ones(self._course.idle, pace=DRAIN_PACE)
        except errors.NodeError as error:
            LOG.warn("draining idle sessions of {database}: {error}", database=self._target.label, error=error)
        return tuple(session for pid, session in self._kick.kicked.items() if pid not in before)

    def _finish(self, phase: Phase, state: PhaseState, summary: str, error: errors.DowntimeError | None) -> None:
        now = monotonic()
        reached = state is not PhaseState.NOT_REACHED
        took = now - self._phase_began if reached else 0.0
        self._reports[phase] = PhaseReport(
            phase=phase, state=state, started_at=datetime.now(UTC) if reached else None, seconds=took,
            summary=summary, log="\n".join(self._course.lines), error=error)
        self._course.lines.clear()
        self._phase_began = now if reached else self._phase_began
        self._reactor.callLater(REPORT_SECONDS, self._tell, phase)

    def _tell(self, phase: Phase) -> None:
        watchers, self._watchers[phase] = self._watchers[phase], []
        for watcher in watchers:
            watcher.callback(self._reports[phase])

    def _say(self, line: str) -> None:
        self._course.lines.append(f"+{(monotonic() - self._began) * 1000:9.1f} ms  {line}")

    def _pause(self, seconds: float) -> Deferred[None]:
        return deferLater(self._reactor, seconds, lambda: None)

    def _nodes(self) -> tuple[Node, Node]:
        assert self._patcher is not None and self._control is not None, "prepare() comes first"
        return self._patcher, self._control

    def _report(self, failure: errors.DowntimeError | None, drained: tuple[sessions.Session, ...]) -> Report:
        drained_pids = {session.pid for session in drained}
        return Report(
            phases=tuple(self._reports[phase] for phase in Phase), started_at=self._started_at,
            outage_seconds=self._phase_began - self._began,
            patch_seconds=self._course.patch_seconds if self._course.applied else 0.0, applied=self._course.applied,
            statements=tuple(self._course.statements), drained=drained, error=failure,
            kicked=tuple(s for pid, s in self._kick.kicked.items() if pid not in drained_pids))


def _as_ours(error: Exception) -> errors.DowntimeError:
    if isinstance(error, errors.DowntimeError):
        return error
    LOG.failure("in the critical section")
    return errors.DowntimeError(reason=f"internal error: {type(error).__name__}: {error}", left=errors.Left.REOPENED)


def _note(failure: Failure) -> None:
    """What fails beside the section is noted; the section notices its effect by itself."""
    failure.trap(errors.NodeError)
    LOG.warn("beside the outage: {error}", error=failure.value)

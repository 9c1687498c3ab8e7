"""The critical section: prevent connections, check fragile users, kick, apply one patch, allow connections.

The contract, in the order in which a database administrator would ask:

* It ends. Every wait has a deadline, the server's own first; when `limit_seconds` have passed the section aborts
  itself. Committing, failing, aborting and dying all lead to open connections: see `downtime.gate`.
* A failed patch leaves nothing. Patch, ledger row and (gate "refuse") the reopening are one transaction.
* Nobody reopens while the patching session may still commit: it has answered, or it is ended and gone (`Ready.fence`).
* It awaits nothing but the database. All sessions are open and all checks are made by `prepare()` before `run()`
  begins; whoever watches is told a moment later (`downtime.chronicle`), so that no watcher costs outage.

`run()` is one coroutine that belongs to a service of the master or to the command line, never to a Buildbot step: a
step that dies changes nothing here.

    prepare() ──► run(): prevent ──► check ──► kick ──► apply ──┐
                            │          │         │        │     ▼
                            └──────────┴─────────┴────────┴──► allow ──► Report
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from downtime import errors, gate, ledger, sessions
from downtime.apply import AppliedStatement, Deployment, apply_cold, was_cancelled
from downtime.chronicle import REPORT_SECONDS, Chronicle
from downtime.clearing import Clearing
from downtime.node import connect
from downtime.phases import Phase, PhaseReport, Report
from downtime.ready import IDLE_SECONDS, Objections, Ready, Rules, make_ready
from downtime.target import Target

LOG = Logger()

CANCEL_EVERY_SECONDS = 0.05  # an abort repeats its cancel request: the first may fall between two statements


class _RolledBackAsAsked(errors.DowntimeError):
    """Takes the patch's transaction back; not a failure."""


@dataclass(slots=True)
class _Course:
    """What happens while the section runs; frozen into a Report at its end."""

    statements: list[AppliedStatement] = field(default_factory=list)
    patch_seconds: float = 0.0
    proof_seconds: float = 0.0
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
        self._prepared: Ready | None = None
        self._abort_reason: str | None = None
        self._phase = Phase.PREVENT
        self._chronicle = Chronicle(reactor)
        self._running = False
        self._course = _Course()

    async def prepare(self, objections: Objections) -> tuple[str, ...]:
        """Open and check everything; returns what was found, for a log. Raises as `make_ready` does."""
        self._prepared = await make_ready(self._target, self.deployment.patch.id, self._rules, objections,
                                          self._reactor)
        self._clearing = Clearing(self._prepared, self._rules, self._reactor, before_each=self._go_on)
        return self._prepared.found

    async def close(self) -> None:
        """Give back sessions and lock; safe at any time, also before `prepare()` and a second time."""
        if self._running:
            self.abort("the deployment was given up")
            return  # run() closes when it is over
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            try:
                await prepared.close()
            except errors.NodeError as error:
                LOG.warn("gate of {database}: {error}", database=self._target.label, error=error)

    @property
    def kicked(self) -> tuple[sessions.Session, ...]:
        """Sessions ended so far."""
        return self._clearing.kicked

    @property
    def statements(self) -> tuple[AppliedStatement, ...]:
        """Statements applied so far; they stay only if the section ends well."""
        return tuple(self._course.statements)

    # -- the section ---------------------------------------------------------------------------------------------

    async def run(self) -> Report:
        """The critical section. Never raises: whatever happened is in the report, after reopening."""
        ready = self._ready
        self._running = True
        self._chronicle.start()
        limit = self._reactor.callLater(
            self._rules.limit_seconds, self.abort, f"the limit of {self._rules.limit_seconds:g} s has passed")
        failure: errors.DowntimeError | None = None
        alive = LoopingCall(self._stay_alive)
        alive.start(IDLE_SECONDS / 3, now=False)
        try:
            async with ready.patcher.transaction():
                await self._in_phase(Phase.PREVENT, self._prevent)
                await self._in_phase(Phase.CHECK, self._check)
                await self._in_phase(Phase.KICK, self._kick_sessions)
                await self._in_phase(Phase.APPLY, self._apply)
                if not self._rules.keep:
                    raise _RolledBackAsAsked(reason="rolled back as asked")
                await ready.gate.allow_in_transaction()
                self._course.committing = True
            self._course.applied = True
        except _RolledBackAsAsked:
            pass
        except Exception as error:  # whatever it is, the way to open connections is the same
            failure = self._aborted(_as_ours(error))
        failure = await self._reopen(failure)
        self._running = False
        alive.stop()
        if limit.active():
            limit.cancel()
        if failure is None:
            await self._clearing.drain()
        await self.close()
        await self._pause(REPORT_SECONDS + CANCEL_EVERY_SECONDS)  # until every watcher was told, every timer has fired
        return self._report(failure)

    def abort(self, reason: str) -> None:
        """End the section: cancel the statement, roll back, reopen. Without effect once the COMMIT is under way."""
        if self._abort_reason is None:
            self._abort_reason = reason
            if self._running:
                Deferred.fromCoroutine(self._cancel_until_over()).addErrback(_note)

    def watch(self, phase: Phase) -> Deferred[PhaseReport]:
        """Fires when the phase is over or will not be reached."""
        return self._chronicle.watch(phase)

    # -- its phases --------------------------------------------------------------------------------------------------

    async def _prevent(self) -> str:
        await self._ready.gate.prevent()
        self._chronicle.note(f"gate {self._rules.gate} closed: no new client gets in")
        if self._rules.prove_gate:
            began = monotonic()
            await gate.prove(self._target, self._rules.gate, self._reactor, witness=self._ready.control)
            self._course.proof_seconds = monotonic() - began
            self._chronicle.note("self-test: a new connection did not get in")
        return f"new connections {'wait' if self._rules.gate == 'hold' else 'are refused'}"

    async def _check(self) -> str:
        verdict = await self._clearing.check()
        count = len(verdict.to_kick)
        self._chronicle.note(
            f"{count} sessions, {len(verdict.in_transaction)} in a transaction, none of a fragile user")
        return f"no fragile user among {count} sessions is in a transaction"

    async def _kick_sessions(self) -> str:
        await self._clearing.kick()
        self._chronicle.note(f"{len(self.kicked)} sessions kicked and gone")
        return f"kicked {len(self.kicked)} sessions"

    async def _apply(self) -> str:
        self._course.patch_seconds = await apply_cold(
            self._ready.patcher, self.deployment, before_each=self._go_on, progress=self._course.statements.append)
        self._chronicle.note(f"{len(self._course.statements)} statements applied, ledger row written")
        return f"applied {self.deployment.patch.id} in {self._course.patch_seconds:.3f} s"

    async def _reopen(self, failure: errors.DowntimeError | None) -> errors.DowntimeError | None:
        """Allow connections, after making sure that the patching session has ended. Returns what really failed."""
        if failure is not None and not self._chronicle.is_over(self._phase):
            self._chronicle.failed(self._phase, failure)
        self._chronicle.skip_to_the_end()
        self._phase = Phase.ALLOW
        try:
            if self._ready.patcher.closed:
                await self._ready.fence()
                self._chronicle.note("the patching session was lost; it is ended and gone")
            await self._ready.gate.allow()
            if failure is not None and self._course.committing:
                failure = await self._learn_outcome(failure)
        except errors.NodeError as error:
            failure = errors.NeedsOperator(
                reason=f"cannot make sure that {self._target.label} is open: {error}",
                command="python -m downtime reopen", left=errors.Left.UNKNOWN)
            self._chronicle.failed(Phase.ALLOW, failure)
            return failure
        self._chronicle.note("connections are allowed")
        if failure is not None and not self._chronicle.has_failed:
            self._chronicle.failed(Phase.ALLOW, failure)  # the COMMIT, or what stands before it: rolled back, and open
        else:
            self._chronicle.done(Phase.ALLOW, "connections are allowed again")
        return failure

    # -- details -------------------------------------------------------------------------------------------------

    async def _in_phase(self, phase: Phase, work: Callable[[], Awaitable[str]]) -> None:
        self._phase = phase
        try:
            self._go_on()
            summary = await work()
        except errors.DowntimeError as error:
            failure = self._aborted(error)
            self._chronicle.failed(phase, failure)
            raise failure from (error if failure is not error else error.__cause__)
        self._chronicle.done(phase, summary)

    def _go_on(self) -> None:
        if self._abort_reason is not None:
            raise errors.Aborted(phase=self._phase, reason=self._abort_reason)

    def _aborted(self, error: errors.DowntimeError) -> errors.DowntimeError:
        """A cancelled statement is an abort if it was we who cancelled it."""
        error.left = errors.Left.REOPENED
        if self._abort_reason is not None and was_cancelled(error):
            return errors.Aborted(phase=self._phase, reason=self._abort_reason)
        return error

    async def _cancel_until_over(self) -> None:
        patcher, control = self._ready.patcher, self._ready.control
        try:
            while self._running and not self._course.committing and not control.closed:
                await control.execute("SELECT pg_catalog.pg_cancel_backend(%s)", (patcher.pid,))
                await self._pause(CANCEL_EVERY_SECONDS)
        finally:
            if self._running and not self._course.committing:
                patcher.close()  # nobody is left who can cancel: the server rolls back when its client is gone

    def _stay_alive(self) -> None:
        """While we drain and kick the patcher has nothing to say; IDLE_SECONDS is for a master that is gone."""
        patcher = self._ready.patcher
        if self._phase in (Phase.CHECK, Phase.KICK) and not patcher.closed:
            Deferred.fromCoroutine(patcher.execute("SELECT 1")).addErrback(_note)

    async def _learn_outcome(self, failure: errors.DowntimeError) -> errors.DowntimeError | None:
        """The COMMIT got no answer: the ledger knows whether it was carried out."""
        asking = await connect(self._target, application_name="fastdowntime ledger", reactor=self._reactor)
        try:
            patch = self.deployment.patch
            self._course.applied = await ledger.has(asking, patch.id, patch.sha256)
        finally:
            asking.close()
        return None if self._course.applied else failure

    def _pause(self, seconds: float) -> Deferred[None]:
        return deferLater(self._reactor, seconds, lambda: None)

    @property
    def _ready(self) -> Ready:
        assert self._prepared is not None, "prepare() comes first"
        return self._prepared

    def _report(self, failure: errors.DowntimeError | None) -> Report:
        return Report(
            phases=self._chronicle.reports, started_at=self._chronicle.started_at,
            outage_seconds=self._chronicle.seconds, patch_seconds=self._course.patch_seconds,
            proof_seconds=self._course.proof_seconds, applied=self._course.applied, statements=self.statements,
            kicked=self.kicked, drained=self._clearing.drained, error=failure)


def _as_ours(error: Exception) -> errors.DowntimeError:
    if isinstance(error, errors.DowntimeError):
        return error
    LOG.failure("in the critical section")
    return errors.DowntimeError(reason=f"internal error: {type(error).__name__}: {error}", left=errors.Left.REOPENED)


def _note(failure: Failure) -> None:
    """What fails beside the section is noted; the section notices its effect by itself."""
    failure.trap(errors.NodeError)
    LOG.warn("beside the outage: {error}", error=failure.value)

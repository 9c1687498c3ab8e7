"""The critical section: prevent connections, check fragile users, kick, apply one patch, allow connections.

The contract, in the order in which a database administrator would ask:

* It ends. Every wait has a deadline, the server's own first; when `limit_seconds` have passed the section aborts
  itself. Committing, failing, aborting and dying all lead to open connections: see `downtime.gate`.
* A failed patch leaves nothing. Patch, ledger row and (gate "refuse") the reopening are one transaction.
* Nobody reopens while the patching session may still commit: it has answered, or it is ended and gone (`Ready.fence`).
* It awaits nothing but the database and what stands around it (`downtime.cluster`). All sessions are open and all
  checks are made by `prepare()` before `run()` begins; whoever watches is told a moment later (`downtime.chronicle`),
  so that no watcher costs outage.

`run()` is one coroutine that belongs to a service of the master or to the command line, never to a Buildbot step: a
step that dies changes nothing here.

    prepare() ──► run(): prevent ──► check ──► kick ──► apply ──┐
                            │          │         │        │     ▼
                            └──────────┴─────────┴────────┴──► allow ──► Report
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from downtime import blockers, errors, proof, sessions
from downtime.apply import AppliedStatement, Deployment, apply_cold, was_cancelled
from downtime.cancelling import CANCEL_EVERY_SECONDS, Cancelling, note
from downtime.chronicle import REPORT_SECONDS, Chronicle
from downtime.clearing import Clearing
from downtime.course import Course
from downtime.measuring import Measuring
from downtime.phases import Phase, PhaseReport, Report
from downtime.ready import IDLE_SECONDS, Objections, Ready, Rules, make_ready
from downtime.reopening import Reopening
from downtime.target import Target

LOG = Logger()


class _RolledBackAsAsked(errors.DowntimeError):
    """Takes the patch's transaction back; not a failure."""


class Outage:
    """One patch, one database, one critical section. `prepare()`, then `run()`, and `close()` in any case."""

    def __init__(self, target: Target, deployment: Deployment, rules: Rules, *,
                 say: Callable[[str], None] | None = None, reactor: Any = None) -> None:
        """`say` is told at once what makes reopening take time; by default that goes to the log."""
        if reactor is None:
            from twisted.internet import reactor
        self.deployment = deployment
        self._target = target
        self._rules = rules
        self._reactor = reactor
        self._prepared: Ready | None = None
        self._abort_reason: str | None = None
        self._abort_kind = errors.Aborted
        self._phase = Phase.PREVENT
        self._chronicle = Chronicle(reactor, say=say)
        self._running = self._closed = False
        self._course = Course()

    async def prepare(self, objections: Objections) -> tuple[str, ...]:
        """Open and check everything; returns what was found, for a log. Raises as `make_ready` does."""
        self._prepared = await make_ready(self._target, self.deployment.patch.id, self._rules, objections,
                                          self._reactor)
        if self._closed:  # while it was prepared: nobody would close it again
            await self.close()
            raise errors.Aborted(phase=self._phase, reason="the deployment was given up", left=errors.Left.UNTOUCHED)
        self._cluster = self._prepared.cluster
        self._clearing = Clearing(self._prepared, self._rules, self._reactor, before_each=self._go_on)
        self._cancelling = Cancelling(self._prepared, self._reactor)
        self._measuring = Measuring(self._prepared.patcher, self._prepared.control)
        return self._prepared.found

    async def close(self) -> None:
        """Give back sessions and lock; safe at any time, also before `prepare()` and a second time."""
        if self._running:
            self.abort("the deployment was given up")
            return  # run() closes when it is over
        self._closed = True
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            try:
                await prepared.close()
            except Exception:
                LOG.failure("giving back the sessions of {database}", database=self._target.label)

    @property
    def kicked(self) -> tuple[sessions.Session, ...]:
        """Sessions ended so far, those on standbys among them."""
        return (*self._clearing.kicked, *self._cluster.kicked)

    @property
    def statements(self) -> tuple[AppliedStatement, ...]:
        """Statements applied so far; they stay only if the section ends well."""
        return tuple(self._course.statements)

    async def run(self) -> Report:
        """The critical section. Never raises: whatever happened is in the report, after reopening. Who only watches (a
        listener, the log, the record of the phases) does not decide how it ends."""
        self._running = True
        self._chronicle.start()
        limit = self._reactor.callLater(
            self._rules.limit_seconds, self._abort, f"the limit of {self._rules.limit_seconds:g} s has passed",
            errors.LimitPassed)
        alive = LoopingCall(self._stay_alive)
        alive.start(IDLE_SECONDS / 3, now=False)
        gc.freeze()  # a full collection would look at all of the process: 20 ms were seen, with the gate closed
        try:
            failure = await self._reopen(await self._deploy())
        finally:
            gc.unfreeze()
        self._running = False
        if alive.running:
            alive.stop()
        if limit.active():
            limit.cancel()
        failure = await self._clear_up(failure)
        return self._course.report(self._chronicle, self.kicked, self._clearing.drained, self._measuring, failure)

    async def _deploy(self) -> errors.DowntimeError | None:
        """All phases but the last, in one transaction. Returns what failed."""
        try:
            await self._pause()  # before BEGIN: nothing of the server's is held meanwhile
            async with self._ready.patcher.transaction():
                await self._in_phase(Phase.PREVENT, self._prevent)
                await self._in_phase(Phase.CHECK, self._check)
                await self._in_phase(Phase.KICK, self._kick_sessions)
                await self._in_phase(Phase.APPLY, self._apply)
                if not self._rules.keep:
                    raise _RolledBackAsAsked(reason="rolled back as asked")
                await self._cluster.refuse_failover()
                await self._ready.gate.allow_in_transaction()
                self._cancelling.committing = True
            self._course.applied = True
        except _RolledBackAsAsked:
            pass
        except Exception as error:  # whatever it is, the way to open connections is the same
            if not isinstance(error, errors.DowntimeError):
                LOG.failure("in the critical section")
            return self._aborted(errors.as_ours(error, left=errors.Left.REOPENED))
        return None

    async def _clear_up(self, failure: errors.DowntimeError | None) -> errors.DowntimeError | None:
        """Standbys and sessions. What fails from here on does not undo what was done, and needs an operator."""
        try:
            if failure is None:
                await self._clearing.drain()
            if self._course.applied:
                self._course.caught = caught = await self._cluster.catch_up(self.deployment.patch)
                failure = failure or (caught.error if caught is not None else None)
            else:
                await self._cluster.let_replay()
        except errors.NeedsOperator as error:
            LOG.error("after the outage of {database}: {why}", database=self._target.label, why=error.explain())
            if failure is None:
                failure = error
            elif not isinstance(failure, errors.NeedsOperator):  # a database that is closed goes before standbys
                failure = errors.NeedsOperator(reason=f"{failure}; {error}", command=error.advice, left=error.left)
        except Exception as error:
            LOG.failure("after the outage of {database}", database=self._target.label)
            failure = failure or errors.NeedsOperator(
                reason=f"after the outage: {type(error).__name__}: {error}", command="python -m downtime status",
                left=errors.Left.APPLIED if self._course.applied else errors.Left.REOPENED)
        await self.close()
        # until every watcher was told, every timer has fired
        await deferLater(self._reactor, REPORT_SECONDS + CANCEL_EVERY_SECONDS, lambda: None)
        return failure

    def abort(self, reason: str) -> None:
        """End the section: cancel the statement, roll back, reopen. A COMMIT under way is not cancelled."""
        self._abort(reason, errors.Aborted)

    def _abort(self, reason: str, kind: type[errors.Aborted]) -> None:
        if self._abort_reason is None:
            self._abort_reason, self._abort_kind = reason, kind
            if self._running:
                self._cluster.give_up()
                self._cancelling.begin()

    def listen(self, say: Callable[[str], None]) -> None:
        """Tell `say` from now on what makes reopening take time."""
        self._chronicle.listen(say)

    def watch(self, phase: Phase) -> Deferred[PhaseReport]:
        """Fires when the phase is over or will not be reached."""
        return self._chronicle.watch(phase)

    async def _pause(self) -> None:
        self._go_on()
        try:
            self._chronicle.note_all(await self._cluster.pause())
        except errors.DowntimeError:
            self._go_on()  # it was given up because somebody has said Stop
            raise

    async def _prevent(self) -> str:
        await self._ready.gate.prevent()
        await self._cluster.closed()
        self._chronicle.note(f"gate {self._rules.gate} closed: no new client gets in")
        if self._rules.prove_gate:
            began = monotonic()
            await proof.prove(self._target, self._rules.gate, self._reactor, witness=self._ready.control)
            self._course.proof_seconds = monotonic() - began
            self._chronicle.note("self-test: a new connection did not get in")
        return f"new connections {'wait' if self._rules.gate == 'hold' else 'are refused'}"

    async def _check(self) -> str:
        verdict = await self._clearing.check()
        await self._cluster.check()
        count, busy = len(verdict.to_kick), len(verdict.in_transaction)
        self._chronicle.note(f"{count} sessions, {busy} in a transaction, none of a fragile user")
        return f"no fragile user among {count} sessions is in a transaction"

    async def _kick_sessions(self) -> str:
        await self._clearing.kick()
        self._chronicle.note_all((*self._clearing.remarks, f"{len(self._clearing.kicked)} sessions kicked and gone"))
        self._chronicle.note_all(await self._cluster.kick(kick_all=self._rules.kick == "all", before_each=self._go_on))
        return f"kicked {len(self.kicked)} sessions"

    async def _apply(self) -> str:
        ready = self._ready
        async with blockers.named(ready.control, ours=ready.session_rules.ours, patcher=ready.patcher.pid):
            self._course.patch_seconds = await apply_cold(
                ready.patcher, self.deployment, before_each=self._go_on, progress=self._course.statements.append,
                measuring=self._measuring if self._rules.measure else None)
        self._chronicle.note(f"{len(self.statements)} statements applied, ledger row written")
        return f"applied {self.deployment.patch.id} in {self._course.patch_seconds:.3f} s"

    async def _reopen(self, failure: errors.DowntimeError | None) -> errors.DowntimeError | None:
        """Allow connections, after making sure that the patching session has ended. Returns what really failed."""
        if failure is not None and not self._chronicle.is_over(self._phase):
            self._record(self._chronicle.failed, self._phase, failure)
        self._record(self._chronicle.skip_to_the_end)
        self._phase = Phase.ALLOW
        self._cancelling.end()
        opened = await Reopening(self._ready, self.deployment, reactor=self._reactor,
                                 say=partial(self._record, self._chronicle.tell)).run(
            ask_the_ledger=self._cancelling.committing and failure is not None)
        if opened.committed:
            self._course.applied, failure = True, None
        failure = opened.problem or failure
        self._record(self._chronicle.note_all, opened.lines)
        if failure is not None and (opened.problem or not self._chronicle.has_failed):
            # still shut; or the COMMIT, or what stands before it: rolled back, and open
            self._record(self._chronicle.failed, Phase.ALLOW, failure)
        else:
            self._record(self._chronicle.done, Phase.ALLOW, "connections are allowed again")
        return failure

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
            raise self._abortion(self._abort_reason)
        if self._ready.patcher.closed:  # the gate is open, too
            raise errors.ConnectionLost(node=self._target.label, reason="the patching session has ended")

    def _abortion(self, reason: str) -> errors.Aborted:
        """Names the statement that was cut."""
        statements, done = self.deployment.statements, len(self._course.statements)
        if self._phase is Phase.APPLY and done < len(statements):
            reason += f", in line {statements[done].line} of {self.deployment.patch.path}"
        return self._abort_kind(phase=self._phase, reason=reason)

    def _aborted(self, error: errors.DowntimeError) -> errors.DowntimeError:
        """A cancelled statement is an abort if it was we who cancelled it."""
        error.left = errors.Left.REOPENED
        if self._abort_reason is not None and (self._cancelling.given_up or was_cancelled(error)
                                               or isinstance(error, errors.DeadlineExceeded)):
            return self._abortion(self._abort_reason)
        return error

    def _stay_alive(self) -> None:
        """While we drain and kick the patcher has nothing to say; IDLE_SECONDS is for a master that is gone."""
        patcher = self._ready.patcher
        if self._phase in (Phase.CHECK, Phase.KICK) and not patcher.closed:
            Deferred.fromCoroutine(patcher.execute("SELECT 1")).addErrback(note)

    def _record(self, write: Callable[..., None], *what: Any) -> None:
        """What cannot be written down must not keep a database closed."""
        try:
            write(*what)
        except Exception:
            LOG.failure("writing down what happened to {database}", database=self._target.label)

    @property
    def _ready(self) -> Ready:
        assert self._prepared is not None, "prepare() comes first"
        return self._prepared

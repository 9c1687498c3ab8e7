"""What all steps of the runbook have in common: how they speak, how they fail, and how they are stopped.

This is one of the two places where our errors are caught (the other is the command line). An error becomes a red
step: its first line is the summary, and the log "what happened" says how the database was left and what to do next.

Stopping is advice in Buildbot: `interrupt()` does not end `run()`. Each step therefore says in `stopping()` how its
own wait is cut short. A step that was cut short by a shutdown of the master, before anything was touched, ends with
RETRY: Buildbot then builds the request again after the restart, and it waits for its approval anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, cast

from buildbot.process.buildstep import BuildStep, BuildStepCancelled, BuildStepFailed
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.python import log
from twisted.python.failure import Failure

from downtime import deployment_lock, errors, ledger
from downtime.fleet import ledgers
from downtime.history.events import FoundApplied
from downtime.patches import Inventory
from downtime.plan import Plan
from downtime.printable import printable
from downtime.settings import Environment, Settings
from steps.shared import happenings, services, wording
from steps.shared.names import Property, ServiceName
from steps.shared.results import CANCELLED, FAILURE, RETRY

READ_AGAIN = 3  # times; more: a server that ends every session would be asked for ever


class RunbookStep(BuildStep):  # type: ignore[misc]
    """One phase of the runbook. A subclass writes `act()` and, where it waits, `stopping()`."""

    haltOnFailure = True
    environment_name = "production"
    reports_its_own_end = False  # True: after Stop the step goes on to report how what it watches has ended

    def __init__(self, settings: Settings, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.settings = settings
        self._said = ""
        self._headline = ""
        self._turn: Deferred[None] | None = None
        self.stop_reason = ""  # empty while nobody has stopped the build

    def __str__(self) -> str:
        return type(self).__name__  # Buildbot logs its steps with their arguments: here that is all settings

    __repr__ = __str__

    async def act(self) -> int:
        """Do what the step is for; returns a Buildbot result. DowntimeError may escape."""
        raise NotImplementedError

    def stopping(self, reason: str) -> None:
        """Cut short what `act()` waits for."""

    async def run(self) -> int:
        try:
            await self.journal.ready()
            return await self.act()
        except errors.DowntimeError as error:
            return await self._red(error)
        except (BuildStepCancelled, BuildStepFailed):
            raise
        except Exception as error:
            # among them Twisted's ConnectionLost, which Buildbot would take for a lost worker and build again
            log.err(Failure(), f"in step {self.name}")
            await self.addLogWithFailure(Failure())
            self.say(f"internal error: {type(error).__name__}: {error}")
            return self.result_when_stopped() if self.stopped else FAILURE

    def interrupt(self, reason: str | Failure) -> Deferred[None]:
        said = reason.getErrorMessage() if isinstance(reason, Failure) else str(reason)
        self.stop_reason = f"stopped ({said})"
        if self._turn is not None:
            self._turn.cancel()
        self.stopping(self.stop_reason)
        if self.reports_its_own_end:
            return succeed(None)  # Buildbot would overwrite the result of a step it believes stopped
        if self.stepid is None:  # Buildbot has not put it down yet, and fails when it adds the log "cancelled" to it
            self.stopped = True
            return succeed(None)
        return cast("Deferred[None]", super().interrupt(reason))

    def result_when_stopped(self) -> int:
        """RETRY where only the master stops and nothing was touched: what was asked is asked again."""
        retry = self.master.botmaster.shuttingDown and not self.getProperty(Property.BEGUN)
        return RETRY if retry else CANCELLED

    async def _red(self, error: errors.DowntimeError) -> int:
        await self.write("what happened", error.explain())
        self.say(wording.headline(error))
        self.build.fragile = happenings.fragile_users(error)
        return self.result_when_stopped() if self.stopped else FAILURE

    def say(self, sentence: str, *, headline: str = "") -> None:
        """Set the step's summary, now and for good; `headline` is for the whole build."""
        self._said = wording.one_line(sentence)
        self._headline = wording.one_line(headline)
        self.updateSummary()

    def getCurrentSummary(self) -> dict[str, str]:
        return {"step": self._said or "running"}

    def getResultSummary(self) -> dict[str, str]:
        said, headline = self._said, self._headline
        if not said and self.results == CANCELLED:  # stopped before it had begun
            said = headline = f"stopped ({self.build.stopped_reason})"
        summary = {"step": said or ("not reached" if self.results is not None else "finished")}
        return {**summary, "build": headline} if headline else summary

    async def write(self, name: str, text: str) -> None:
        """Add a log in one piece: line by line is a thousand times slower."""
        await self.addCompleteLog(name, printable(text).rstrip("\n") + "\n")

    @property
    def environment(self) -> Environment:
        return self.settings.environment(self.environment_name)

    @property
    def build_id(self) -> int:
        assert self.build is not None, "the step runs in a build"
        return cast(int, self.build.buildid)

    @property
    def request_id(self) -> int:
        """Of the build request: it stays the same when Buildbot builds it again after a restart."""
        assert self.build is not None, "the step runs in a build"
        return cast(int, self.build.requests[0].id)

    @property
    def outages(self) -> services.Outages:
        return cast(services.Outages, self._service(ServiceName.OUTAGES))

    @property
    def approvals(self) -> services.Approvals:
        return cast(services.Approvals, self._service(ServiceName.APPROVALS))

    @property
    def evidence_store(self) -> services.EvidenceStore:
        return cast(services.EvidenceStore, self._service(ServiceName.EVIDENCE))

    @property
    def quiescence(self) -> services.Quiescence:
        return cast(services.Quiescence, self._service(ServiceName.QUIESCENCE))

    @property
    def patches(self) -> services.Patches:
        return cast(services.Patches, self._service(ServiceName.PATCHES))

    @property
    def visitors(self) -> services.Visitors:
        return cast(services.Visitors, self._service(ServiceName.VISITORS))

    @property
    def probes(self) -> services.Probes:
        return cast(services.Probes, self._service(ServiceName.PROBES))

    @property
    def pages(self) -> services.Pages:
        return cast(services.Pages, self._service(ServiceName.PAGES))

    @property
    def turns(self) -> services.Turns:
        return cast(services.Turns, self._service(ServiceName.TURNS))

    @property
    def journal(self) -> services.Journal:
        return cast(services.Journal, self._service(ServiceName.JOURNAL))

    async def read_ledger(self, environment: Environment) -> tuple[ledger.Entry, ...]:
        """What the database of an environment has. Raises NodeError, DeploymentUnderWay or NotInstalled."""
        node = await deployment_lock.session(
            environment.target, application_name="fastdowntime reading the ledger", reactor=self.master.reactor)
        try:
            entries = await ledger.read(node)
        finally:
            node.close()
        if environment.name == "production" and len(environment.members()) == 1:
            self._note_found(entries)
        return entries

    async def read_plan(self, environment: Environment, inventory: Inventory) -> Plan:
        """What any database of an environment still lacks.

        Raises MembersUnreadable, or of a single database what `read_ledger` raises.
        """
        had = await self._ledgers(environment)
        if environment.name == "production":
            self._note_found(ledgers.in_all(had))
        return ledgers.plan_of(had, inventory)

    async def _ledgers(self, environment: Environment) -> ledgers.Ledgers:
        """An outage that begins meanwhile ends everybody's sessions, this one too: a decision was lost by that."""
        for _ in range(READ_AGAIN):
            with suppress(errors.ConnectionLost):
                return await ledgers.read(environment, reactor=self.master.reactor)
        return await ledgers.read(environment, reactor=self.master.reactor)

    def _note_found(self, entries: Sequence[ledger.Entry]) -> None:
        """What was applied from a terminal, or before there was a journal."""
        for entry in entries:
            known = self.journal.journey(entry.id)
            of_interest = known.in_production_at is None if known is not None else entry.lane != ledger.BASELINE
            if of_interest:
                self.journal.note(FoundApplied(
                    at=datetime.now(UTC), patch_id=entry.id, lane=entry.lane, began_at=entry.started_at,
                    patch_seconds=entry.seconds, requested_by=entry.requested_by, approved_by=entry.approved_by))

    async def my_turn(self) -> bool:
        """Wait until no other deployment of this master is at work on the database; False where that was stopped."""
        self.say("waiting for another deployment of this database to end")
        self._turn = Deferred.fromCoroutine(self.outages.take_turn(self.build_id, self.environment.target.label))
        try:
            await self._turn
        except CancelledError:
            self.say("given up before it was its turn")
        return not self.stop_reason

    async def set_durably(self, name: str, value: object) -> None:
        """Set a build property and return when it is in Buildbot's database."""
        # in this order: what could not be written down is not acted upon by the steps behind
        await self.master.data.updates.setBuildProperty(self.build_id, str(name), value, self.name)
        self.setProperty(name, value, self.name)

    def _service(self, name: ServiceName) -> Any:
        return self.master.service_manager.namedServices[name]

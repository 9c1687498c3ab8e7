"""Where the story is played: who pushes, asks, approves and measures, and what is noted of each deployment.

Everything is done as people do it: git push, and the buttons of the web pages in somebody's own session.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2

from demo import application, web
from demo.buildmaster import Buildmaster
from demo.companions import KICKED, Clients
from demo.programme import Attempt, Outcome, StoryError, expect
from demo.sandbox import DATABASE, SAMPLES, SCHEMA
from demo.web import Build, Web, WebError
from demo.witnesses import Seen, Witnesses
from downtime.probing import Report
from steps.shared.names import FORCED_BY, BuilderName, Property

VERDICT_SECONDS = 60.0   # from a push to the end of the staging build; 2 s is usual
DEPLOYED_SECONDS = 60.0  # from an approval to the end of the build
WAITING_SECONDS = 30.0
WAITING = "waiting for approval"
CLIENTS = {"idle": 10, "reconnecting": 10, "writing": 2}
UNHEEDED_SECONDS = 1.0   # a gap that is the machine's, not a deployment's
OPEN_SECONDS = 5         # for a connection on a busy machine; 5 ms is usual
OVERHEAD_SECONDS = 3.0   # of an outage beyond its patch on a busy machine; 0.03 s is usual
MANY = 1000              # more builds than any story has

Tell = Callable[[str], None]


class Stage:
    """A running sandbox with people, clients and a prober on it."""

    def __init__(self, master: Buildmaster, tell: Tell) -> None:
        self.master = master
        self.sandbox = sandbox = master.sandbox
        self.tell = tell
        self.attempts: list[Attempt] = []
        self.verdict_seconds: dict[str, float] = {}  # from push to staging's verdict, by patch
        self._sessions: dict[str, Web] = {}
        self._seen: set[int] = set()
        for name in BuilderName:
            self._look_past(name)
        self.clients = Clients(sandbox.dsn(application.APPLICATION), sandbox.dsn(application.FRAGILE), **CLIENTS)
        self.clients.rest()
        self._measures = True

    def close(self) -> None:
        self.clients.stop()

    def rest(self) -> None:
        """From here on nobody works during a deployment either, and nobody measures. Safe to call again."""
        self._measures = False

    def as_(self, name: str) -> Web:
        """Somebody's session; they sign in when they are first needed."""
        if name not in self._sessions:
            self._sessions[name] = Web.signed_in(self.sandbox.address, name, self.sandbox.passwords[name])
        return self._sessions[name]

    def land(self, patch: str, *, text: str | None = None, author: str = "developer", message: str = "",
             beside: dict[str, str] | None = None) -> str:
        """Push one patch (from the samples, unless a text is given); the commit."""
        text = sample(f"{patch}.sql") if text is None else text
        commit = self.sandbox.repository.land({f"{SCHEMA}/{patch}.sql": text, **(beside or {})},
                                              message or f"{patch}: {first_words(text)}", author)
        self.tell(f"{author} pushes {patch} to devel (commit {commit[:8]})")
        return commit

    def verdict(self, commit: str) -> Build:
        """The staging build of a landing, when it has ended."""
        def look() -> Build | None:
            return next((build for build in self.as_("developer").builds(BuilderName.STAGING)
                         if build.properties.get("revision") == commit and build.id not in self._seen), None)
        build = web.wait(look, VERDICT_SECONDS, f"staging to take up commit {commit[:8]}")
        self._seen.add(build.id)
        build = self.as_("developer").ended(build, VERDICT_SECONDS)
        for step in self.as_("developer").steps(build):
            if step.results != web.SKIPPED:
                self.tell(f"  staging: {step.name}: {step.state}")
        return build

    def rehearse(self, patch: str, **keywords: Any) -> Build:
        """Land a patch and see it through its rehearsal; fails the story if it does not pass."""
        began = time.monotonic()
        commit = self.land(patch, **keywords)
        build = self.verdict(commit)
        self.verdict_seconds[patch] = time.monotonic() - began
        self.expect_build(build, build.good, f"{patch} should pass its rehearsal")
        self.tell(f"  {self.verdict_seconds[patch]:.1f} s from push to staging's verdict")
        return build

    def turned_away(self, patch: str, build: Build, outcome: Outcome) -> None:
        """Note a patch that did not get as far as production."""
        self.attempts.append(Attempt(patch=patch, lane="cold", outcome=outcome, said=build.state))

    def waiting(self, patch: str, builder: BuilderName = BuilderName.PRODUCTION) -> Build:
        """The build that asks for the approval of a patch, when it does."""
        def look() -> Build | None:
            for build in self.as_("operator").builds(builder):
                if build.properties.get(Property.PATCH) == patch and build.id not in self._seen:
                    self.expect_build(build, not build.complete, f"{patch} should wait for its approval")
                    if any(step.state.startswith(WAITING) for step in self.as_("operator").steps(build)):
                        return build
            return None
        build = web.wait(look, WAITING_SECONDS, f"{builder} to ask for the approval of {patch}")
        self._seen.add(build.id)
        state = next(step.state for step in self.as_("operator").steps(build) if step.state.startswith(WAITING))
        self.tell(f"  {builder} build {build.number}: {state}")
        return build

    def force(self, patch: str, builder: BuilderName = BuilderName.PRODUCTION, by: str = "operator") -> Build:
        """Ask for a deployment with the builder's button; the build, as soon as it has begun."""
        self._look_past(builder)
        request = self.as_(by).force(FORCED_BY[builder], patch=patch)
        self.tell(f"{by} asks for {patch} with the button of {builder}")
        return self.as_(by).build_of(builder, request, WAITING_SECONDS)

    def decide(self, build: Build, by: str, *, decision: str = "approve", reason: str = "") -> Build:
        """Press the button of `approve` about a waiting build; the decision's own build, ended."""
        digest = build.properties.get(Property.DIGEST) or self.as_(by).build(build).properties[Property.DIGEST]
        request = self.as_(by).force(FORCED_BY[BuilderName.APPROVE], build=str(build.id), digest=digest,
                                     decision=decision, reason=reason)
        decided = self.as_(by).build_of(BuilderName.APPROVE, request, WAITING_SECONDS)
        decided = self.as_(by).ended(decided, WAITING_SECONDS)
        (step,) = self.as_(by).steps(decided)
        self.tell(f"{by}: {decision} → {step.state}")
        return decided

    def approve(self, build: Build, by: str = "approver") -> None:
        """An approval that counts."""
        decided = self.decide(build, by)
        self.expect_build(decided, decided.good, f"{by} should be able to approve")

    def is_refused(self, build: Build, by: str) -> str:
        """Try an approval that must not count; the reason that was given for it."""
        decided = self.decide(build, by)
        self.expect_build(decided, not decided.good, f"the approval by {by} should not count")
        return self.as_(by).steps(decided)[0].state

    def has_no_button(self, build: Build, by: str) -> None:
        """Try to approve as somebody who may not even ask."""
        try:
            self.as_(by).force(FORCED_BY[BuilderName.APPROVE], build=str(build.id), decision="approve", reason="")
        except WebError as error:
            expect(error.status == 403, f"{by} should be forbidden to approve, but the answer was: {error}")
            self.tell(f"{by} tries to approve: forbidden")
            return
        raise StoryError(f"{by} is no approver and could press the button of {BuilderName.APPROVE}")

    def deploy(self, build: Build, by: str = "approver") -> tuple[Build, Report]:
        """Approve a waiting build and see it end; with what the prober saw meanwhile."""
        with self._watched() as everything_seen:
            self.approve(build, by)
            build = self.as_("operator").ended(build, DEPLOYED_SECONDS)
            seen = everything_seen()
        self.tell(f"  {build.builder} build {build.number}: {build.state}")
        self._note(build, seen)
        return build, seen.prober

    def has_ended(self, build: Build) -> Build:
        """See a build end that is about to."""
        return self.as_("operator").ended(build, WAITING_SECONDS)

    def deploys(self, build: Build, by: str = "approver") -> Report:
        """The same for a deployment that must succeed."""
        build, report = self.deploy(build, by)
        self.expect_build(build, build.good, "the deployment should succeed")
        row = self.attempts[-1]
        expect(row.outcome is Outcome.DEPLOYED, f"production's ledger should have {row.patch}")
        self.expect_open()
        return report

    def expect_outage(self, report: Report) -> None:
        """An outage as a client should see it: it waited as long as the patch took, and was never refused."""
        row = self.attempts[-1]
        expect(row.patch_seconds is not None and report.outage_seconds < row.patch_seconds + OVERHEAD_SECONDS,
               f"{row.patch}: the outage of {report.outage_seconds:.3f} s is much longer than the patch")
        expect(set(report.errors) <= KICKED, f"{row.patch}: clients were refused: {report.errors}")
        expect(row.kicked, f"{row.patch}: nobody was kicked, though clients were connected")
        if row.pooled is not None:
            expect(not row.pooled.errors, f"{row.patch}: clients behind the pooler saw errors: {row.pooled.errors}")
            expect(row.pooled.longest_seconds < (row.patch_seconds or 0.0) + OVERHEAD_SECONDS,
                   f"{row.patch}: behind the pooler a call took {row.pooled.longest_seconds:.3f} s")
        if row.readers is not None:
            expect(not row.readers.errors, f"{row.patch}: readers at the standby saw errors: {row.readers.errors}")
            expect(row.standby_seconds is not None, f"{row.patch}: nobody has seen it at the standby")

    def expect_no_outage(self, report: Report) -> None:
        row = self.attempts[-1]
        expect(not report.errors, f"{row.patch}: the prober saw errors: {report.errors}")
        expect(max(report.outage_seconds, report.persistent_gap_seconds) < UNHEEDED_SECONDS,
               f"{row.patch}: a client waited {report.outage_seconds:.3f} s")

    def expect_open(self) -> None:
        """Somebody who comes now gets in."""
        try:
            psycopg2.connect(self.sandbox.dsn(application.APPLICATION), connect_timeout=OPEN_SECONDS).close()
        except psycopg2.OperationalError as error:
            raise StoryError(f"production should accept connections: {error}") from error

    @contextlib.contextmanager
    def _watched(self) -> Iterator[Callable[[], Seen]]:
        """Clients work, and what they see is counted, unless it is over (`rest`): gives what was seen since."""
        if not self._measures:
            yield Seen.nothing
            return
        self.clients.work()
        witnesses = Witnesses(self.sandbox)
        try:
            yield witnesses.seen
        finally:
            witnesses.stop()
            self.clients.rest()

    def expect_build(self, build: Build, holds: bool, message: str) -> None:
        if not holds:
            raise StoryError(f"{message}\n{self.as_('operator').story_of(build)}")

    def ledger(self, environment: str, patch: str) -> tuple[Any, ...] | None:
        """Lane, seconds and approver of a patch as a database's ledger has it."""
        rows = self.sandbox.servers[environment].admin_sql(
            "SELECT lane, seconds, approved_by FROM fastdowntime.ledger WHERE id = %s", (patch,), database=DATABASE)
        return rows[0] if rows else None

    def _look_past(self, builder: BuilderName) -> None:
        """What was built until now is not what we shall be waiting for."""
        self._seen.update(build.id for build in self.as_("developer").builds(builder, limit=MANY))

    def _note(self, build: Build, seen: Seen) -> None:
        patch = str(build.properties[Property.PATCH])
        rehearsed, applied = self.ledger("staging", patch), self.ledger("production", patch)
        figures = self.as_("operator").data(build, "outage")
        kicked = int(figures.get("kicked", 0))
        standbys = figures.get("standbys") or {}
        failed = Outcome.ROLLED_BACK if kicked else Outcome.REFUSED
        self.attempts.append(Attempt(
            patch=patch, lane=rehearsed[0] if rehearsed else "", outcome=Outcome.DEPLOYED if applied else failed,
            staging_seconds=rehearsed[1] if rehearsed else None, patch_seconds=applied[1] if applied else None,
            approved_by=str(build.properties.get(Property.APPROVED_BY, "")), kicked=kicked, said=build.state,
            outage_seconds=seen.prober.outage_seconds, resolution_seconds=seen.prober.resolution_seconds,
            pooled=seen.pooled, readers=seen.standby,
            standby_seconds=standbys["seconds"] if standbys and not standbys["behind"] else None))


def sample(name: str) -> str:
    """A file of the story."""
    return (SAMPLES / "story" / name).read_text()


def first_words(sql: str) -> str:
    """What a patch says it is for: its second comment line, the first being its lane."""
    comments = [line[3:] for line in sql.splitlines() if line.startswith("-- ") and "apply:" not in line]
    return comments[0] if comments else "a patch"

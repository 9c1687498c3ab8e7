"""The story a newcomer is shown: seven patches on their way from devel into production, good ones and bad ones.

Each chapter says what it does and what came of it, and checks it; the end-to-end tests play the same chapters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from demo.application import APPLICATION
from demo.programme import Outcome, expect
from demo.sandbox import DATABASE
from demo.stage import Stage, sample
from steps.shared.names import BuilderName

COLD, LIVE, SLOW, LINKED, CHECKED, LISTED = (f"patch-2211-0{number}-0" for number in range(2, 8))


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """One part of the story; `play` raises StoryError where something is not as told."""

    title: str
    play: Callable[[Stage], None]


def cold_patch(stage: Stage) -> None:
    """A patch that needs the database to itself: rehearsed, approved, deployed in an outage as short as itself."""
    stage.rehearse(COLD)
    waiting = stage.waiting(COLD)
    stage.has_no_button(waiting, "operator")
    report = stage.deploys(waiting)
    stage.expect_outage(report)
    stage.tell(f"  clients waited {report.outage_seconds:.3f} s; nobody was refused")


def live_patch(stage: Stage) -> None:
    """A patch that no client notices. Its author is an approver, and cannot approve it."""
    stage.rehearse(LIVE, author="approver")
    waiting = stage.waiting(LIVE, BuilderName.LIVE)
    reason = stage.is_refused(waiting, "approver")
    expect("somebody else" in reason, f"the reason should be that two pairs of eyes are needed: {reason}")
    report = stage.deploys(waiting, by="architect")
    stage.expect_no_outage(report)


def slow_patch(stage: Stage) -> None:
    """A patch over the limit is held until somebody signs it off."""
    rehearsed = stage.rehearse(SLOW)
    expect(rehearsed.outcome == "warnings", f"a slow patch should show as a warning, not as {rehearsed.outcome}")
    waiting = stage.waiting(SLOW)
    reason = stage.is_refused(waiting, "approver")
    expect("sign-off" in reason, f"the reason should be that a sign-off is needed: {reason}")
    stage.expect_outage(stage.deploys(waiting, by="architect"))


def mixed_landing(stage: Stage) -> None:
    """A patch that lands together with code is rejected and held back, until the landing is reverted."""
    commit = stage.land(LINKED, beside={"app/notices.py": sample("app.py")}, message="an upload belongs to an account")
    build = stage.verdict(commit)
    stage.expect_build(build, build.outcome == "failure", "a mixed landing should be rejected")
    said = "\n".join(step.state for step in stage.as_("developer").steps(build))
    for name in ("app/notices.py", f"{LINKED}.sql"):
        expect(name in said, f"the rejection should name {name}: {said}")
    expect(stage.ledger("staging", LINKED) is None, "a rejected patch should not be rehearsed")
    stage.turned_away(LINKED, build, Outcome.REJECTED)
    reverted = stage.sandbox.repository.revert(commit)
    stage.tell(f"developer reverts it (commit {reverted[:8]})")
    build = stage.verdict(reverted)
    stage.expect_build(build, build.good, "after the revert staging should be content")


def failing_on_staging(stage: Stage) -> None:
    """A patch that fails is rolled back on staging and never asked about; its correction goes on to production."""
    build = stage.verdict(stage.land(LINKED, text=sample(f"{LINKED}.broken.sql")))
    stage.expect_build(build, build.outcome == "failure", "a patch that fails should turn staging red")
    said = "\n".join(step.state for step in stage.as_("developer").steps(build))
    expect(f"{LINKED}.sql, line 4" in said, f"the failing line should be named: {said}")
    expect(stage.ledger("staging", LINKED) is None, "what failed should not be in the ledger")
    stage.turned_away(LINKED, build, Outcome.FAILED_ON_STAGING)
    columns = stage.sandbox.servers["staging"].admin_sql(
        "SELECT FROM pg_attribute WHERE attrelid = 'upload'::regclass AND attname = 'account'", database=DATABASE)
    expect(not columns, "the statement before the failing one should be rolled back too")
    stage.tell("developer corrects it")
    stage.rehearse(LINKED, message="correct the name of the table")
    stage.expect_outage(stage.deploys(stage.waiting(LINKED)))


def failing_in_production(stage: Stage) -> None:
    """A patch that only production's data make fail: rolled back, open again; asked for anew when they are right."""
    stage.rehearse(CHECKED)
    build, report = stage.deploy(stage.waiting(CHECKED))
    stage.expect_build(build, build.outcome == "failure", "the patch should fail on production's data")
    expect(stage.attempts[-1].outcome is Outcome.ROLLED_BACK, "what failed should not be in the ledger")
    expect("55000" not in report.errors, f"clients were refused: {report.errors}")
    stage.expect_open()
    stage.tell("production is open, nothing is applied; the data are put right")
    stage.sandbox.servers["production"].admin_sql(
        f"SET ROLE {APPLICATION}; UPDATE account SET balance = 0 WHERE balance < 0", database=DATABASE)
    stage.force(CHECKED)
    stage.expect_outage(stage.deploys(stage.waiting(CHECKED)))


def fragile_user(stage: Stage) -> None:
    """A white-listed script in the middle of a transaction aborts a run; asked again later, it succeeds."""
    aborted_and_deployed(stage, LISTED)


def aborted_and_deployed(stage: Stage, patch: str, *, text: str | None = None) -> None:
    """The same for any cold patch; the text is that of the sample, unless one is given."""
    stage.rehearse(patch, text=text)
    waiting = stage.waiting(patch)
    stage.clients.begin()
    stage.tell("the script process_upload begins a transaction")
    build, report = stage.deploy(waiting)
    stage.expect_build(build, build.outcome == "failure", "the run should be aborted")
    expect(stage.attempts[-1].outcome is Outcome.REFUSED, "an aborted run should apply nothing")
    expect(not report.errors, f"an aborted run should kick nobody: {report.errors}")
    harmed = stage.clients.commit()["fragile_harmed"]
    expect(harmed == 0, "the script's transaction should not be harmed")
    stage.tell("the script commits; nothing of it was lost")
    stage.force(patch)
    stage.expect_outage(stage.deploys(stage.waiting(patch)))


CHAPTERS = (
    Chapter(title="A cold patch goes to production in a fast downtime", play=cold_patch),
    Chapter(title="A live patch goes there without one; its author cannot approve it", play=live_patch),
    Chapter(title="A slow patch is held until the architect signs it off", play=slow_patch),
    Chapter(title="A landing that mixes a patch with code is rejected, and reverted", play=mixed_landing),
    Chapter(title="A patch that fails on staging is rolled back; its correction is deployed", play=failing_on_staging),
    Chapter(title="A patch that fails in production is rolled back, and the database is open",
            play=failing_in_production),
    Chapter(title="A fragile user in a transaction aborts a run; asked again, it succeeds", play=fragile_user),
)


def play(stage: Stage, chapters: tuple[Chapter, ...] = CHAPTERS) -> None:
    """Play chapters in order, on a sandbox where none was played before. Raises StoryError at the first surprise."""
    for number, chapter in enumerate(chapters, start=1):
        stage.tell(f"\n{number}. {chapter.title}")
        chapter.play(stage)

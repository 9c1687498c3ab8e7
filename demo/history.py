"""The history that `make up` starts with: a patch wherever one can stand, and something for the charts to show.

What is left pending can be taken up in its order: approve the first, sign off the second, ask for the third again.
The last one blocks nobody, because nothing is behind it.
"""

from __future__ import annotations

from demo import story
from demo.programme import Outcome, expect
from demo.stage import Stage, sample
from demo.story import Chapter

ABORTED, PENDING, SLOW, REJECTED, MIXED = (f"patch-2211-0{number}-0" for number in range(4, 9))
TEXTS = {ABORTED: story.LISTED, PENDING: story.LINKED, SLOW: story.SLOW, REJECTED: story.CHECKED, MIXED: MIXED}
WHY_REJECTED = "an account in production is overdrawn: correct it first"


def aborted(stage: Stage) -> None:
    """One that a fragile user was in the way of, and that was asked for again."""
    story.aborted_and_deployed(stage, ABORTED, text=_text(ABORTED))


def pending(stage: Stage) -> None:
    """One that waits for an approver: the visitor's to decide."""
    stage.rehearse(PENDING, text=_text(PENDING))
    stage.waiting(PENDING)


def slow(stage: Stage) -> None:
    """One that waits for a sign-off."""
    stage.rehearse(SLOW, text=_text(SLOW))
    stage.waiting(SLOW)


def rejected(stage: Stage) -> None:
    """One that an approver has said no to: it would fail on production's data."""
    stage.rehearse(REJECTED, text=_text(REJECTED))
    build = stage.waiting(REJECTED)
    decided = stage.decide(build, "approver", decision="reject", reason=WHY_REJECTED)
    stage.expect_build(decided, decided.good, "an approver should be able to reject")
    stage.has_ended(build)


def mixed(stage: Stage) -> None:
    """One that is held back, because code landed with it."""
    commit = stage.land(MIXED, text=_text(MIXED), beside={"app/notices.py": sample("app.py")})
    build = stage.verdict(commit)
    expect(build.outcome == "failure", f"a mixed landing should be rejected, but the build says: {build.state}")
    stage.turned_away(MIXED, build, Outcome.REJECTED)


CHAPTERS = (
    *story.CHAPTERS[:2],
    Chapter(title="A fragile user in a transaction aborts a run; asked again, it succeeds", play=aborted),
    Chapter(title="A patch for you to approve", play=pending),
    Chapter(title="A slow patch for you to sign off", play=slow),
    Chapter(title="A patch that an approver has rejected", play=rejected),
    Chapter(title="A patch that is held back, because it landed with code", play=mixed),
)


def _text(patch: str) -> str:
    return sample(f"{TEXTS[patch]}.sql")

"""What the product promises, whatever dies: judged from what was seen. Pure; each function yields what does not hold.

1. The database is open again within moments.
2. The patch is in completely or not at all, and the ledger says which.
3. Nothing is deployed without somebody's word.
4. An operator can read what happened: the last build of the request has ended with a sentence and a result that agree
   with the ledger, or waits for its approval again.
"""

from __future__ import annotations

from collections.abc import Iterator

from demo.faults.draws import Fault
from demo.faults.sample import State
from demo.faults.writers import Tally
from demo.web import Build

MOMENTS_SECONDS = 15.0   # for the door to open: generous, on a busy machine; what was measured is printed
SAYS_NOTHING = {"", "not reached", "finished", "running", "building", "build successful", "failed", "exception",
                "cancelled", "retry", "lost connection"}  # Buildbot's own words


def is_open(*, open_seconds: float, at_the_end_seconds: float, shut_seconds: float, dead_seconds: float
            ) -> Iterator[str]:
    """Clients saw it shut for `shut_seconds`, `dead_seconds` of which nobody was there who could open."""
    if max(open_seconds, at_the_end_seconds) > MOMENTS_SECONDS:
        yield f"a new client got in after {open_seconds:.1f} s, and at the end after {at_the_end_seconds:.1f} s"
    if shut_seconds > dead_seconds + MOMENTS_SECONDS:
        yield f"no newcomer could write a row for {shut_seconds:.1f} s"


def is_whole(state: State, *, left: State | None) -> Iterator[str]:
    """`left` is how a dead master has left the patch, None for one that lived."""
    if not state.whole:
        yield f"patch and ledger disagree: {state}"
    if left is not None and left != state:
        yield f"the restarted master has changed something unasked: {left} became {state}"


def spares_the_fragile(before: Tally, now: Tally, fault: Fault) -> Iterator[str]:
    """A server that dies takes everybody's transactions with it; a deployment none of theirs."""
    if now.harmed > before.harmed and not fault.kills_server:
        yield "a fragile user's transaction was ended after a statement of it had been acknowledged"


def has_a_word(*, approved: bool, approved_by: str, build_url: str, build: Build) -> Iterator[str]:
    """Of a patch that is in: the ledger names who has approved it, and in which build."""
    if not approved:
        yield "the patch was deployed, and nobody had approved it"
    if approved_by != "approver" or not build_url.endswith(f"/builds/{build.number}"):
        yield (f"the ledger names another approval than what was given to build {build.number}:"
               f" {approved_by!r} for {build_url}")


def can_be_read(last: Build, state: State) -> Iterator[str]:
    """The last build of the request; one that has not ended waits for its approval."""
    if not last.complete:
        if state.recorded:
            yield f"build {last.number} waits for the approval of a patch that is in"
        return
    if last.state.strip() in SAYS_NOTHING:
        yield f"the last build, {last.number}, says nothing but {last.state!r}"
    if last.good is not state.recorded:
        yield (f"the last build, {last.number}, ended with {last.outcome} ({last.state}),"
               f" but the ledger {'has' if state.recorded else 'does not have'} the patch")

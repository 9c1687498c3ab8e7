"""A row of the table of faults: what is done to a deployment, what must hold afterwards, and what was measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from demo.faults import promise
from demo.faults.world import World

GATES = ("hold", "refuse")


@dataclass(slots=True, kw_only=True)
class Finding:
    """What was seen in one play of a row; `broken` are complete sentences, none where everything holds."""

    seconds: float | None = None  # from the fault until a new client got in; None where that is not the question
    said: str = ""                # what an operator reads about it
    broken: list[str] = field(default_factory=list)

    def expect(self, holds: object, sentence: str) -> None:
        """Note what does not hold."""
        if not holds:
            self.broken.append(sentence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fault at one moment. `play` finds the world in order, and may leave it as it likes."""

    fault: str
    moment: str
    must_hold: str                      # in the words of docs/what-if.md
    limit_seconds: float | None         # in which a new client must get in, as the table judges it
    play: Callable[[World], Finding]
    gates: tuple[str, ...] = GATES
    in_question: str = ""               # heading of docs/what-if.md that explains it
    surrounded: bool = False            # needs a world with a pooler and a standby

    @property
    def name(self) -> str:
        return f"{self.fault}, {self.moment}" if self.moment else self.fault


def played(row: Row, world: World) -> Finding:
    """Play a row and put the world right again. What escapes the play is a finding, too."""
    try:
        finding = row.play(world)
    except Exception as error:
        finding = Finding(broken=[f"{type(error).__name__}: {error}"])
    with _noting(finding):
        world.put_right()
    return finding


@contextmanager
def _noting(finding: Finding) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        finding.broken.append(f"the world could not be put right: {type(error).__name__}: {error}")


def expect_whole(finding: Finding, world: World, *, applied: bool | None, patch: str | None = None) -> None:
    """Patch and ledger agree; and (where that is certain) whether the patch is in."""
    state = world.state(patch) if patch else world.state()
    finding.broken += promise.is_whole(state, left=None)
    if applied is not None:
        finding.expect(state.recorded is applied, f"the patch should {'' if applied else 'not '}be in: {state}")


def measured(world: World, since: float | None = None) -> Finding:
    """A finding with the seconds until a new client gets in, counted from `since` (default: now)."""
    return Finding(seconds=world.seconds_until_open(time.monotonic() if since is None else since))

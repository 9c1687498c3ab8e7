"""What is drawn by lot for each round: the fault, its instant, the circumstances. Pure: same seed, same draws."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """What can happen to a deployment."""

    NOTHING = "nothing"
    KILL_MASTER = "kill -9 of the master"
    TERM_MASTER = "SIGTERM to the master"
    STOP = "Stop button"
    RECONFIGURE = "reconfig"                          # with other settings
    CUT = "network cut"                               # and restored
    CUT_AND_KILL = "network cut, master killed"       # meanwhile; then the network is restored
    DROP = "connections reset"
    KILL_SERVER = "kill -9 of PostgreSQL"             # and started again
    KILL_BOTH = "kill -9 of both"
    END_PATCHER = "patcher's session ended"           # by an administrator, as the following
    END_CONTROL = "control session ended"
    END_GUARD = "guard ended"
    END_ANY = "one of our sessions ended"
    FREEZE = "patcher's backend frozen"               # for a moment

    @property
    def stops_master(self) -> bool:
        return self in (Fault.KILL_MASTER, Fault.TERM_MASTER, Fault.CUT_AND_KILL, Fault.KILL_BOTH)

    @property
    def kills_server(self) -> bool:
        return self in (Fault.KILL_SERVER, Fault.KILL_BOTH)


class Since(StrEnum):
    """From when the instant of the fault is counted."""

    APPROVAL = "approval"
    CLOSING = "closing"  # of the gate: hits what is short


ENDS_A_SESSION = (Fault.END_PATCHER, Fault.END_CONTROL, Fault.END_GUARD, Fault.END_ANY)

UNAPPROVED = 0.08              # of all rounds: the fault comes while somebody is asked, and nobody answers
FROM_CLOSING = 0.5             # the others: from the approval
COMMIT_SECONDS = 0.05          # behind the patch's sleep
BEHIND_SECONDS = 0.3           # behind the end of the patch
LONGEST_PACE_SECONDS = 0.4
LONGEST_AFTERMATH_SECONDS = 0.5
DRAIN_SECONDS = (0.0, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """Settings of production; they take effect when the master starts or is reconfigured."""

    kick: str = "all"
    drain_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """One round. Durations in seconds."""

    number: int
    fault: Fault
    since: Since
    position: float            # 0..1, where in the time from `since` to the end the fault falls
    pace_seconds: float        # how long the patch sleeps
    aftermath_seconds: float   # until what was cut or killed is back
    lot: float                 # 0..1, chooses among several to hit
    approved: bool
    circumstances: Circumstances  # from the next start or reconfig on

    def after_seconds(self, usual_seconds: float) -> float:
        """From `since` to the fault, where a gate usually closes so many seconds after the approval."""
        if self.since is Since.CLOSING:
            return self.position * (self.pace_seconds + COMMIT_SECONDS)
        return self.position * (usual_seconds + self.pace_seconds + BEHIND_SECONDS)


def draws(seed: int, gate: str) -> Iterator[Draw]:
    """Draws without an end. Every fault comes once in so many rounds as there are faults."""
    lots = random.Random(f"{seed} {gate}")
    number = 0
    while True:
        for fault in lots.sample(tuple(Fault), len(Fault)):
            number += 1
            yield _draw(lots, number, fault)


def _draw(lots: random.Random, number: int, fault: Fault) -> Draw:
    approved = lots.random() >= UNAPPROVED
    since = Since.CLOSING if lots.random() < FROM_CLOSING else Since.APPROVAL
    return Draw(
        number=number, fault=fault, since=since if approved else Since.APPROVAL, position=lots.random(),
        pace_seconds=lots.uniform(0, LONGEST_PACE_SECONDS),
        aftermath_seconds=lots.uniform(0, LONGEST_AFTERMATH_SECONDS), lot=lots.random(), approved=approved,
        circumstances=Circumstances(kick=lots.choice(("all", "all", "transactions")),
                                    drain_seconds=lots.choice(DRAIN_SECONDS)))

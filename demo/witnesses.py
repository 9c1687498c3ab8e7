"""Who watches a deployment, and from where: a prober at production, clients behind its pooler, readers at its standby.

They work only as long as something is to be seen: together they take a whole processor.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from demo import application
from demo.companions import Clients, Probe
from demo.sandbox import Sandbox
from downtime.probing import Report

BEHIND_THE_POOLER = {"calling": 4, "writing": 2}
AT_THE_STANDBY = {"calling": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """What clients saw that keep their connections, all together."""

    calls: int
    errors: dict[str, int]  # by SQLSTATE, or by class where it is not known
    longest_seconds: float  # one call


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What everybody saw; None where nobody was."""

    prober: Report
    pooled: Calls | None = None   # behind the pooler
    standby: Calls | None = None  # reading from the standby

    @classmethod
    def nothing(cls) -> Self:
        """Nobody was there."""
        now = datetime.now(UTC)
        return cls(prober=Report(
            since_at=now, until_at=now, attempts=0, successes=0, outage_seconds=0.0, resolution_seconds=0.0,
            persistent_gap_seconds=0.0, longest_call_seconds=0.0))


class Witnesses:
    """They are at work from here on; `stop()` in any case."""

    def __init__(self, sandbox: Sandbox) -> None:
        """Returns when the prober has seen that production is open. Raises CompanionError."""
        around = sandbox.surroundings
        self._pooled = _clients(around.pooled_dsn(application.APPLICATION), BEHIND_THE_POOLER)
        self._readers = _clients(around.standby_dsn(application.APPLICATION), AT_THE_STANDBY)
        self._probe = Probe(sandbox.target(application.APPLICATION))

    def seen(self) -> Seen:
        """What they saw since they were there."""
        return Seen(prober=self._probe.report(), pooled=_calls(self._pooled), standby=_calls(self._readers))

    def stop(self) -> None:
        self._probe.stop()
        for clients in (self._pooled, self._readers):
            if clients is not None:
                clients.stop()


def _clients(dsn: str | None, numbers: dict[str, int]) -> Clients | None:
    return Clients(dsn, dsn, **numbers) if dsn is not None else None


def _calls(clients: Clients | None) -> Calls | None:
    if clients is None:
        return None
    tally = clients.report()
    return Calls(calls=tally["queries"] + tally["writes"], errors=tally["errors"],
                 longest_seconds=tally["longest_call_seconds"])

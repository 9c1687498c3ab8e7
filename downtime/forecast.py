"""Forecast against actual: what production has needed for patches that staging had measured, and what that teaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from downtime import ledger
from downtime.ledger import Entry
from downtime.node import connect
from downtime.patches import Lane
from downtime.target import Target
from downtime.traits import ON_PRODUCTION, STATEMENT_SECONDS

LEAST_SECONDS = 0.05  # on staging; of shorter patches the ratio is noise: a round trip more and it has doubled
LATEST = 20           # patches; fewer follow an odd one, more remember a server that was replaced long ago


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """How many times as long as on staging a patch takes on production."""

    value: float
    patches: int  # from how many it was learnt; 0: nothing is known yet, and the value is 1

    @property
    def sentence(self) -> str:
        return f"{self.value:.2f}, learnt from {self.patches} {'patch' if self.patches == 1 else 'patches'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """How long a patch will take on production."""

    rehearsed_seconds: float  # as staging has measured it
    factor: Factor

    @property
    def seconds(self) -> float:
        return self.rehearsed_seconds * self.factor.value

    @property
    def sentence(self) -> str:
        learnt = f" × {self.factor.sentence}" if self.factor.patches else ""
        return f"forecast: {self.seconds:.3f} s (staging took {self.rehearsed_seconds:.3f} s{learnt})"


async def learn(production: Target, *, reactor: Any = None) -> Factor:
    """The factor that production's ledger teaches; nothing where it has none. Costs production one short read.

    Raises NodeError or Outdated.
    """
    node = await connect(production, application_name="fastdowntime forecast", settings=ON_PRODUCTION,
                         statement_timeout_seconds=STATEMENT_SECONDS, reactor=reactor)
    try:
        return learnt(await ledger.read(node))
    except ledger.Outdated:
        raise
    except ledger.NotInstalled:
        return learnt(())
    finally:
        node.close()


def learnt(entries: Sequence[Entry]) -> Factor:
    """The median over the latest patches, never below 1.

    The budget is about staging's figure. Where production is the faster one, a patch that was too slow on staging
    still wants a sign-off: a wrong factor above 1 costs a signature, one below 1 an outage that is longer than
    promised. Learnt from the measured figure, because the forecast has the factor of its day in it; and from cold
    patches alone: the time of a live one has its waits for clients in it, and may be the rest of an earlier run.
    """
    ratios = [entry.seconds / entry.rehearsed_seconds for entry in entries
              if entry.lane == Lane.COLD and entry.rehearsed_seconds is not None
              and entry.rehearsed_seconds >= LEAST_SECONDS]
    latest = ratios[-LATEST:]
    return Factor(value=max(1.0, median(latest)) if latest else 1.0, patches=len(latest))


async def of_patch(staging: Target, production: Target, patch_id: str, sha256: str, *, reactor: Any = None
                   ) -> Forecast | None:
    """The forecast that the two ledgers give for exactly these bytes; None where staging has not run them.

    Raises NodeError or NotInstalled.
    """
    node = await connect(staging, application_name="fastdowntime forecast", reactor=reactor)
    try:
        entries = await ledger.read(node)
    finally:
        node.close()
    rehearsed = [entry for entry in entries
                 if (entry.id, entry.sha256) == (patch_id, sha256) and entry.lane != ledger.BASELINE]
    if not rehearsed:
        return None
    return Forecast(rehearsed_seconds=rehearsed[0].seconds, factor=await learn(production, reactor=reactor))


def beside(forecast_seconds: float, took_seconds: float) -> str:
    """`forecast 1.200 s, took 1.400 s (1.17 times)`; without the ratio where that is noise."""
    said = f"forecast {forecast_seconds:.3f} s, took {took_seconds:.3f} s"
    return said if forecast_seconds < LEAST_SECONDS else f"{said} ({took_seconds / forecast_seconds:.2f} times)"

"""The outage of one deployment, drawn to scale: what the template needs to place its bars. Pure.

The document is the build data `outage` (docs/outage.md); one of an older version has fewer keys.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

NARROWEST = 0.4   # percent: a bar that nobody sees says that there was nothing
TICKS = 4         # at most as many marks behind 0: they fit at phone width
NOT_REACHED = "not reached"
APPLY = "apply patch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar; `left` and `width` in percent of the drawing."""

    name: str
    kind: str         # a CSS class: overhead, patch, client
    seconds: float
    began_after: float | None  # seconds after the outage began; None: not known, drawn from its beginning
    state: str
    summary: str
    left: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    seconds: float
    left: float  # percent


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """One outage. `phases` are all of them, `bars` those that have happened and what is drawn beside them."""

    seconds: float           # of the outage
    patch_seconds: float
    overhead_seconds: float
    phases: tuple[Bar, ...]
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    client: Mapping[str, Any] | None


def of(document: Mapping[str, Any]) -> Timeline | None:
    """The timeline of a document; None where there was no outage or nothing is known of its phases."""
    phases, seconds = document.get("timeline") or (), float(document.get("outage_seconds") or 0)
    if not phases or seconds <= 0:
        return None
    client = document.get("client")
    seen = float(client["outage_seconds"]) if client else 0.0
    whole = max(seconds, seen)
    began = datetime.fromisoformat(document["started_at"])
    bars = tuple(_phase(each, began, whole) for each in phases)
    patch_seconds = float(document.get("patch_seconds") or 0)
    beside = [_bar("what a client saw", "client", seen, None, whole)] if client else []
    return Timeline(
        seconds=seconds, patch_seconds=patch_seconds,
        overhead_seconds=float(document.get("overhead_seconds", seconds - patch_seconds)), phases=bars,
        bars=(*(bar for bar in bars if bar.state != NOT_REACHED), *beside), ticks=_ticks(whole), client=client)


def of_user(sessions: Sequence[Mapping[str, Any]], user: str) -> list[Mapping[str, Any]]:
    """The sessions of the users with these letters in their name; all of them where nothing is asked for."""
    return [each for each in sessions if user.casefold() in str(each.get("user", "")).casefold()]


def _phase(phase: Mapping[str, Any], began: datetime, whole: float) -> Bar:
    started = phase.get("started_at")
    after = (datetime.fromisoformat(started) - began).total_seconds() if started else None
    name = str(phase["phase"])
    return _bar(name, "patch" if name == APPLY else "overhead", float(phase["seconds"]), after, whole,
                state=str(phase["state"]), summary=str(phase.get("summary", "")))


def _bar(name: str, kind: str, seconds: float, after: float | None, whole: float, *, state: str = "done",
         summary: str = "") -> Bar:
    width = min(100.0, max(NARROWEST, 100 * seconds / whole))
    left = min(100.0 - width, max(0.0, 100 * (after or 0.0) / whole))
    return Bar(name=name, kind=kind, seconds=seconds, began_after=after, state=state, summary=summary,
               left=round(left, 3), width=round(width, 3))


def _ticks(whole: float) -> tuple[Tick, ...]:
    """Round seconds, from 0."""
    magnitude = 10.0 ** math.floor(math.log10(whole / TICKS))
    step = next(magnitude * factor for factor in (1, 2, 5, 10) if magnitude * factor * TICKS >= whole)
    return tuple(Tick(seconds=number * step, left=round(100 * number * step / whole, 3))
                 for number in range(int(whole / step) + 1))

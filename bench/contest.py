"""A contest: contenders deploy in turns under the same load, and what clients saw of each is kept, round by round."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from bench import contenders
from bench.contenders import Contender, Patch
from downtime.probing import Report

SELDOM = 3  # rounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The application's clients: so many of each kind (see `bench.crowd`)."""

    name: str            # "500 clients"
    idle: int = 0
    connecting: int = 0
    writing: int = 0
    reporting: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What clients saw of one deployment, from when the contender began until it had returned."""

    probe: Report                # the prober's; its `outage_seconds` is the figure
    refused: Mapping[str, int]   # failed attempts to connect, by SQLSTATE: the prober's, and of those that only connect
    cut: Mapping[str, int]       # errors of clients that keep a connection, attempts to come back among them
    longest_call_seconds: float  # of any client, from when it wanted an answer until it had one, however often it tried


class Arena(contenders.Arena, Protocol):
    """Where the contest takes place."""

    def under(self, load: Load) -> AbstractContextManager[None]:
        """With these clients at work."""

    def alone_seconds(self, patch: Patch) -> float:
        """What the patch takes by itself, where nobody is in its way."""

    def seen(self) -> Seen:
        """Since the contender has begun, and until all clients are back from it. Raises ContestError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """What is deployed how often under which load, and by whom."""

    load: Load
    contenders: tuple[Contender, ...]
    seldom: tuple[Contender, ...] = ()  # those that no goal is about
    seldom_every: int = SELDOM          # rounds
    rounds: int
    sleeps_seconds: float = 0.0         # of the patch

    def round(self, number: int) -> list[Contender]:
        """Who deploys in a round, counted from 0; each begins with another one."""
        playing = [*self.contenders, *(self.seldom if number % self.seldom_every == 0 else ())]
        return [playing[(index + number) % len(playing)] for index in range(len(playing))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outing:
    """One contender's deployments in one heat."""

    contender: str
    patch_seconds: float                # of the patch by itself
    seen: list[Seen] = field(default_factory=list)

    @property
    def beyond(self) -> list[float]:
        """Outage minus patch in seconds, round by round; none where nobody was kept out for as long as the patch takes.

        The prober's resolution is in it, the same for all.
        """
        return [max(0.0, each.probe.outage_seconds - self.patch_seconds) for each in self.seen]

    @property
    def median(self) -> float:
        return statistics.median(self.beyond)

    @property
    def longest_calls(self) -> list[float]:
        return [each.longest_call_seconds for each in self.seen]

    @property
    def refused(self) -> Mapping[str, int]:
        """Of all rounds."""
        return total(each.refused for each in self.seen)

    @property
    def cut(self) -> Mapping[str, int]:
        return total(each.cut for each in self.seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A heat and its outings, by contender, in the order of the first round."""

    heat: Heat
    outings: Mapping[str, Outing]

    def ratio(self, contender: str, other: str) -> float:
        """Of the medians beyond the patch. Raises KeyError where one did not take part."""
        return self.outings[contender].median / self.outings[other].median


def contest(arena: Arena, heats: Iterable[Heat], *, tell: Callable[[str], None]) -> list[Result]:
    """Let the contenders deploy, in turns. Raises ContestError."""
    numbers = itertools.count(1)
    return [_one(arena, heat, numbers, tell) for heat in heats]


def _one(arena: Arena, heat: Heat, numbers: Iterator[int], tell: Callable[[str], None]) -> Result:
    alone = arena.alone_seconds(Patch(number=0, sleeps_seconds=heat.sleeps_seconds))
    outings = {each.name: Outing(contender=each.name, patch_seconds=alone) for each in heat.round(0)}
    with arena.under(heat.load):
        for number in range(heat.rounds):
            for contender in heat.round(number):
                contender.deploy(arena, Patch(number=next(numbers), sleeps_seconds=heat.sleeps_seconds))
                outing = outings[contender.name]
                outing.seen.append(seen := arena.seen())
                tell(f"{heat.load.name}, round {number + 1}, {contender.name}: {outing.beyond[-1] * 1000:.1f} ms beyond"
                     f" the patch's {alone:.3f} s; longest call {seen.longest_call_seconds:.3f} s;"
                     f" refused {dict(seen.refused)}, cut {dict(seen.cut)}")
    return Result(heat=heat, outings=outings)


def total(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    added: Counter[str] = Counter()
    for count in counts:
        added.update(count)
    return added

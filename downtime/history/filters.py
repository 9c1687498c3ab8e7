"""Which patches the board shows, as people write it into the address of the page. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar
from urllib.parse import urlencode

from downtime.history.journey import Journey
from downtime.history.stages import Stage, Standing, Whose
from downtime.lanes import Lane
from downtime.printable import cut

LONGEST_WORD = 60  # characters of a value that a sentence repeats

Choice = TypeVar("Choice", bound=StrEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What is asked for; nothing given shows everything."""

    stage: Stage | None = None
    lane: Lane | None = None
    whose: Whose | None = None
    author: str = ""  # a part of a name or an address
    q: str = ""       # a part of the patch's id, of where it stands, or of who had to do with it
    page: int = 1

    @property
    def any(self) -> bool:
        return replace(self, page=1) != Filters()

    def at(self, page: int) -> str:
        """The query string of another page of the same; empty for the first one of everything."""
        values = {"stage": self.stage, "lane": self.lane, "whose": self.whose, "author": self.author, "q": self.q,
                  "page": page if page != 1 else None}
        return urlencode({name: str(value) for name, value in values.items() if value})

    def match(self, journey: Journey, standing: Standing) -> bool:
        """Whether the patch is among what is asked for."""
        return ((self.stage is None or standing.stage is self.stage)
                and (self.lane is None or journey.lane is self.lane)
                and (self.whose is None or standing.whose is self.whose)
                and (not self.author or _has(self.author, journey.authors))
                and (not self.q or _has(self.q, _words(journey, standing))))


def read(query: Mapping[str, str]) -> tuple[Filters, tuple[str, ...]]:
    """The filters of a query string, and a sentence about each value that is none; the others hold all the same."""
    mistakes: list[str] = []
    filters = Filters(
        stage=_one_of(Stage, "stage", query, mistakes), lane=_one_of(Lane, "lane", query, mistakes),
        whose=_one_of(Whose, "whose", query, mistakes), author=query.get("author", "").strip(),
        q=query.get("q", "").strip(), page=_page(query, mistakes))
    return filters, tuple(mistakes)


def _one_of(kind: type[Choice], name: str, query: Mapping[str, str], mistakes: list[str]) -> Choice | None:
    given = query.get(name, "").strip()
    if not given:
        return None
    try:
        return kind(given)
    except ValueError:
        known = ", ".join(f"“{each}”" for each in kind)
        mistakes.append(f"There is no {name} “{cut(given, LONGEST_WORD)}”; there are {known}.")
        return None


def _page(query: Mapping[str, str], mistakes: list[str]) -> int:
    given = query.get("page", "").strip() or "1"
    if given.isascii() and given.isdigit() and len(given) < 10 and int(given) > 0:
        return int(given)
    mistakes.append(f"“{cut(given, LONGEST_WORD)}” is no number of a page; this is the first one.")
    return 1


def _words(journey: Journey, standing: Standing) -> tuple[str, ...]:
    attempt = journey.attempt
    deciders = tuple(decision.by for decision in attempt.decisions) if attempt is not None else ()
    asking = attempt.requested_by if attempt is not None else ()
    return (journey.patch_id, standing.stage, standing.sentence, *journey.authors, *deciders, *asking)


def _has(part: str, words: tuple[str, ...]) -> bool:
    wanted = part.casefold()
    return any(wanted in word.casefold() for word in words)

"""Charts of counts, which are bars to the right: how attempts ended, and who was in the way. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from downtime.history.events import Outcome
from downtime.history.figures import Ends
from downtime.printable import printable

# a rule or a person that says no is how it should be; everything else is not
TONES: dict[str, str] = {
    Outcome.DEPLOYED: "good", Outcome.REFUSED: "other", Outcome.REJECTED: "other", Outcome.STOPPED: "other"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """One bar of a chart of counts."""

    label: str
    number: int
    percent: float   # of the longest bar
    share: str       # of all attempts, in words
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    name: str
    title: str
    sentence: str
    heading: str     # of the column with the labels
    counts: tuple[Count, ...]


def outcomes(figures: Ends) -> Counts:
    """How many attempts ended how."""
    return Counts(name="ends", title="How attempts ended", sentence=printable(figures.sentence), heading="outcome",
                  counts=_counts({str(outcome): number for outcome, number in figures.outcomes.items() if number},
                                 figures.attempts, lambda label: TONES.get(label, "bad")))


def fragile(figures: Ends) -> Counts:
    """Whose transactions have aborted attempts."""
    sentence = ("Each attempt that was aborted because of a fragile user counts once for every user in its way."
                if figures.fragile else "No attempt was aborted because of a fragile user.")
    return Counts(name="fragile", title="Fragile users in the way", sentence=sentence, heading="database user",
                  counts=_counts(figures.fragile, figures.attempts, lambda label: "bad"))


def _counts(numbers: Mapping[str, int], whole: int, kind: Callable[[str], str]) -> tuple[Count, ...]:
    """The most frequent first."""
    most = max(numbers.values(), default=1)
    return tuple(Count(label=printable(label), number=number, percent=round(100 * number / most, 2),
                       share=f"{100 * number / whole:.0f} % of all attempts", kind=kind(label))
                 for label, number in sorted(numbers.items(), key=lambda pair: -pair[1]))

"""The board: every patch as one row, what waits for somebody on top. Pure; the page fills its template with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import groupby

from downtime.evidence import Verdict
from downtime.history.events import Answer, Decided, Ended, FoundApplied, Hurried, Outcome, WindowMissed
from downtime.history.filters import Filters
from downtime.history.journey import Attempt, Journey
from downtime.history.selection import lane_of
from downtime.history.stages import Stage, Standing, Whose, standing
from downtime.lanes import Lane

ROWS = 100  # a page; more is slow on a phone

Order = Callable[[str], tuple[int, ...]]  # the place of a patch among the others: `Inventory.number_of`


class Tone(StrEnum):
    """How a badge is coloured; a word always says the same."""

    GOOD = "good"
    FAIR = "fair"
    BAD = "bad"
    QUIET = "quiet"


TONE_OF_VERDICT = {Verdict.WITHIN_TARGET: Tone.GOOD, Verdict.WITHIN_LIMIT: Tone.FAIR, Verdict.OVER_LIMIT: Tone.BAD}
TONE_OF_STAGE = {Stage.DEPLOYED: Tone.GOOD, Stage.DEPLOYING: Tone.FAIR, Stage.QUIESCING: Tone.FAIR,
                 Stage.HELD_BACK: Tone.BAD, Stage.FAILED_ON_STAGING: Tone.BAD, Stage.REJECTED: Tone.BAD,
                 Stage.NOT_DEPLOYED: Tone.BAD, Stage.WAITING: Tone.FAIR}


class Group(StrEnum):
    """What stands together on the board, from top to bottom; the value is its heading."""

    APPROVER = "Waits for an approver"
    SIGNOFF = "Waits for a sign-off"
    OPERATOR = "Waits for an operator"
    AUTHOR = "Waits for its author"
    UNDER_WAY = "Under way, in the order in which they run"
    DONE = "In production, newest first"
    WITHDRAWN = "Withdrawn before production"


GROUP_OF = {Whose.APPROVER: Group.APPROVER, Whose.SIGNOFF: Group.SIGNOFF, Whose.OPERATOR: Group.OPERATOR,
            Whose.AUTHOR: Group.AUTHOR}
SETTLED = {Stage.DEPLOYED: Group.DONE, Stage.WITHDRAWN: Group.WITHDRAWN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """How far the words that one attempt needs have come."""

    needed: int
    signoff: bool                 # a sign-off person has to be among them
    waiting_since: datetime | None  # None: nothing is waited for
    granted: tuple[Decided, ...]
    rejected: Decided | None
    overridden: Decided | None    # marked for ever: the rules were passed by
    void: str                     # why what was approved counts no longer; empty where it does


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """When a downtime begins that has not begun."""

    at: datetime | None
    seconds: float                # from now; below 0 it is overdue
    missed: WindowMissed | None   # the last window that it was to begin in
    hurried: Hurried | None

    @property
    def overdue(self) -> bool:
        return self.at is not None and self.seconds < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One patch, as the board shows it; texts as they came from SQL, git and clients."""

    journey: Journey
    standing: Standing
    now: datetime

    @property
    def patch_id(self) -> str:
        return self.journey.patch_id

    @property
    def group(self) -> Group:
        if self.standing.stage in SETTLED:
            return SETTLED[self.standing.stage]
        return GROUP_OF.get(self.standing.whose, Group.UNDER_WAY)

    @property
    def tone(self) -> Tone:
        return TONE_OF_STAGE.get(self.standing.stage, Tone.QUIET)

    @property
    def attempt(self) -> Attempt | None:
        """The one that brought it into production; where none did, the newest."""
        return next((each for each in self.journey.attempts if each.ended is not None
                     and each.ended.outcome is Outcome.DEPLOYED), self.journey.attempt)

    @property
    def verdict_tone(self) -> Tone:
        rehearsed = self.journey.rehearsed
        known = rehearsed is not None and rehearsed.verdict in tuple(Verdict)
        return TONE_OF_VERDICT[Verdict(rehearsed.verdict)] if known and rehearsed is not None else Tone.QUIET

    @property
    def closes(self) -> bool:
        """Whether the database is closed for it at this moment."""
        return (self.standing.stage is Stage.DEPLOYING and self.attempt is not None
                and lane_of(self.journey, self.attempt) is not Lane.LIVE)

    @property
    def waits_for_a_word(self) -> bool:
        return self.standing.stage is Stage.WAITING

    @property
    def may_begin_now(self) -> bool:
        """Whether an operator can let it begin outside its window."""
        begins = self.attempt is not None and self.attempt.turn_came is not None
        return self.standing.stage is Stage.WAITING_WINDOW and not begins

    @property
    def approval(self) -> Approval | None:
        """None where no attempt has come so far."""
        attempt = self.attempt
        if attempt is None or (attempt.asked is None and not attempt.decisions):
            return None
        asked, decisions = attempt.asked, attempt.decisions
        return Approval(
            needed=asked.approvals_needed if asked is not None else 1,
            signoff=asked is not None and asked.needs_signoff,
            waiting_since=attempt.asked_first_at if self.waits_for_a_word else None,
            granted=attempt.granted,
            rejected=_last(decisions, Answer.REJECTED), overridden=_last(decisions, Answer.OVERRIDDEN),
            void=attempt.voided.reason if attempt.voided is not None and not attempt.granted else "")

    @property
    def begin(self) -> Begin | None:
        """None where its downtime is not planned, or has begun, or is over."""
        attempt = self.attempt
        if attempt is None or attempt.ended is not None or attempt.closed is not None:
            return None
        planned = attempt.quiescing or attempt.planned
        at = planned.begins_at if planned is not None else None
        missed = attempt.missed[-1] if attempt.missed else None
        if at is None and missed is None and attempt.hurried is None:
            return None
        return Begin(at=at, seconds=(at - self.now).total_seconds() if at is not None else 0.0, missed=missed,
                     hurried=attempt.hurried)

    @property
    def end(self) -> Ended | None:
        """How its last attempt went, where that is over; of one that is in production, how that was done."""
        return self.attempt.ended if self.attempt is not None else None

    @property
    def found(self) -> FoundApplied | None:
        return self.journey.found if self.journey.deployed is None else None

    @property
    def lead_seconds(self) -> float | None:
        """From landing to production; None before."""
        at = self.journey.in_production_at
        return max(0.0, (at - self.journey.landed_at).total_seconds()) if at is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Rows of one group that stand on one page."""

    group: Group
    rows: tuple[Row, ...]
    total: int  # of the group, on all pages


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One page of the board."""

    sections: tuple[Section, ...]
    filters: Filters
    known: int            # patches in all
    found: int            # of them, with these filters
    page: int
    pages: int            # at least 1
    waiting: Mapping[Whose, int]  # how many wait for whom, whatever the filters
    closed: tuple[Row, ...]       # for which the database is closed at this moment, whatever the filters
    mistakes: tuple[str, ...]

    @property
    def first(self) -> int:
        """The place of the page's first row among those found, from 1; 0 where there is none."""
        return (self.page - 1) * ROWS + 1 if self.found else 0

    @property
    def last(self) -> int:
        return min(self.page * ROWS, self.found)


def board(journeys: Iterable[Journey], filters: Filters, *, order: Order, now: datetime,
          mistakes: Sequence[str] = ()) -> Board:
    """One page of what is asked for. A page behind the last one is the last one, and that is said."""
    rows = [Row(journey=journey, standing=standing(journey), now=now) for journey in journeys]
    found = in_order((row for row in rows if filters.match(row.journey, row.standing)), order)
    pages = max(1, -(-len(found) // ROWS))
    page = min(filters.page, pages)
    behind = [f"There is no page {filters.page}; this is the last one."] if filters.page > pages else []
    totals = Counter(row.group for row in found)
    shown = found[(page - 1) * ROWS:page * ROWS]
    return Board(
        sections=tuple(Section(group=group, rows=tuple(of_group), total=totals[group])
                       for group, of_group in groupby(shown, key=lambda row: row.group)),
        filters=filters, known=len(rows), found=len(found), page=page, pages=pages,
        waiting=Counter(row.standing.whose for row in rows if row.standing.whose is not Whose.NOBODY),
        closed=tuple(row for row in rows if row.closes),
        mistakes=(*mistakes, *behind))


def in_order(rows: Iterable[Row], order: Order) -> list[Row]:
    """Group by group; what is still on its way in running order, what is in production newest first."""
    groups: dict[Group, list[Row]] = {group: [] for group in Group}
    for row in rows:
        groups[row.group].append(row)
    for group, found in groups.items():
        if group is Group.DONE:
            found.sort(key=lambda row: row.journey.in_production_at or row.journey.last_at, reverse=True)
        else:
            found.sort(key=lambda row: (order(row.patch_id), row.patch_id))
    return [row for group in Group for row in groups[group]]


def _last(decisions: Sequence[Decided], answer: Answer) -> Decided | None:
    return next((each for each in reversed(decisions) if each.answer is answer), None)

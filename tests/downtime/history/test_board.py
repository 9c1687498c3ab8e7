"""The board: every patch as one row, what waits for somebody on top."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qsl

import pytest

from downtime import patches
from downtime.history import board, events, filters, journey
from downtime.history.board import ROWS, Board, Group, Row, Tone
from downtime.history.events import Event, Outcome
from downtime.history.filters import Filters
from downtime.history.stages import Stage, Whose, standing
from downtime.lanes import Lane
from tests.downtime.history.histories import NOW, STAGES, a_patch, many, some_of_each


def journeys_of(happened: Iterable[Event]) -> dict[str, journey.Journey]:
    found: dict[str, journey.Journey] = {}
    for event in happened:
        found[event.patch_id] = journey.after(found.get(event.patch_id), event)
    return found


def a_board(happened: Iterable[Event], asked: Filters | None = None) -> Board:
    return board.board(journeys_of(happened).values(), asked or Filters(), order=patches.number_of, now=NOW)


def a_row(*happened: Event) -> Row:
    (known,) = journeys_of(happened).values()
    return Row(journey=known, standing=standing(known), now=NOW)


def shown(page: Board) -> list[str]:
    return [row.patch_id for section in page.sections for row in section.rows]


def test_what_waits_for_somebody_is_on_top() -> None:
    """Then what is under way, and what is done below that."""

    page = a_board(some_of_each())
    assert [section.group for section in page.sections] == list(Group)
    assert [len(section.rows) for section in page.sections] == [1, 1, 1, 3, 6, 4, 1]
    assert page.waiting == {Whose.APPROVER: 1, Whose.SIGNOFF: 1, Whose.OPERATOR: 1, Whose.AUTHOR: 3}


def test_what_is_to_come_is_in_running_order_and_what_is_done_newest_first() -> None:
    """By the numbers in the patches' names: 9 runs before 10, whenever they landed."""

    happened = [*a_patch("waiting", "patch-10", number=1), *a_patch("waiting", "patch-9", number=2),
                *a_patch("deployed", "patch-1", number=5), *a_patch("deployed", "patch-2", number=4)]
    assert shown(a_board(happened)) == ["patch-9", "patch-10", "patch-2", "patch-1"]


def test_a_page_has_a_hundred_rows_and_every_patch_is_on_one() -> None:
    """None is lost between two pages, and none is on both."""

    happened = many(250)
    pages = [a_board(happened, Filters(page=number)) for number in (1, 2, 3)]
    assert [len(shown(page)) for page in pages] == [ROWS, ROWS, 50]
    assert sorted(patch_id for page in pages for patch_id in shown(page)) == sorted(journeys_of(happened))
    assert [(page.first, page.last, page.pages) for page in pages] == [(1, 100, 3), (101, 200, 3), (201, 250, 3)]


def test_a_group_is_counted_whole_on_each_of_its_pages() -> None:
    """The heading on the second page tells how many there are, not how many are left."""

    last = a_board(many(250), Filters(page=3)).sections[-1]
    assert last.group is Group.DONE
    assert last.total > len(last.rows)


def test_a_page_behind_the_last_is_the_last_and_says_so() -> None:
    """Somebody's old link still leads somewhere."""

    page = a_board(some_of_each(), Filters(page=7))
    assert (page.page, len(shown(page))) == (1, 17)
    assert page.mistakes == ("There is no page 7; this is the last one.",)


def test_an_empty_board_is_one_empty_page() -> None:
    """Nothing has landed yet."""

    page = a_board([])
    assert (page.known, page.found, page.page, page.pages, page.first, page.last) == (0, 0, 1, 1, 0, 0)


@pytest.mark.parametrize(("asked", "found"), [
    (Filters(stage=Stage.WAITING), [5, 6]),
    (Filters(lane=Lane.LIVE), [12]),
    (Filters(whose=Whose.AUTHOR), [2, 3, 14]),
    (Filters(author="DEVELOPER@"), list(range(1, 18))),
    (Filters(author="nobody"), []),
    (Filters(q="2211-07"), [7]),
    (Filters(q="Approver", stage=Stage.DEPLOYED), [11, 12, 13]),
    (Filters(stage=Stage.DEPLOYED, lane=Lane.LIVE), [12]),
])
def test_filters_leave_what_was_asked_for(asked: Filters, found: list[int]) -> None:
    """All of them together; letters are compared without their case."""

    page = a_board(some_of_each(), asked)
    assert sorted(shown(page)) == [f"patch-2211-{number:02}-0" for number in found]
    assert (page.known, page.found) == (17, len(found))


def test_filters_come_from_the_address_and_go_back_into_it() -> None:
    """What somebody sends to somebody else shows the same."""

    asked = Filters(stage=Stage.WAITING_TURN, lane=Lane.COLD, whose=Whose.AUTHOR, author="ä&b", q="a b#?", page=3)
    assert filters.read(dict(parse_qsl(asked.at(3)))) == (asked, ())
    assert Filters().at(1) == ""


def test_what_is_no_filter_is_told_and_the_rest_holds() -> None:
    """A sentence for each value, with those that there are; nothing is repeated at length."""

    asked, mistakes = filters.read({"stage": "x" * 500, "lane": "cold", "page": "0"})
    assert asked == Filters(lane=Lane.COLD)
    assert len(mistakes) == 2
    assert "“in production”" in mistakes[0]
    assert len(mistakes[0]) < 500


@pytest.mark.parametrize(("stage", "tone"), [("deployed", Tone.GOOD), ("signoff", Tone.BAD), ("landed", Tone.QUIET)])
def test_the_verdict_has_a_colour_beside_its_word(stage: str, tone: Tone) -> None:
    """And none where nothing was measured."""

    assert a_row(*a_patch(stage, "patch-1")).verdict_tone is tone


def test_a_verdict_of_a_later_version_has_no_colour() -> None:
    """The word is shown all the same."""

    landed, rehearsed = a_patch("deployed", "patch-1")[:2]
    assert isinstance(rehearsed, events.Rehearsed)
    assert a_row(landed, replace(rehearsed, verdict="splendid")).verdict_tone is Tone.QUIET


def test_a_row_tells_since_when_somebody_is_waited_for() -> None:
    """From the first time it was asked: a restart of the buildmaster does not start it anew."""

    *before, asked = a_patch("waiting", "patch-1")
    again = replace(asked, at=NOW)  # type: ignore[type-var]
    approval = a_row(*before, asked, again).approval
    assert approval is not None
    assert approval.waiting_since == asked.at


def test_an_approval_says_who_and_what_is_missing() -> None:
    """Of several that are needed, how many are there."""

    approval = a_row(*a_patch("window", "patch-1", by="approver")).approval
    assert approval is not None
    assert [decision.by for decision in approval.granted] == ["approver"]
    assert approval.waiting_since is None
    assert approval.overridden is None
    assert a_row(*a_patch("queued", "patch-1")).approval is None


@pytest.mark.parametrize(("stage", "outcome"), [("rejected", Outcome.REJECTED), ("aborted", Outcome.ABORTED)])
def test_what_was_not_deployed_tells_how_it_ended(stage: str, outcome: Outcome) -> None:
    """And has no lead time."""

    row = a_row(*a_patch(stage, "patch-1"))
    assert row.end is not None
    assert row.end.outcome is outcome
    assert row.lead_seconds is None


def test_of_several_attempts_the_one_that_deployed_counts() -> None:
    """What was refused before or after it is on the patch's own page."""

    after = events.Ended(at=NOW, patch_id="patch-1", request_id=99, build_id=99, build_url="", outcome=Outcome.REFUSED,
                         sentence="it is applied already")
    row = a_row(*a_patch("deployed", "patch-1"), after)
    assert row.end is not None
    assert row.end.outcome is Outcome.DEPLOYED
    assert row.lead_seconds == 45 * 60


def test_a_window_that_has_passed_is_overdue() -> None:
    """It was to begin and nothing was heard of it."""

    *before, planned = a_patch("window", "patch-1")
    assert isinstance(planned, events.Planned)
    late = events.Planned(at=planned.at, patch_id="patch-1", request_id=1, begins_at=NOW - timedelta(minutes=5))
    begin, overdue = a_row(*before, planned).begin, a_row(*before, late).begin
    assert begin is not None
    assert overdue is not None
    assert (begin.overdue, begin.seconds) == (False, 7800)
    assert (overdue.overdue, overdue.seconds) == (True, -300)


def test_a_missed_window_is_told_until_it_begins() -> None:
    """With the reason; a deployment that has begun has no window to wait for."""

    missed = events.WindowMissed(at=NOW, patch_id="patch-1", request_id=1, begins_at=NOW, reason="a tape ran")
    begin = a_row(*a_patch("window", "patch-1"), missed).begin
    assert begin is not None
    assert begin.missed == missed
    closed = events.Closed(at=NOW, patch_id="patch-1", request_id=1, expected_seconds=1.0)
    assert a_row(*a_patch("window", "patch-1"), missed, closed).begin is None


def test_who_may_act_depends_on_where_it_stands() -> None:
    """Buttons stand on no other row."""

    rows = {stage: a_row(*a_patch(stage, "patch-1")) for stage in STAGES}
    assert [stage for stage, row in rows.items() if row.waits_for_a_word] == ["waiting", "signoff"]
    assert [stage for stage, row in rows.items() if row.may_begin_now] == ["window"]
    begins = events.TurnCame(at=NOW, patch_id="patch-1", request_id=1)
    assert not a_row(*a_patch("window", "patch-1"), begins).may_begin_now


def test_what_was_withdrawn_waits_for_nobody() -> None:
    """It stands at the very end, and costs nobody a look."""

    row = a_row(*a_patch("withdrawn", "patch-1"))
    assert row.group is Group.WITHDRAWN
    assert row.standing.whose is Whose.NOBODY


def test_what_the_ledger_has_by_itself_is_done() -> None:
    """Applied from a terminal: there is no attempt of ours to tell of."""

    row = a_row(*a_patch("found", "patch-1"))
    assert row.group is Group.DONE
    assert row.found is not None
    assert row.end is None

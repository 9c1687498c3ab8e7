"""What a query string selects."""

from __future__ import annotations

import re
from datetime import date

import pytest

from downtime.history.selection import EVERYTHING, Selection, endings, from_query
from downtime.lanes import Lane
from tests.downtime.history.histories import START, a_deployed, ended, journeys


def test_a_query_string_is_read_and_written_alike() -> None:
    """What somebody sees can be sent to somebody else as a link."""

    query = {"from": "2026-03-01", "to": "2026-03-31", "lane": "cold"}
    assert from_query(query) == Selection(first=date(2026, 3, 1), last=date(2026, 3, 31), lane=Lane.COLD)
    assert from_query(query).query == query
    assert from_query({"from": "", "other": "x"}) == EVERYTHING
    assert EVERYTHING.query == {}


@pytest.mark.parametrize(("query", "sentence"), [
    ({"from": "yesterday"}, "“from” should be a day like 2026-03-04."),
    ({"to": "2026-02-30"}, "“to” should be a day like 2026-03-04."),
    ({"from": "2026-03-02", "to": "2026-03-01"}, "“from” (2026-03-02) is later than “to” (2026-03-01)."),
    ({"lane": "<b>"}, "“lane” should be live or cold."),
])
def test_what_makes_no_sense_is_refused_in_a_sentence(query: dict[str, str], sentence: str) -> None:
    """And never repeats what a stranger wrote into a link, but for days."""

    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        from_query(query)


def test_both_days_are_in_the_selection() -> None:
    """Somebody who asks for one day gets what ended on it, all of it."""

    known = journeys([*a_deployed("patch-1"), ended("patch-2", request_id=2, when=START.replace(hour=23, minute=59)),
                      ended("patch-3", request_id=3, when=START.replace(day=3, hour=0))])
    day = Selection(first=START.date(), last=START.date())
    assert [each.journey.patch_id for each in endings(known.values(), day)] == ["patch-1", "patch-2"]


def test_an_attempt_has_the_lane_it_was_made_in() -> None:
    """A patch that was live when it was refused, and is cold now, counts as live then."""

    known = journeys([ended("patch-1", request_id=1, lane=Lane.LIVE), *a_deployed("patch-1", request_id=2)])
    assert [each.lane for each in endings(known.values())] == [Lane.LIVE, Lane.COLD]
    assert len(endings(known.values(), Selection(lane=Lane.LIVE))) == 1

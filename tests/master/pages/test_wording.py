"""How values are written on the pages."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from master.pages import wording


def test_times_are_utc_wherever_they_come_from() -> None:
    """For people and for programs alike."""

    here = timezone(timedelta(hours=2))
    assert wording.at(datetime(2026, 3, 4, 10, 30, tzinfo=here)) == (
        '<time datetime="2026-03-04T08:30:00Z">2026-03-04 08:30</time>')


@pytest.mark.parametrize(("seconds", "said"), [(7800, "in 2 h 10 min"), (0.4, "now"), (-300, "5 min ago")])
def test_a_span_says_whether_it_is_to_come(seconds: float, said: str) -> None:
    """What is late is not in the future."""

    assert wording.until(seconds) == said


@pytest.mark.parametrize(("url", "inside"), [
    ("https://buildbot.example.org/prefix/#/builders/1/builds/2", "#/builders/1/builds/2"),
    ("javascript:alert(1)", ""), ("https://elsewhere.example.org/", ""), ("", ""),
])
def test_only_places_inside_buildbot_are_linked(url: str, inside: str) -> None:
    """Relative to where the visitor is: a path prefix or another host name of the same master stays."""

    assert wording.inside(url) == inside


def test_a_long_text_is_cut_and_a_hostile_one_is_shown_as_it_is() -> None:
    """A row stays a row."""

    assert len(wording.short("x" * 10_000)) < 400
    assert wording.short("a\u202eb") == "a\\u202eb"


def test_the_lines_of_a_diff_are_told_apart() -> None:
    """Added, removed, the same, and what git says about them."""

    text = "diff --git a/x b/x\n@@ -1 +1 @@\n-a\n+b\n c\n"
    assert [kind for kind, _ in wording.diff_lines(text)] == ["meta", "meta", "removed", "added", "same"]

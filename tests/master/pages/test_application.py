"""The pages, asked as a browser asks, over a source made of plain values."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from downtime.history import events
from downtime.history.journey import Journey
from downtime.settings import Settings
from master.pages.application import KICKED_SHOWN, application
from tests.downtime.evidences import EVIDENCE, UPDATE
from tests.downtime.history.histories import NOW, STAGES, a_patch, many, some_of_each
from tests.master.pages.told import Told, an_outage, with_windows
from tests.master.settings_for_tests import a_settings

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}\u202e"
PAGES = ("board", "deployment?patch=patch-1", "decisions", "charts")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return with_windows(tmp_path)


def asked(source: Told) -> FlaskClient:
    return application(source).test_client()


def text(source: Told, page: str) -> str:
    answer = asked(source).get(f"/{page}")
    assert answer.status_code == 200, answer.text
    return answer.text


def told(page: str) -> str:
    """What a reader sees of a page, in one line."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("page", [*PAGES, f"board?q={HOSTILE[:20]}", f"deployment?patch=patch-1&user={HOSTILE[:20]}"])
def test_what_others_wrote_is_text_and_nothing_else(settings: Settings, stage: str, page: str) -> None:
    """Authors, reasons, sentences and SQL are anybody's; none of it becomes markup, in whatever stage."""

    source = Told(a_patch(stage, "patch-1", author=HOSTILE, reason=HOSTILE, by=HOSTILE), settings, diff=f"+{HOSTILE}",
                  outage=an_outage(user=HOSTILE, query=HOSTILE),
                  evidence=replace(EVIDENCE, remarks=(HOSTILE,), lane_advice=HOSTILE, signoff_reasons=(HOSTILE,),
                                   statements=(replace(UPDATE, kind=HOSTILE, remedy=HOSTILE),)))
    shown = text(source, page)
    assert not re.search(r"<script>|<img|\sonerror=(?!alert\(2\)&gt;)", shown)
    assert "&gt;49" not in shown
    assert "\u202e" not in shown


def test_a_hostile_patch_is_linked_and_found(settings: Settings) -> None:
    """Its name is quoted into the address, and leads back to it."""

    name = "patch-1 &q=2#x?\"<b>"
    source = Told(a_patch("deployed", name), settings)
    (link,) = set(re.findall(r'href="(deployment\?patch=[^"]*)"', text(source, "board")))
    assert "&q" not in link
    assert "<h1>patch-1 &amp;q=2#x?&#34;&lt;b&gt;</h1>" in text(source, link)


class Eventful(Told):
    """Something happens while a page is being made."""

    def patch_diff(self, journey: Journey) -> str:
        self._events += (replace(self._events[-1]),)
        return ""


def test_what_happens_while_a_page_is_made_is_shown_with_the_next_look(settings: Settings) -> None:
    """The page had old words and the new version, and stayed so until something else happened."""

    source = Eventful(a_patch("deployed", "patch-1"), settings)
    before = str(len(source.events()))
    assert f'data-version="{before}"' in text(source, "deployment?patch=patch-1")
    assert len(source.events()) == int(before) + 1


@pytest.mark.parametrize("page", [*PAGES, "no-such-page", "index.html", "static/pages.css", "queue.json"])
def test_every_answer_is_guarded(settings: Settings, page: str) -> None:
    """Nothing runs and nothing is fetched but what is ours, and nobody else may frame it."""

    with asked(Told(some_of_each(), settings)).get(f"/{page}") as answer:
        headers = answer.headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("page", PAGES)
def test_no_page_needs_what_its_policy_forbids(settings: Settings, page: str) -> None:
    """No script, style or handler stands in the page itself, and nothing comes from another place."""

    source = Told([*some_of_each(), *a_patch("deployed", "patch-1")], settings, outage=an_outage())
    shown = text(source, page)
    assert not re.search(r"<style|<script(?! src=\"static/)|\sstyle=|\son\w+=|https?://", shown.replace(
        'xmlns="http://www.w3.org/2000/svg"', ""))


@pytest.mark.parametrize("page", ["board", "decisions", "charts"])
def test_an_empty_history_says_what_will_be_there(settings: Settings, page: str) -> None:
    """A newcomer's first look is no blank page, and no error."""

    shown = told(text(Told([], settings), page))
    assert re.search(r"has landed yet|has decided anything yet|nothing to draw yet", shown, re.IGNORECASE)


def test_the_board_explains_itself_to_a_newcomer(settings: Settings) -> None:
    """Open while there is little else to read."""

    assert '<details class="about" id="about" open>' in text(Told([], settings), "board")
    assert '<details class="about" id="about">' in text(Told(some_of_each(), settings), "board")


def test_a_waiting_patch_can_be_decided_about_on_its_row(settings: Settings) -> None:
    """With the number and the digest that the decision has to name; nothing else can."""

    board = text(Told(a_patch("waiting", "patch-1", number=7), settings), "board")
    assert 'data-scheduler="decide"' in board
    assert f'data-build="7" data-digest="{"d" * 64}"' in board
    assert [value for value in ("approve", "reject", "override") if f'value="{value}"' not in board] == []
    assert "data-scheduler" not in text(Told(a_patch("deployed", "patch-1"), settings), "board")


def test_a_planned_deployment_can_begin_now(settings: Settings) -> None:
    """The button of an operator stands on a row that waits for its window."""

    board = text(Told(a_patch("window", "patch-1", number=7), settings), "board")
    assert 'data-scheduler="begin-deployment-now"' in board
    assert 'data-build="7"' in board
    assert "in 2 h 10 min" in told(board)


def test_an_override_is_marked_for_ever(settings: Settings) -> None:
    """On the board, on the patch's own page and in the record, long after it went well."""

    source = Told(a_patch("overridden", "patch-1"), settings)
    for page in ("board", "deployment?patch=patch-1", "decisions"):
        assert '<span class="badge bad">emergency override</span>' in text(source, page)


def test_a_sign_off_is_asked_for_and_shown(settings: Settings) -> None:
    """Who looks for something to decide sees that it is for others."""

    board = told(text(Told(a_patch("signoff", "patch-1"), settings), "board"))
    assert "Waits for a sign-off" in board
    assert "needs sign-off" in board
    assert "0 of 2" in board


def test_the_summary_counts_who_is_waited_for(settings: Settings) -> None:
    """One look tells whether anybody has to act, what the queue costs, and when the next window is."""

    board = told(text(Told(some_of_each(), settings), "board"))
    assert "1 waits for an approver" in board
    assert "3 wait for an author" in board
    assert re.search(r"\d+ deployments are pending: \d+ cold with", board)
    assert "Next window in 2 h 10 min , 2026-03-04 10:40" in board


def test_without_windows_that_is_said(tmp_path: Path) -> None:
    """Nobody looks for a time that there is not."""

    assert "There are no windows" in text(Told([], a_settings(tmp_path)), "board")


@pytest.mark.parametrize("query", ["stage=%3Cb%3E", "lane=hot", "whose=me", "page=0", "page=-1", "page=1e9", "page=99",
                                   f"page={'9' * 400}", "page=%D9%A3", "stage=in+production&stage=x&q=%00%ff"])
def test_an_address_that_makes_no_sense_is_answered(settings: Settings, query: str) -> None:
    """With the page, and a sentence where a value is none."""

    shown = text(Told(some_of_each(), settings), f"board?{query}")
    assert ('class="mistake"' in shown) == (query != "stage=in+production&stage=x&q=%00%ff")
    assert "<b>" not in shown.replace("<b>1</b>", "").replace("<b>3</b>", "").replace('<b data-at', "")


def test_filters_stay_in_the_links_of_the_pages(settings: Settings) -> None:
    """The second page of what was asked for is the second page of that."""

    board = text(Told(many(600), settings), "board?lane=cold&author=developer1")
    assert "page=" not in board or "lane=cold&amp;author=developer1&amp;page=2" in board
    second = text(Told(many(600), settings), "board?lane=cold&page=2")
    assert 'href="board?lane=cold"' in second
    assert 'href="board?lane=cold&amp;page=3"' in second


def test_a_patch_that_nobody_knows_is_not_found(settings: Settings) -> None:
    """In a sentence, with the way back."""

    answer = asked(Told([], settings)).get("/deployment?patch=<b>")
    assert answer.status_code == 404
    assert "Nothing is known of a patch “&lt;b&gt;”" in answer.text


def test_the_outage_is_drawn_and_told(settings: Settings) -> None:
    """Phases to scale, patch against overhead, what a client saw; the table has the same for who cannot see it."""

    page = text(Told(a_patch("deployed", "patch-1"), settings, outage=an_outage()), "deployment?patch=patch-1")
    assert "The outage: 172 ms, of it the patch 138 ms and overhead 34 ms" in page
    assert page.count('<rect class="bar ') == 6
    seen = told(page)
    assert "apply patch done 27 ms 142 ms" in seen
    assert "got no new connection for 179 ms" in seen


def test_a_document_of_an_older_version_is_shown_as_far_as_it_goes(settings: Settings) -> None:
    """Without phases and report there is no drawing, and no error."""

    source = Told(a_patch("deployed", "patch-1"), settings, outage={"outage_seconds": 0.2, "kicked": 3})
    assert "<svg class=\"timeline\"" not in text(source, "deployment?patch=patch-1")


def test_a_script_owner_finds_their_user(settings: Settings) -> None:
    """And reads whether it lost a transaction, without scripts."""

    source = Told(a_patch("deployed", "patch-1"), settings, outage=an_outage(kicked=4, user="importer"))
    page = told(text(source, "deployment?patch=patch-1&user=IMPORT"))
    assert "2 sessions of users like “IMPORT”" in page
    assert "was in a transaction for 3.20 s" in page
    assert "process_upload" not in page
    assert "No session of a user like “nobody”" in told(text(source, "deployment?patch=patch-1&user=nobody"))


def test_a_long_report_says_what_it_leaves_out(settings: Settings) -> None:
    """Five hundred rows, and a number for the rest."""

    outage = {**an_outage(kicked=KICKED_SHOWN + 20), "kick_report_left_out": 3}
    page = text(Told(a_patch("deployed", "patch-1"), settings, outage=outage), "deployment?patch=patch-1")
    assert f"Sessions that were kicked: {KICKED_SHOWN + 23}" in page
    assert "23 more are not shown" in page


def test_the_evidence_and_the_patch_are_there_to_decide_by(settings: Settings) -> None:
    """Above the attempts, while somebody has to decide."""

    source = Told(a_patch("waiting", "patch-1"), settings, diff="--- a\n+++ b\n+ALTER TABLE account ADD note text;\n")
    page = text(source, "deployment?patch=patch-1")
    assert page.index('id="evidence"') < page.index('id="attempts"')
    seen = told(page)
    for said in ("change the rows in batches", "ACCESS EXCLUSIVE", "nobody has used it since May", "ä reason",
                 "Table public.account is smaller on staging.", "It was run once.", "1.50 times as long"):
        assert said in seen
    assert '<span class="added">+ALTER TABLE account ADD note text;' in page


def test_a_link_into_buildbot_is_one_of_ours_or_none(settings: Settings) -> None:
    """Whatever an event says its build's address is, nobody is led elsewhere."""

    landed, *rest = a_patch("landed", "patch-1")
    assert isinstance(landed, events.Landed)
    for url, expected in (("javascript:alert(1)", 0), ("https://elsewhere.example.org/", 0),
                          ("http://localhost:8010/#/builders/1/builds/2", 1)):
        page = text(Told([replace(landed, build_url=url), *rest], settings), "deployment?patch=patch-1")
        assert page.count('href="../../../#/builders/1/builds/2" target="_top"') == expected
        assert "javascript:" not in page
        assert "elsewhere" not in page


def test_the_record_keeps_what_did_not_count(settings: Settings) -> None:
    """Newest first; somebody who tried without the right is in it, and who let a deployment begin early."""

    refused = events.Decided(at=NOW, patch_id="patch-1", request_id=1, build_id=1, digest="d", by="developer",
                             answer=events.Answer.NOT_ACCEPTED, reason="", sentence="developer is no approver",
                             signoff=False)
    hurried = events.Hurried(at=NOW.replace(minute=31), patch_id="patch-1", request_id=1, by="operator", reason="now")
    page = told(text(Told([*a_patch("waiting", "patch-1"), refused, hurried], settings), "decisions"))
    assert page.index("began outside its window") < page.index("not accepted")
    assert "developer is no approver" in page


def test_the_queue_is_there_for_programs(settings: Settings) -> None:
    """The same as on the page, as JSON."""

    found: Any = asked(Told(some_of_each(), settings)).get("/queue.json").get_json()
    assert found["deployments"] == len(found["entries"])
    assert [entry["patch"] for entry in found["entries"]][:2] == ["patch-2211-01-0", "patch-2211-02-0"]


def test_the_version_changes_with_every_event(settings: Settings) -> None:
    """The page in a browser looks at it, and shows itself anew when it has changed."""

    happened = a_patch("deployed", "patch-1")
    versions = [asked(Told(happened[:count], settings)).get("/version").get_json()["version"] for count in (3, 4)]
    assert versions[0] != versions[1]
    assert f'data-version="{versions[0]}"' in text(Told(happened[:3], settings), "board")


def test_the_frame_leads_to_the_board(settings: Settings) -> None:
    """Buildbot inserts this into its own page, without running scripts."""

    index = text(Told([], settings), "index.html")
    assert 'src="plugins/wsgi_dashboards/deployments/board"' in index
    assert "<script" not in index

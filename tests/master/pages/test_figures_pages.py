"""Charts, exports, metrics and status document as a client gets them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from time import process_time

import pytest
from flask.testing import FlaskClient

from downtime.history.events import Event, Outcome
from master.pages.application import application
from tests.downtime.history.histories import NOW, a_deployed, a_patch, ended, landed, many, some_of_each
from tests.master.pages.told import Told
from tests.master.settings_for_tests import a_settings

HOSTILE = "<script>alert('x')</script>\u202e"


@pytest.fixture
def served(tmp_path: Path) -> type[Served]:
    """Makes clients of the pages over some events."""
    Served.folder = tmp_path
    return Served


class Served:
    """A client of the pages over these events."""

    folder: Path

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.client: FlaskClient = application(Told(events, a_settings(self.folder))).test_client()

    def text(self, path: str, status: int = 200) -> str:
        answer = self.client.get(path)
        assert answer.status_code == status
        return answer.get_data(as_text=True)


class Elements(HTMLParser):
    """Every element of a page with its attributes, and what was opened and not closed."""

    VOID = frozenset({"meta", "link", "input", "br", "hr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID and not self.rawdata.startswith("/>", self.rawdata.find(">") - 1):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def a_year() -> list[Event]:
    """Sixty deployments of different lengths, one of them very long, and an outage that deployed nothing."""
    began = NOW - timedelta(days=100)
    found = [event for number in range(60) for event in a_deployed(
        f"patch-{number:02}", request_id=number + 1, when=began + timedelta(days=number),
        patch_seconds=45.0 if number == 30 else 0.05 + number % 5 / 100, overhead_seconds=0.004)]
    return [*found, ended("patch-99", request_id=99, when=NOW - timedelta(hours=2), outcome=Outcome.ABORTED,
                          began_at=NOW - timedelta(hours=2), patch_seconds=0.0, outage_seconds=0.02,
                          fragile=("process_upload",))]


def test_a_chart_says_in_words_what_it_shows(served: type[Served]) -> None:
    """In a sentence above it, and in a description that a screen reader finds."""

    page = served(a_year()).text("charts")
    sentence = ("The median outage of a deployment was 74 ms, of it 4.0 ms overhead; the longest was 45.0 s, of "
                "patch-30. No outage of 61 took longer than the limit of 1 min; 1 attempt deployed nothing.")
    assert page.count(sentence) == 2
    described = [each for each in Elements(page).all("svg") if each.get("role") == "img"]
    assert len(described) == 4
    names = {name for each in described for name in (each["aria-labelledby"] or "").split()}
    assert names <= {each.get("id") for _, each in Elements(page).found}


def test_a_bar_that_is_cut_off_is_told(served: type[Served]) -> None:
    """Nobody takes its height for its length."""

    page = served(a_year()).text("charts")
    assert "▲ Cut off, so that the others can be seen: patch-30 45.0 s." in page
    assert "Drawn are the latest 50 of 61; the sentence above is about all of them." in page
    assert "The limit of 1 min is above this chart." in page


def test_the_table_has_the_figures_of_every_bar(served: type[Served]) -> None:
    """Nothing is said by a picture alone."""

    page = served(a_year()).text("charts")
    outage = page.partition('id="outage"')[2].partition("</section>")[0]
    assert outage.count('<g class="bar">') == 50 == outage.count('<th scope="row">')
    assert "<td class=\"number\">74 ms</td>" in outage
    assert "aborted" in outage


def test_the_page_needs_no_script_and_no_style_of_its_own(served: type[Served]) -> None:
    """The header that forbids both would leave the charts without colours, and nobody would know why."""

    answer = served(a_year()).client.get("charts")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    elements = Elements(answer.get_data(as_text=True))
    assert elements.open == []
    assert not any("style" in each or any(name.startswith("on") for name in each) for _, each in elements.found)
    assert elements.all("style") == []
    assert all(each.get("src") for each in elements.all("script"))


def test_every_address_on_the_page_is_relative(served: type[Served]) -> None:
    """Buildbot may live below a path, and nothing is fetched from elsewhere."""

    page = served(a_year()).text("charts?from=2026-01-01")
    addresses = re.findall(r'(?:href|src|action)="([^"]*)"', page)
    assert [each for each in addresses if "//" in each or (each.startswith("/"))] == []
    assert "deployments.csv?from=2026-01-01" in addresses
    assert "deployment?patch=patch-99" in addresses


@pytest.mark.parametrize("path", ["charts", "deployments.csv", "deployments.json", "metrics", "status.json"])
def test_a_hostile_patch_is_text_everywhere(path: str, served: type[Served]) -> None:
    """Ids, users and reasons come from strangers."""

    page = served([*a_year(), landed(HOSTILE), *a_deployed(HOSTILE, request_id=500, when=NOW - timedelta(days=2)),
                   ended(HOSTILE, request_id=501, when=NOW, outcome=Outcome.ABORTED, began_at=NOW, outage_seconds=99,
                         fragile=(HOSTILE,), sentence=HOSTILE)]).text(path)
    if path == "charts":
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in page
    if path != "deployments.json":  # there it is what a parser of JSON gives back
        assert "\u202e" not in page


@pytest.mark.parametrize("query", ["from=<script>", "from=2026-99-99", "lane=%00", "from=2026-03-02&to=2026-03-01"])
def test_what_makes_no_sense_is_answered_in_a_sentence(query: str, served: type[Served]) -> None:
    """By the page and by both exports, and never with what was asked."""

    pages = served(a_year())
    shown = pages.text(f"charts?{query}", status=400)
    assert 'role="alert"' in shown
    assert "<script>\"" not in shown
    assert "“" in json.loads(pages.text(f"deployments.json?{query}", status=400))["mistake"]
    assert pages.text(f"deployments.csv?{query}", status=400).startswith("“")


def test_filters_stay_in_the_form(served: type[Served]) -> None:
    """Whoever opens a link sees what is selected, and can change one part of it."""

    elements = Elements(served(a_year()).text("charts?from=2026-01-01&to=2026-02-01&lane=cold"))
    given = {each.get("name"): each.get("value") for each in elements.all("input")}
    assert (given["from"], given["to"]) == ("2026-01-01", "2026-02-01")
    assert [each.get("value") for each in elements.all("option") if "selected" in each] == ["cold"]


def test_without_history_the_page_tells_what_will_be_here(served: type[Served]) -> None:
    """A newcomer does not look at empty axes."""

    page = served().text("charts")
    assert "No attempt to deploy has ended yet. After the first one this page shows, per deployment" in page
    assert "role=\"img\"" not in page


def test_a_selection_without_attempts_is_not_called_an_empty_history(served: type[Served]) -> None:
    """The link leads back to everything."""

    page = served(a_year()).text("charts?from=2099-01-01")
    assert "No attempt to deploy ended in this selection." in page


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_deployments_are_drawn_too(count: int, served: type[Served]) -> None:
    """The first one already has a chart."""

    page = served(a_year()[:8 * count]).text("charts")
    assert page.count('<g class="bar">') == 3 * count


def test_json_and_csv_are_the_same_rows(served: type[Served]) -> None:
    """One for each attempt, in the same order, with the same names."""

    pages = served(some_of_each())
    document = json.loads(pages.text("deployments.json"))
    sheet = list(csv.DictReader(io.StringIO(pages.text("deployments.csv"), newline=""), strict=True))
    assert document["count"] == len(sheet) > 10
    assert [row["patch"] for row in document["rows"]] == [row["patch"] for row in sheet]
    assert document["generated_at"] == "2026-03-04T08:30:00.000Z"
    assert pages.client.get("deployments.csv").headers["Content-Type"] == "text/csv; charset=utf-8; header=present"


def test_a_filter_is_the_same_for_both(served: type[Served]) -> None:
    """And for the charts."""

    pages = served(some_of_each())
    lanes = {row["lane"] for row in json.loads(pages.text("deployments.json?lane=live"))["rows"]}
    assert lanes == {"live"}
    assert pages.text("deployments.csv?lane=live").count("\r\n") == 2


def test_metrics_have_the_type_that_prometheus_asks_for(served: type[Served]) -> None:
    """With the version of the format."""

    answer = served(some_of_each()).client.get("metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'fastdowntime_waiting_patches{whose="an approver"} 1' in answer.get_data(as_text=True)


def test_a_site_may_poll_the_status_from_anywhere(served: type[Served]) -> None:
    """It alone: the other addresses are for whoever may read Buildbot."""

    pages = served(some_of_each())
    answer = pages.client.get("status.json")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Cache-Control"] == "no-store"
    for path in ("charts", "deployments.json", "deployments.csv", "metrics"):
        assert "Access-Control-Allow-Origin" not in pages.client.get(path).headers


def test_a_closed_database_says_when_to_come_back(served: type[Served]) -> None:
    """In the document and in the header; an open one says nothing of the kind."""

    closed = served(a_patch("deploying", "patch-1")).client.get("status.json")
    assert json.loads(closed.data)["state"] == "closed"
    assert closed.headers["Retry-After"] == str(json.loads(closed.data)["retry_after_seconds"])
    opened = served(a_patch("window", "patch-1")).client.get("status.json")
    assert json.loads(opened.data)["state"] == "planned"
    assert "Retry-After" not in opened.headers


def test_two_thousand_patches_are_answered_at_once(served: type[Served], capsys: pytest.CaptureFixture[str]) -> None:
    """The processor time is shown to people; the size of the page is a promise."""

    pages = served(many(2000))
    pages.text("charts")  # templates are compiled once
    for path in ("charts", "deployments.json", "deployments.csv", "metrics", "status.json"):
        began = process_time()
        page = pages.text(path)
        with capsys.disabled():
            print(f"\n{path}: {1000 * (process_time() - began):.0f} ms, {len(page.encode()) / 1000:.0f} kB", end="")
        assert path.startswith("deployments") or len(page.encode()) < 300_000

"""What an operator finds on the pages when something is wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from downtime.lanes import Lane
from downtime.settings import Settings
from master.pages.application import application
from tests.downtime.history.histories import NOW, a_patch
from tests.master.pages.test_application import text, told
from tests.master.pages.told import Told, with_windows


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return with_windows(tmp_path)


def test_a_closed_database_stands_on_top(settings: Settings) -> None:
    """An operator finds the patch, since when, and the way to Stop, whatever the filters hide."""

    *waiting, deploying = a_patch("deploying", "patch-1", number=7)
    closed = replace(deploying, at=NOW - timedelta(minutes=2))
    page = text(Told([*waiting, closed], settings), "board?q=nothing-like-it")
    alert = told(page.partition('role="alert">')[2].partition("</p>")[0])
    assert "The database is closed since 2026-03-04 08:28:00 for patch-1 ; 2.00 s were expected" in alert
    assert 'href="../../../#/builders/2/builds/7" target="_top">Its build has the logs, and Stop' in page
    live = [replace(event, lane=Lane.LIVE) if hasattr(event, "lane") else event for event in [*waiting, closed]]
    assert "The database is closed" not in text(Told(live, settings), "board")


def test_a_doubt_about_production_stands_on_top(settings: Settings) -> None:
    """Nobody takes a page without a word for an open database."""

    page = told(text(Told([], settings, doubt=True), "board"))
    assert "Nobody knows whether production is open" in page
    assert "python -m downtime status --environment production" in page
    assert "Nobody knows" not in text(Told([], settings), "board")
    document: Any = application(Told([], settings, doubt=True)).test_client().get("/status.json").get_json()
    assert document["state"] == "unknown"
    versions = [application(source).test_client().get("/version").get_json()
                for source in (Told([], settings, doubt=True), Told([], settings))]
    assert versions[0] != versions[1]


@pytest.mark.parametrize("left", ["closed", "unknown"])
def test_how_an_attempt_left_the_database_is_told_where_it_matters(settings: Settings, left: str) -> None:
    """On the board as on its own page, in red; a word of the program alone says nothing to an operator."""

    *before, ended = a_patch("aborted", "patch-1")
    source = Told([*before, replace(ended, left=left)], settings)
    said = {"closed": "left the database closed", "unknown": "not known how it left the database"}[left]
    for page in ("board", "deployment?patch=patch-1"):
        assert f'<span class="badge bad">{said}</span>' in text(source, page)

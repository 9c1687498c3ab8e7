"""The page of one deployment where production is several databases."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from downtime import errors
from downtime.fleet.matrix import Matrix, Result, Row, State
from downtime.history.events import Closed, Ended, Event, Spreading
from downtime.settings import Settings
from master.pages.application import KICKED_SHOWN, application
from tests.downtime.history.histories import a_patch
from tests.master.pages.told import Told, an_outage, with_windows
from tests.master.settings_for_tests import a_settings

HOSTILE = "<img src=x onerror=alert(1)>\u202e"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return with_windows(tmp_path)


def a_matrix(*, others: int = 3, said: str = "line 1: it has failed") -> Matrix:
    done = Result(state=State.DONE, outage_seconds=0.0312, patch_seconds=0.021, kicked=4)
    rows = [Row(name="canary", database="db1:5432/app", result=done),
            Row(name="tenant-1", database="db2:5432/one", result=Result(
                state=State.FAILED, said=said, left=errors.Left.CLOSED))]
    rows += [Row(name=f"tenant-{number}", database="db2:5432/more", result=Result(state=State.NOT_REACHED))
             for number in range(2, others + 1)]
    return Matrix(rows=tuple(rows), stopped="no more were begun: tenant-1 failed")


def spread(happened: Iterable[Event], *, ended: bool = True) -> list[Event]:
    """The events of a deployed patch with the other databases behind the canary."""
    found: list[Event] = []
    for event in happened:
        if isinstance(event, Ended):
            found += [Closed(at=event.at, patch_id=event.patch_id, request_id=event.request_id, expected_seconds=1.0),
                      Spreading(at=event.at, patch_id=event.patch_id, request_id=event.request_id, databases=3)]
            found += [event] if ended else []
        else:
            found.append(event)
    return found


def page(source: Told, path: str = "deployment?patch=patch-1") -> str:
    answer = application(source).test_client().get(f"/{path}")
    assert answer.status_code == 200, answer.text
    return answer.text


def told(shown: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", shown))


def test_the_page_says_what_became_of_each_database(settings: Settings) -> None:
    """State, outage, patch and kicked of each, beside the canary's own outage; what is left closed stands out."""
    source = Told(spread(a_patch("deployed", "patch-1")), settings, outage=an_outage(), fleet=a_matrix().to_json())

    seen = told(page(source))

    assert "1 of 4 databases have it; without it: tenant-1, tenant-2, tenant-3" in seen
    assert "canary db1:5432/app done 31 ms 21 ms 4" in seen
    assert "tenant-1 db2:5432/one failed – – – line 1: it has failed" in seen
    assert "tenant-3 db2:5432/more not reached – – – –" in seen
    assert "The outage: 172 ms" in seen


def test_a_deployment_under_way_shows_how_far_it_is(settings: Settings) -> None:
    """On its page and on the board, and it is not in production before the last database has it."""
    source = Told(spread(a_patch("deployed", "patch-1"), ended=False), settings, fleet=a_matrix().to_json())

    assert "tenant-2 db2:5432/more not reached" in told(page(source))
    assert "the first database has it; 3 more get it now" in told(page(source, "board"))
    assert source.journeys()["patch-1"].in_production_at is None


def test_a_canary_that_stops_the_others_is_shown_with_them(tmp_path: Path) -> None:
    """It took too long, so that no other was begun: they stand there as not reached."""
    settings = a_settings(tmp_path, environments={
        "staging": {"database": "postgresql://patcher@localhost:1/app"},
        "production": {"database": "postgresql://patcher@localhost:2/app", "fleet": {"databases": [
            {"name": "tenant-1", "database": "postgresql://patcher@localhost:3/app"}]}}})
    events = [event for event in spread(a_patch("deployed", "patch-1")) if not isinstance(event, Spreading)]
    source = Told(events, settings, outage=an_outage(), fleet=a_matrix().to_json())

    assert "tenant-3 db2:5432/more not reached" in told(page(source))


def test_a_deployment_to_one_database_has_no_such_table(settings: Settings) -> None:
    """Nor is Buildbot asked for what there is not."""
    source = Told(a_patch("deployed", "patch-1"), settings, outage=an_outage(), fleet=a_matrix().to_json())

    assert "the canary first" not in told(page(source))


def test_hundreds_of_databases_are_cut_and_counted(settings: Settings) -> None:
    """And what a database has said is text and nothing else."""
    source = Told(spread(a_patch("deployed", "patch-1")), settings,
                  fleet=a_matrix(others=KICKED_SHOWN + 9, said=HOSTILE).to_json())

    shown = page(source)

    assert "10 more are not shown" in told(shown)
    assert "<img" not in shown
    assert "\u202e" not in shown

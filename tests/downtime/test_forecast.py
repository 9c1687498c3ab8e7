"""What production's ledger teaches about the times of staging."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from downtime import errors, forecast, ledger
from downtime.forecast import Factor, Forecast
from downtime.ledger import Entry
from downtime.target import Target
from tests.databases import Database, MakeDatabase
from tests.downtime.ledgers import an_entry, written


def an_applied(*, took: float, rehearsed: float | None, lane: str = "cold", day: float = 0) -> Entry:
    return replace(an_entry(f"patch-{day}", day=day), seconds=took, rehearsed_seconds=rehearsed, lane=lane)


@pytest.mark.parametrize(("entries", "expected"), [
    pytest.param([], Factor(value=1.0, patches=0), id="nothing is known"),
    pytest.param([an_applied(took=3.0, rehearsed=2.0)], Factor(value=1.5, patches=1), id="one patch"),
    pytest.param([an_applied(took=each, rehearsed=1.0) for each in (1.2, 40.0, 1.4)], Factor(value=1.4, patches=3),
                 id="one that waited for a lock does not decide"),
    pytest.param([an_applied(took=0.5, rehearsed=1.0)], Factor(value=1.0, patches=1), id="never below 1"),
    pytest.param([an_applied(took=9.0, rehearsed=None)], Factor(value=1.0, patches=0), id="nobody had measured it"),
    pytest.param([an_applied(took=1.0, rehearsed=0.049)], Factor(value=1.0, patches=0), id="a tiny one is noise"),
    pytest.param([an_applied(took=1.0, rehearsed=0.0)], Factor(value=1.0, patches=0), id="no division by zero"),
    pytest.param([an_applied(took=9.0, rehearsed=1.0, lane="live")], Factor(value=1.0, patches=0),
                 id="a live one has waited for clients"),
    pytest.param([*(an_applied(took=9.0, rehearsed=1.0, day=day) for day in range(30)),
                  *(an_applied(took=2.0, rehearsed=1.0, day=day) for day in range(30, 50))],
                 Factor(value=2.0, patches=20), id="the latest twenty"),
])
def test_the_factor_is_the_median_of_the_latest_measured_cold_patches(entries: Sequence[Entry], expected: Factor
                                                                      ) -> None:
    """And never makes a forecast shorter than what staging has measured."""

    assert forecast.learnt(entries) == expected


@pytest.mark.parametrize(("foretold", "took", "words"), [
    (1.2, 1.4, "forecast 1.200 s, took 1.400 s (1.17 times)"),
    (0.004, 0.4, "forecast 0.004 s, took 0.400 s"),
    (0.0, 0.4, "forecast 0.000 s, took 0.400 s"),
])
def test_forecast_and_actual_stand_side_by_side(foretold: float, took: float, words: str) -> None:
    """With the ratio, where it says anything."""

    assert forecast.beside(foretold, took) == words


def test_a_forecast_says_what_it_is_made_of() -> None:
    """Staging's figure, and what production has taught."""
    learnt = Forecast(rehearsed_seconds=2.0, factor=Factor(value=1.5, patches=7))
    not_learnt = Forecast(rehearsed_seconds=2.0, factor=Factor(value=1.0, patches=0))

    assert learnt.sentence == "forecast: 3.000 s (staging took 2.000 s × 1.50, learnt from 7 patches)"
    assert not_learnt.sentence == "forecast: 2.000 s (staging took 2.000 s)"


async def test_the_factor_is_learnt_from_productions_own_ledger(each_database: Database) -> None:
    """The measured figure counts, not the forecast that had an earlier factor in it."""
    await written(each_database, "patch-1", seconds=3.0,
                  origin=ledger.Origin(rehearsed_seconds=1.5, forecast_seconds=3.0))

    assert await forecast.learn(each_database.target) == Factor(value=2.0, patches=1)


async def test_without_a_ledger_nothing_was_learnt(database: Database, make_database: MakeDatabase) -> None:
    """The first patch of a database that has none yet is no failure; a server that is not there is one."""
    bare = make_database(database.server, gate=None)

    assert await forecast.learn(bare.target) == Factor(value=1.0, patches=0)
    with pytest.raises(errors.NodeError):
        await forecast.learn(Target(dsn="postgresql://patcher@127.0.0.1:1/app"))


async def test_an_older_ledger_is_not_taken_for_one_that_taught_nothing(database: Database) -> None:
    """Somebody has to run install again, and learns so from the remark of the rehearsal."""
    database.admin_sql("ALTER TABLE fastdowntime.ledger DROP COLUMN rehearsed_seconds")

    with pytest.raises(ledger.Outdated, match="older version"):
        await forecast.learn(database.target)


async def test_two_ledgers_make_the_forecast_of_a_patch(database: Database, make_database: MakeDatabase) -> None:
    """Staging's time by production's factor; other bytes and a baseline were never run on staging."""
    production = make_database(database.server)
    await written(database, "patch-2", seconds=4.0)
    await written(database, "patch-3", seconds=0.0, lane=ledger.BASELINE)
    await written(production, "patch-1", seconds=1.5, origin=ledger.Origin(rehearsed_seconds=1.0))

    async def of(patch_id: str, digest: str) -> Forecast | None:
        return await forecast.of_patch(database.target, production.target, patch_id, digest * 64)

    found = await of("patch-2", "a")

    assert found is not None
    assert (found.rehearsed_seconds, found.seconds) == (4.0, 6.0)
    assert (await of("patch-2", "b"), await of("patch-3", "a")) == (None, None)

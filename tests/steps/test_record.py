"""What is said and kept of a deployment that has ended."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from downtime import live, phases
from downtime.ledger import Entry
from steps import s15_record

AT = datetime(2024, 1, 2, tzinfo=UTC)
COLD = phases.Report(phases=(), started_at=AT, outage_seconds=1.5, patch_seconds=1.4, proof_seconds=0.0, applied=True,
                     statements=(), kicked=(), drained=(), error=None)
LIVE = live.Report(started_at=AT, seconds=1.4, statements=(), resumed=0, retries=0)
ROW = Entry(id="patch-1", sha256="a" * 64, lane="cold", commit="c", started_at=AT, finished_at=AT, seconds=1.4,
            build_url="", requested_by="", approved_by="", rehearsed_seconds=1.0, forecast_seconds=1.2)


@pytest.mark.parametrize("report", [COLD, LIVE])
def test_the_forecast_stands_beside_what_came_true(report: phases.Report | live.Report) -> None:
    """In words; as figures for other programs they are in the build's data."""

    assert s15_record.against_forecast(report, ROW) == "forecast 1.200 s, took 1.400 s (1.17 times)"


@pytest.mark.parametrize(("report", "row"), [
    pytest.param(COLD, None, id="the ledger could not be read"),
    pytest.param(COLD, replace(ROW, rehearsed_seconds=None, forecast_seconds=None), id="nobody had foretold it"),
    pytest.param(replace(COLD, applied=False), ROW, id="it was not applied"),
    pytest.param(replace(LIVE, resumed=1), ROW, id="only the rest of it was run"),
])
def test_nothing_is_compared_that_cannot_be(report: phases.Report | live.Report, row: Entry | None) -> None:
    """No forecast is said to have failed that was none."""

    assert s15_record.against_forecast(report, row) == ""

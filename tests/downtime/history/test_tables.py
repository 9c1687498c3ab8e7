"""Attempts as rows, for programs and spreadsheets."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from time import process_time

import pytest

from downtime.history.events import Event, FoundApplied, Outcome
from downtime.history.selection import Selection
from downtime.history.tables import COLUMNS, FOUND, Row, as_csv, as_json, rows
from downtime.lanes import Lane
from tests.downtime.history.histories import (
    APPROVER,
    AUTHOR,
    a_deployed,
    a_history,
    asked,
    at,
    ended,
    journeys,
    landed,
    rehearsed,
)

DOCUMENTED = Path(__file__).resolve().parents[3] / "docs" / "figures.md"


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def mixed() -> list[Event]:
    """Refused and then deployed; found in the ledger; waiting."""
    return [landed("patch-1"), ended("patch-1", request_id=1, outcome=Outcome.REFUSED, outage_seconds=0,
                                     patch_seconds=0, expected_seconds=None, sentence="too late"),
            *a_deployed("patch-1", request_id=2),
            FoundApplied(at=at(500), patch_id="patch-2", lane="live", began_at=at(400), patch_seconds=2.5),
            landed("patch-3", when=at(600)), rehearsed("patch-3", when=at(601)),
            asked("patch-3", when=at(602), request_id=3)]


def test_every_attempt_is_a_row_the_newest_first() -> None:
    """And so is what was applied from a terminal: a sheet of deployments without it would be wrong."""

    found = rows(journeys(mixed()).values())
    assert [(row.patch, row.request_id, row.outcome) for row in found] == [
        ("patch-3", 3, None), ("patch-2", None, FOUND), ("patch-1", 2, "deployed"), ("patch-1", 1, "refused")]
    assert found[0].stage == "waiting for approval"


def test_a_deployment_has_its_times_and_parts() -> None:
    """In seconds; the five parts are the lead time, patch and overhead the outage."""

    row = rows(journeys(a_deployed()).values())[0]
    assert (row.rehearsal_seconds, row.earlier_attempts_seconds, row.approval_seconds, row.turn_seconds,
            row.deploying_seconds, row.lead_seconds) == (120, 0, 3480, 1800, 3600, 9000)
    assert (row.patch_seconds, row.overhead_seconds, row.outage_seconds) == (1.0, pytest.approx(0.004), 1.004)
    assert (row.approved_by, row.requested_by, row.kicked_sessions) == ((APPROVER,), (AUTHOR,), 12)


def test_what_has_not_happened_is_empty_and_not_zero() -> None:
    """A refusal has no outage of 0 s that somebody would average."""

    refused = rows(journeys(mixed()).values())[-1]
    assert (refused.began_at, refused.patch_seconds, refused.outage_seconds, refused.lead_seconds) == (None,) * 4
    assert read(as_csv([refused]))[0]["outage_seconds"] == ""


def test_json_and_csv_are_the_same_rows() -> None:
    """Whoever changes from one to the other finds the same figures."""

    found = rows(journeys(mixed()).values())
    from_json, from_csv = json.loads(json.dumps(as_json(found))), read(as_csv(found))
    assert [tuple(row) for row in from_json] == [COLUMNS] * 4 == [tuple(row) for row in from_csv]
    assert from_json[2]["ended_at"] == from_csv[2]["ended_at"] == "2026-03-02T10:30:00.000Z"
    assert from_json[2]["outage_seconds"] == float(from_csv[2]["outage_seconds"]) == 1.004
    assert from_json[2]["authors"] == [AUTHOR]
    assert (from_json[2]["override"], from_csv[2]["override"]) == (False, "false")


def test_lines_end_as_the_standard_has_it() -> None:
    """RFC 4180: CRLF, and quotes around what has a comma, a quote or a line end in it, doubled quotes inside."""

    text = as_csv([Row(patch='a,"b"\nc')])
    assert text.startswith("patch,request_id,outcome,")
    assert text.count("\r\n") == 2
    assert '\r\n"a,""b""\nc",' in text
    assert read(text)[0]["patch"] == 'a,"b"\nc'


@pytest.mark.parametrize("hostile", ['=HYPERLINK("http://x")', "+1", "-1", "@SUM(1)", "\t=1", "  =1"])
def test_a_spreadsheet_never_takes_a_cell_for_a_formula(hostile: str) -> None:
    """Patch ids, reasons and names come from strangers; a sheet that opens them would run them."""

    row = read(as_csv([Row(patch=hostile, sentence=hostile, authors=(hostile, "x"))]))[0]
    assert all(row[name].startswith("'") for name in ("patch", "sentence", "authors"))


@pytest.mark.parametrize("hostile", ["a;=1+1", "a; =1+1", 'a;"=1+1', "a\t=1+1", ";;@SUM(1)"])
def test_a_spreadsheet_of_another_country_does_not_either(hostile: str) -> None:
    """Where a comma is a decimal point, semicolons part the cells, and quotes of the standard do not help."""

    row = read(as_csv([Row(patch=hostile)]))[0]
    assert not re.search(r'[;\t][ "]*[=+@-]', row["patch"])
    assert row["patch"].replace("'", "") == hostile
    assert read(as_csv([Row(patch="a; b - c")]))[0]["patch"] == "a; b - c"


def test_no_control_character_reaches_a_terminal() -> None:
    """Somebody looks at the file with `cat`."""

    assert read(as_csv([Row(patch="a\x1b[31m\u202eb")]))[0]["patch"] == r"a\x1b[31m\u202eb"


def test_a_selection_is_of_the_day_an_attempt_ended() -> None:
    """Those under way belong to the day on which they were asked for."""

    known = journeys(mixed()).values()
    assert [row.patch for row in rows(known, Selection(lane=Lane.LIVE))] == ["patch-2"]
    assert rows(known, Selection(first=at(60 * 24 * 5).date())) == ()


def test_every_column_is_documented() -> None:
    """Whoever polls the export finds each field explained, and no field that is not there."""

    table = DOCUMENTED.read_text(encoding="utf-8").partition("## What is in a row of ")[2].partition("\n## ")[0]
    explained = [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")]
    assert explained == list(COLUMNS)


def test_two_thousand_patches_are_written_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The processor time is shown to people; it decides nothing here."""

    known = a_history(2000)
    began = process_time()
    found = rows(known.values())
    made = process_time()
    as_text = json.dumps(as_json(found))
    dumped = process_time()
    sheet = as_csv(found)
    done = process_time()
    with capsys.disabled():
        print(f"\n{len(found)} rows: read {1000 * (made - began):.0f} ms, "
              f"JSON {1000 * (dumped - made):.0f} ms ({len(as_text) // 1000} kB), "
              f"CSV {1000 * (done - dumped):.0f} ms ({len(sheet) // 1000} kB)")
    assert len(read(sheet)) == len(found) >= 2000

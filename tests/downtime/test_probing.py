"""What the prober counts as an outage: arithmetic on instants, no server."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import psycopg2
import pytest

from downtime.probing import Gaps, Report, classify


def test_the_outage_is_the_longest_gap_between_two_successes() -> None:
    """An outage is what lies between the last client that got in before and the first that got in after."""
    gaps = Gaps(started=100.0)
    for instant in (100.5, 101.0, 104.0, 104.5):
        gaps.succeeded(instant)

    assert gaps.take(now=104.75) == (3.0, 0.5)


def test_a_gap_still_open_counts_in_this_report_and_whole_in_the_next() -> None:
    """A report asked for in the middle of an outage neither hides it nor halves it."""
    gaps = Gaps(started=0.0)
    gaps.succeeded(1.0)
    during, _ = gaps.take(now=5.0)
    gaps.succeeded(9.0)
    after, _ = gaps.take(now=9.5)

    assert (during, after) == (4.0, 8.0)


def test_without_any_success_the_outage_is_the_whole_time() -> None:
    """A prober that never gets in reports an outage, not a zero."""

    assert Gaps(started=10.0).take(now=12.5) == (2.5, 2.5)


@pytest.mark.parametrize(("sentence", "sqlstate"), [
    ('FATAL:  database "app" is not currently accepting connections', "55000"),
    ("FATAL:  sorry, too many clients already", "53300"),
    ("FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute", "53300"),
    ("FATAL:  the database system is not yet accepting connections", "57P03"),
    ("FATAL:  the database system is shutting down", "57P03"),
    ("FATAL:  terminating connection due to administrator command", "57P01"),
    ("server closed the connection unexpectedly", "08006"),
    ('connection to server at "127.0.0.1", port 1 failed: Connection refused', "08001"),
    ('FATAL:  database "app" does not exist', "3D000"),
    ("something nobody has thought of", "OperationalError"),
])
def test_an_error_without_sqlstate_is_known_by_its_sentence(sentence: str, sqlstate: str) -> None:
    """What is refused before a connection stands is counted by its SQLSTATE too."""

    assert classify(psycopg2.OperationalError(sentence)) == sqlstate


def test_a_report_survives_the_way_between_processes() -> None:
    """What the prober writes is what its parent reads."""
    report = Report(since_at=datetime(2024, 1, 2, tzinfo=UTC), until_at=datetime(2024, 1, 3, 4, 5, 6, 7, tzinfo=UTC),
                    attempts=3, successes=2, outage_seconds=0.25, resolution_seconds=0.01, persistent_gap_seconds=0.5,
                    longest_call_seconds=0.2, errors={"55000": 1})

    assert Report.from_json(report.to_json()) == report


def test_a_line_that_is_no_report_is_refused() -> None:
    """A stray line on the prober's output is never taken for a measurement."""

    with pytest.raises(ValueError, match="not a prober's report"):
        Report.from_json('{"since_at": "2024-01-02T00:00:00+00:00"}')


def test_the_prober_process_loads_nothing_of_ours() -> None:
    """The prober measures us, so it shares neither our reactor nor our way to the database."""
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, downtime.probing; print(*sys.modules)"],
        capture_output=True, text=True, check=True).stdout.split()

    assert not {name.split(".")[0] for name in loaded} & {"twisted", "txpostgres", "buildbot"}
    assert "downtime.node" not in loaded

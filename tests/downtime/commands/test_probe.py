"""`python -m downtime probe`."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta

from downtime.commands.probe import combined
from downtime.probing import Report
from tests.downtime.commands.conftest import Project, ended, write_settings

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def a_report(second: int, *, outage_seconds: float = 0.01, errors: dict[str, int] | None = None) -> Report:
    return Report(since_at=NOON + timedelta(seconds=second), until_at=NOON + timedelta(seconds=second + 1), attempts=10,
                  successes=9, outage_seconds=outage_seconds, resolution_seconds=0.005, persistent_gap_seconds=0.002,
                  longest_call_seconds=0.004, errors=errors or {})


def test_reports_add_up_to_one() -> None:
    """Counts are added, gaps are the longest of all."""
    total = combined([a_report(0, errors={"55000": 1}), a_report(1, outage_seconds=2.5, errors={"55000": 2})])

    assert (total.since_at, total.until_at) == (NOON, NOON + timedelta(seconds=2))
    assert (total.attempts, total.successes, total.outage_seconds, total.errors) == (20, 18, 2.5, {"55000": 3})


def test_it_measures_for_so_many_seconds(project: Project) -> None:
    """And answers with the total."""
    answer = project.run("probe", "--environment", "staging", "--seconds", "0.5", "--json")

    assert (answer.status, answer.document["environment"]) == (0, "staging")
    assert answer.document["successes"] > 0
    assert answer.document["errors"] == {}


def test_ctrl_c_ends_it_with_the_total(project: Project) -> None:
    """Stopping it is how it is used: no failure."""
    process = project.start("probe")
    assert process.stderr is not None
    while "Ctrl-C ends it" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    answer = ended(process)

    assert (answer.status, "attempts succeeded" in answer.out) == (0, True)


def test_a_database_that_is_not_there_is_told(project: Project) -> None:
    """With the server's own words."""
    write_settings(project.folder, staging=project.staging.target.with_database("nowhere").dsn)

    answer = project.run("probe", "--environment", "staging", "--seconds", "1")

    assert answer.status == 3
    assert 'database "nowhere" does not exist' in answer.err

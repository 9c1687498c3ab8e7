"""What is told of a deployment to several databases when it has ended."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from downtime import errors, phases
from downtime.catching_up import ReplayStaysPaused
from downtime.fleet.matrix import Matrix, Result, Row, State
from downtime.fleet.member import result_of
from downtime.fleet.report import FleetReport, canary_alone
from downtime.settings.sections import Budget
from tests.master.settings_for_tests import a_settings

APPLIED = phases.Report(phases=(), started_at=datetime(2024, 1, 1, tzinfo=UTC), outage_seconds=3.0, patch_seconds=2.0,
                        proof_seconds=0.0, applied=True, statements=(), kicked=(), drained=(), error=None)


def a_row(name: str, result: Result) -> Row:
    return Row(name=name, database=f"db:5432/{name}", result=result)


def test_a_standby_that_stays_paused_is_looked_after_whether_the_patch_is_in_or_not() -> None:
    """The database itself is open; only an operator, or the service that looks after it, ends the pause."""
    applied, rolled_back = (ReplayStaysPaused(listing="standby", left=left)
                            for left in (errors.Left.APPLIED, errors.Left.REOPENED))
    results = {"fine": result_of(APPLIED, Budget()), "applied": result_of(_with(applied), Budget()),
               "rolled_back": Result.failed(rolled_back),
               "failed": Result.failed(errors.Aborted(phase="kick", reason="stopped"))}
    report = FleetReport(patch="patch-1", canary=None, reports={}, matrix=Matrix(
        rows=tuple(a_row(name, result) for name, result in results.items())))

    assert [row.name for row in report.to_look_after] == ["applied", "rolled_back"]
    assert applied.advice in results["applied"].said


def test_others_that_had_no_turn_were_not_reached(tmp_path: Path) -> None:
    """A build that has ended right behind the canary has not deployed the patch."""
    settings = a_settings(tmp_path, environments={
        "staging": {"database": "postgresql://patcher@localhost:1/app"},
        "production": {"database": "postgresql://patcher@localhost:2/app", "fleet": {"databases": [
            {"name": "north", "database": "postgresql://patcher@localhost:3/app"}]}}})

    report = canary_alone("patch-1", APPLIED, settings)

    assert [(row.name, row.result.state) for row in report.matrix.rows] == [
        ("canary", State.DONE), ("north", State.NOT_REACHED)]
    assert not report.applied


def _with(error: errors.DowntimeError) -> phases.Report:
    return replace(APPLIED, error=error)

"""What the command line says beforehand of the time a patch will take, and afterwards of how that came true."""

from __future__ import annotations

from typing import Any

import pytest

from tests.downtime.commands.conftest import Answer, Project

SLEEPS = "-- apply: cold\nSELECT pg_sleep(0.1);\n"


def _apply(project: Project, patch: str, environment: str, *options: str) -> Answer:
    answer = project.run("apply", patch, "--environment", environment, "--yes", "--no-probe", *options)
    assert answer.status == 0, answer.err
    return answer


def _times(project: Project, patch: str) -> tuple[Any, ...]:
    """Taken, rehearsed and foretold, as production's ledger has them."""
    (row,) = project.production.admin_sql("SELECT seconds, rehearsed_seconds, forecast_seconds FROM fastdowntime.ledger"
                                          " WHERE id = %s", (patch,))
    return row


def test_production_is_foretold_from_staging_and_teaches_the_next_forecast(project: Project) -> None:
    """Said before anybody agrees, set against what came true, kept in the ledger; the factor shows in `status`."""
    project.land(patch_1=SLEEPS, patch_2=SLEEPS)
    rehearsal = _apply(project, "patch-1", "staging")
    first = _apply(project, "patch-1", "production")
    project.production.admin_sql("UPDATE fastdowntime.ledger SET seconds = 2 * rehearsed_seconds")
    _apply(project, "patch-2", "staging")
    second = _apply(project, "patch-2", "production", "--json")
    text, document = project.run("status"), project.run("status", "--json").document
    staging, production = document["environments"]

    assert "forecast" not in rehearsal.out + rehearsal.err
    assert "forecast: 0.1" in first.err
    assert ", took 0.1" in first.out
    taken, rehearsed, foretold = _times(project, "patch-2")
    assert 0.1 <= rehearsed < 5
    assert foretold == second.document["forecast_seconds"] == pytest.approx(2 * rehearsed)
    assert 0.1 <= taken < 5
    assert "× 2.00, learnt from 1 patch)" in second.err
    assert production["learnt"]["patches"] == 2
    assert "learnt" not in staging
    assert text.out.count("a forecast is what staging has measured × ") == 1


def test_a_forecast_that_is_not_to_be_had_keeps_nobody_waiting(project: Project) -> None:
    """A patch that staging has not run, and a staging that has no ledger."""
    project.land(patch_1=SLEEPS, patch_2=SLEEPS)
    unknown = _apply(project, "patch-1", "production")
    project.staging.admin_sql("DROP SCHEMA fastdowntime CASCADE")
    unasked = _apply(project, "patch-2", "production")

    assert "forecast" not in unknown.out + unknown.err
    assert "how long it will take is not known: " in unasked.err
    assert [_times(project, patch)[1:] for patch in ("patch-1", "patch-2")] == [(None, None), (None, None)]

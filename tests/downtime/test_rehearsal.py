"""A patch rehearsed on staging: what it leaves, what its evidence says, and what it asks production."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from downtime import errors, preflight, settings
from downtime.evidence import Evidence
from downtime.footprints import LockMode
from downtime.live import MeasuredCold
from downtime.opinions import LintRefused
from downtime.patches import Lane
from downtime.rehearsal import Rehearsal, Rehearsing
from tests.builders import a_deployment, no_objections, until
from tests.databases import Database, MakeDatabase
from tests.downtime.commands.conftest import write_settings

COLUMN = "ALTER TABLE account ADD COLUMN note text;"
INDEX = "CREATE INDEX account_name ON account (name);"
CONCURRENT = "CREATE INDEX CONCURRENTLY account_name ON account (name);"
NO_TIME = {"moment_seconds": 0.000001}  # what blocks clients for any time at all is cold

NOWHERE = "postgresql://patcher@localhost:1/app"


class Stage:
    """A staging and a production database with settings of their own."""

    def __init__(self, folder: Path, staging: Database, production: Database) -> None:
        self.folder = folder
        self.staging = staging
        self.production = production

    def rehearsing(self, sql: str, *, lane: Lane = Lane.COLD, production: str = "", keep: bool = True,
                   repeat: int | None = None, lines: list[str] | None = None, **sections: Any) -> Rehearsing:
        write_settings(self.folder, staging=self.staging.target.dsn,
                       production=production or self.production.target.dsn, **sections)
        return Rehearsing(settings.load(self.folder / "settings.yaml", {}), a_deployment(sql=sql, lane=lane),
                          progress=(lines if lines is not None else []).append, keep=keep, repeat=repeat)

    async def rehearse(self, sql: str, *, reasons: Sequence[str] = (), signed_off: str = "", **keywords: Any
                       ) -> Rehearsal:
        return await self.rehearsing(sql, **keywords).run(no_objections, reasons=reasons, signed_off=signed_off)

    async def evidence(self, sql: str, **keywords: Any) -> Evidence:
        return (await self.rehearse(sql, **keywords)).evidence

    @property
    def columns(self) -> list[str]:
        return [name for (name,) in self.staging.admin_sql(
            "SELECT attname::text FROM pg_attribute WHERE attrelid = 'account'::regclass AND attnum > 0 ORDER BY 1")]

    @property
    def recorded(self) -> list[Any]:
        return [patch for (patch,) in self.staging.admin_sql("SELECT id FROM fastdowntime.ledger")]


@pytest.fixture
def stage(tmp_path: Path, database: Database, make_database: MakeDatabase) -> Stage:
    return Stage(tmp_path, database, make_database(database.server))


async def test_a_cold_patch_is_measured_statement_by_statement(each_database: Database, make_database: MakeDatabase,
                                                               tmp_path: Path) -> None:
    """On every server: its locks, what it has written, and the phases of its downtime; and it stays."""
    stage = Stage(tmp_path, each_database, make_database(each_database.server))
    evidence = await stage.evidence(f"{COLUMN}\nUPDATE account SET note = name;\n{INDEX}")
    alter, update, index = (each.footprint for each in evidence.statements)

    assert alter is not None
    assert update is not None
    assert index is not None
    assert (LockMode.ACCESS_EXCLUSIVE, "public.account") in [(lock.mode, lock.relation) for lock in alter.locks]
    assert update.rows_changed == evidence.statements[1].rows == stage.staging.admin_sql(
        "SELECT count(*) FROM account")[0][0]
    assert "public.account" in [scan.relation for scan in index.scans if scan.whole]
    assert [phase.phase for phase in evidence.runs[0].phases][3:] == ["apply patch", "allow connections"]
    assert (evidence.server_version // 10_000, evidence.measured, stage.recorded) == (
        each_database.server.installation.version, True, ["patch-1"])


async def test_what_only_a_rehearsal_does_is_in_no_figure(stage: Stage) -> None:
    """Neither measuring nor the gate's self-test: production does neither."""
    rehearsed = await stage.rehearse(COLUMN)
    run, report = rehearsed.evidence.runs[0], rehearsed.outage

    assert report is not None
    assert report.measuring_seconds > 0
    assert run.outage_seconds == pytest.approx(
        report.outage_seconds - report.proof_seconds - report.measuring_seconds)
    print(f"outage {run.outage_seconds:.4f} s, measuring {report.measuring_seconds:.4f} s")
    assert 0 <= sum(phase.seconds for phase in run.phases) <= run.outage_seconds * 1.05 + 0.001
    assert all(phase.seconds >= 0 for phase in run.phases)


async def test_all_runs_but_the_last_are_rolled_back_and_the_slowest_counts(stage: Stage) -> None:
    """The first one is marked: what it read was perhaps not in memory."""
    lines: list[str] = []
    evidence = await stage.evidence(f"{COLUMN}\n{INDEX}", repeat=3, lines=lines)

    assert [(run.kept, run.cold) for run in evidence.runs] == [(False, True), (False, False), (True, False)]
    assert evidence.seconds == max(run.seconds for run in evidence.runs)
    assert sum(each.seconds for each in evidence.statements) <= evidence.seconds
    assert (stage.recorded, "note" in stage.columns) == (["patch-1"], True)
    assert [line for line in lines if line.startswith("run ")] == [
        "run 1 of 3, to be rolled back", "run 2 of 3, to be rolled back", "run 3 of 3"]


async def test_a_rehearsal_that_is_rolled_back_leaves_nothing_after_several_runs(stage: Stage) -> None:
    """As often as the settings say, none of them kept."""
    evidence = await stage.evidence(COLUMN, keep=False, rehearsal={"repeat": 2})

    assert [run.kept for run in evidence.runs] == [False, False]
    assert (stage.recorded, "note" in stage.columns) == ([], False)


async def test_what_cannot_be_rolled_back_runs_once_and_says_so(stage: Stage) -> None:
    """A build on the concurrent way takes no second one; the settings are for all patches."""
    evidence = await stage.evidence(f"{COLUMN}\n{CONCURRENT}", lane=Lane.LIVE, rehearsal={"repeat": 3})

    assert len(evidence.runs) == 1
    assert ("It was run once, not 3 times: CREATE INDEX CONCURRENTLY in line 2 cannot be rolled back."
            in evidence.remarks)


async def test_a_live_patch_is_repeated_too(stage: Stage) -> None:
    """In a transaction each, rolled back; the last one is the live application, and stays."""
    evidence = await stage.evidence(COLUMN, lane=Lane.LIVE, repeat=2)

    assert [(run.kept, run.cold) for run in evidence.runs] == [(False, True), (True, False)]
    assert (evidence.lane_advice, stage.recorded) == ("Declared live, and measured live-safe.", ["patch-1"])


async def test_a_patch_out_of_turn_is_not_tried_out(stage: Stage) -> None:
    """Not even to be rolled back."""
    rehearsing = stage.rehearsing("SELECT pg_sleep(30);", lane=Lane.LIVE, repeat=2)
    with pytest.raises(preflight.PreflightRefused, match="patch-0 comes first"):
        await rehearsing.run(lambda entries: ["patch-0 comes first."])


async def test_declared_live_and_measured_cold_is_refused_with_statement_and_lock(stage: Stage) -> None:
    """Nothing of it is left on staging."""
    with pytest.raises(MeasuredCold, match=r"line 2: .*CREATE INDEX.*SHARE.*public\.account"):
        await stage.rehearse(f"{COLUMN}\n{INDEX}", lane=Lane.LIVE, live=NO_TIME)

    assert (stage.recorded, "note" in stage.columns) == ([], False)


async def test_declared_cold_and_measured_live_safe_is_told_what_that_would_save(stage: Stage) -> None:
    """Allowed all the same; with less patience for locks it is cold, with line and lock."""
    safe = await stage.evidence(COLUMN, keep=False)
    cold = await stage.evidence(COLUMN, keep=False, live=NO_TIME)

    assert f"`-- apply: live` would save an outage of {safe.outage_seconds:.3f} s" in safe.lane_advice
    assert "measured cold: it needs the database to itself" in cold.lane_advice
    assert "line 1: ALTER TABLE, holding ACCESS EXCLUSIVE on table public.account" in cold.lane_obstacles[0]


async def test_what_the_linter_refuses_is_not_run(stage: Stage) -> None:
    """It names file, line and rule, and how to give a reason; a reason in the file is shown to the approver."""
    drop = "DROP TABLE upload;"
    with pytest.raises(LintRefused, match=r"db/patch-1\.sql, line 1: .*ban-drop-table.*`-- waive ban-drop-table: "):
        await stage.rehearse(drop, lint={"block": ["ban-drop-table"]})
    waived = await stage.evidence(f"-- waive ban-drop-table: nobody reads it\n{drop}", keep=False,
                                  lint={"block": ["ban-drop-table"]})

    assert stage.staging.admin_sql("SELECT to_regclass('upload') IS NOT NULL") == [(True,)]
    assert [(each.rule, each.waived) for each in waived.findings if each.rule == "ban-drop-table"] == [
        ("ban-drop-table", "nobody reads it")]


async def test_who_signs_a_patch_off_for_staging_overrules_the_linter(stage: Stage) -> None:
    """And the next one to decide reads it among the reasons for a sign-off."""
    evidence = await stage.evidence("DROP TABLE upload;", keep=False, reasons=("mixed landing",),
                                    signed_off="signed off by an architect", lint={"block": ["ban-drop-table"]})

    assert evidence.signoff_reasons == (
        "mixed landing", "the linter refuses the patch: ban-drop-table (signed off by an architect)")


async def test_production_that_cannot_be_asked_is_a_sentence(stage: Stage) -> None:
    """And a reason for a sign-off only where the settings want staging to be like it."""
    told = await stage.evidence(COLUMN, keep=False, production=NOWHERE)
    wanted = await stage.evidence(COLUMN, keep=False, production=NOWHERE, rehearsal={"unlike": "signoff"})

    assert (told.likeness, told.factor, told.signoff_reasons) == (None, 1.0, ())
    assert [remark.partition(":")[0] for remark in told.remarks] == [
        "Whether staging is like production is not known", "How long production needs beside staging is not known"]
    assert wanted.signoff_reasons == ("whether staging is like production is not known",)


async def test_a_table_that_is_smaller_on_staging_speaks_against_it(stage: Stage) -> None:
    """The patch touches it, so the approver sees it; the settings may want a sign-off."""
    stage.production.admin_sql("INSERT INTO account (name) SELECT repeat('x', 100) FROM generate_series(1, 30000);"
                               " ANALYZE account")
    told = await stage.evidence(COLUMN, keep=False)
    wanted = await stage.evidence(COLUMN, keep=False, rehearsal={"unlike": "signoff"})

    assert told.likeness is not None
    assert any("public.account is smaller on staging" in sentence for sentence in told.likeness.differences)
    assert (told.needs_signoff, wanted.needs_signoff) == (False, True)
    assert "public.account is smaller on staging" in wanted.signoff_reasons[0]


async def test_what_production_needed_before_is_in_the_forecast(stage: Stage) -> None:
    """A patch that took twice as long there as here teaches that the next one does, too."""
    stage.production.admin_sql(
        "INSERT INTO fastdowntime.ledger (id, sha256, lane, commit, started_at, seconds, build_url, requested_by,"
        " approved_by, rehearsed_seconds) VALUES ('patch-0', repeat('a', 64), 'cold', repeat('c', 40), now(), 2.0, '',"
        " '', '', 1.0)")
    evidence = await stage.evidence(COLUMN, keep=False)

    assert (evidence.factor, evidence.factor_patches) == (2.0, 1)
    assert evidence.expected_seconds == 2 * evidence.seconds


async def test_an_abort_ends_the_run_under_way_and_all_that_would_follow(stage: Stage) -> None:
    """In whichever of them; nothing stays."""
    lines: list[str] = []
    rehearsing = stage.rehearsing(f"{COLUMN}\nSELECT pg_sleep(0.3);", repeat=20, lines=lines)
    running = Deferred.fromCoroutine(rehearsing.run(no_objections))
    await until(lambda: any("run 2 of 20" in line for line in lines), "the second run")
    rehearsing.abort("stopped")
    with pytest.raises(errors.Aborted, match="stopped") as caught:
        await running

    assert not any("run 4 of 20" in line for line in lines)
    assert caught.value.left in (errors.Left.REOPENED, errors.Left.UNTOUCHED)
    assert (stage.recorded, "note" in stage.columns) == ([], False)


async def test_an_abort_before_the_first_run_is_not_lost(stage: Stage) -> None:
    """Somebody pressed Stop while the linter was at work."""
    rehearsing = stage.rehearsing(COLUMN)
    rehearsing.abort("stopped")
    with pytest.raises(errors.Aborted, match="stopped") as caught:
        await rehearsing.run(no_objections)

    assert (caught.value.left, stage.recorded) == (errors.Left.UNTOUCHED, [])

"""`python -m downtime rehearse --rollback --database CONNECTION FILE.sql`: without Buildbot, repository or ledger."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from demo import application
from demo.servers import Server
from tests.databases import Database, MakeDatabase
from tests.downtime.commands.conftest import ROOT, Answer, ended, write_settings

COLUMN = "ALTER TABLE account ADD COLUMN note text;\nUPDATE account SET note = name;\n"


@pytest.fixture
def bare(server: Server, make_database: MakeDatabase) -> Database:
    """A database that has never heard of us."""
    return make_database(server, gate=None)


def try_out(folder: Path, database: Database, sql: str, *options: str, settings: Path | None = None,
            connection: str = "") -> Answer:
    """The command as somebody types it whose password is where libpq looks for it."""
    file = folder / "change.sql"
    file.write_text(sql)
    environ = {**os.environ, "PGPASSWORD": application.password_of(application.PATCHER)}
    environ.pop("FASTDOWNTIME_SETTINGS", None)
    given = ["--settings", str(settings)] if settings else []
    return ended(subprocess.Popen(
        [sys.executable, "-m", "downtime", *given, "rehearse", *options, "--database",
         connection or database.target.dsn, str(file)],
        cwd=ROOT, env=environ, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE))


def columns(database: Database) -> list[str]:
    return [name for (name,) in database.admin_sql(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = 'account'::regclass AND attnum > 0")]


def test_a_file_is_measured_and_nothing_is_left(bare: Database, tmp_path: Path) -> None:
    """Evidence as on staging, but for the downtime; no settings file is needed."""
    answer = try_out(tmp_path, bare, COLUMN, "--rollback")

    assert answer.status == 0, answer.err
    assert "change (cold) took" in answer.out
    assert "! ACCESS EXCLUSIVE on table public.account" in answer.out
    assert "Rolled back: nothing is left behind." in answer.out
    assert ("note" in columns(bare), bare.admin_sql("SELECT to_regnamespace('fastdowntime')")) == (False, [(None,)])


def test_the_document_is_the_one_of_a_rehearsal(bare: Database, tmp_path: Path) -> None:
    """With verdict and digest; one run, rolled back, that stopped nobody."""
    answer = try_out(tmp_path, bare, COLUMN, "--rollback", "--json")
    (evidence,) = answer.document["rehearsed"]

    assert (answer.document["rolled_back"], evidence["verdict"], len(evidence["digest"])) == (True, "within target", 64)
    assert [(run["kept"], run["outage_seconds"]) for run in evidence["runs"]] == [(False, 0.0)]
    assert evidence["statements"][1]["footprint"]["changes"] == [
        {"relation": "public.account", "inserted": 0, "updated": 10, "deleted": 0}]


def test_a_file_that_fails_names_its_line(bare: Database, tmp_path: Path) -> None:
    """As a patch does."""
    answer = try_out(tmp_path, bare, f"{COLUMN}SELECT 1 / 0;", "--rollback")

    assert answer.status == 3
    assert "change.sql, line 3: division by zero" in answer.err


def test_a_file_without_a_statement_is_refused(bare: Database, tmp_path: Path) -> None:
    """What staging would refuse is refused here too, with the same words."""
    answer = try_out(tmp_path, bare, "-- nothing yet\n", "--rollback")

    assert answer.status == 1
    assert "change.sql has no statement: it is empty or all comments." in answer.err


def test_what_would_leave_something_behind_is_refused(bare: Database, tmp_path: Path) -> None:
    """Before the first statement has run."""
    sql = f"-- apply: live\n{COLUMN}CREATE INDEX CONCURRENTLY i ON account (name);"
    answer = try_out(tmp_path, bare, sql, "--rollback")

    assert answer.status == 1
    assert "change.sql, line 4: CREATE INDEX CONCURRENTLY cannot run inside a transaction" in answer.err


def test_without_rollback_it_is_wrong_usage(bare: Database, tmp_path: Path) -> None:
    """Nobody may believe that the patch is applied there."""
    answer = try_out(tmp_path, bare, COLUMN)

    assert answer.status == 2
    assert "--database goes with --rollback" in answer.err


def test_the_connection_has_to_be_one(bare: Database, tmp_path: Path) -> None:
    """A typing error is not repeated: there may be a password in it."""
    answer = try_out(tmp_path, bare, COLUMN, "--rollback", connection="postgresql//patcher:hidden@localhost/app")

    assert answer.status == 2
    assert "hidden" not in answer.err


def test_settings_that_are_there_are_used(bare: Database, tmp_path: Path) -> None:
    """The budget, for one; and production of these settings is not tried out on."""
    write_settings(tmp_path, budget={"target_seconds": 0.000001, "limit_seconds": 0.000001})
    slow = try_out(tmp_path, bare, COLUMN, "--rollback", "--json", settings=tmp_path / "settings.yaml")
    write_settings(tmp_path, production=bare.target.dsn)
    production = try_out(tmp_path, bare, COLUMN, "--rollback", settings=tmp_path / "settings.yaml")

    assert slow.document["rehearsed"][0]["needs_signoff"]
    assert production.status == 1
    assert "is environments.production of the settings" in production.err

"""`python -m downtime apply`."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from time import monotonic, sleep

import psycopg2
import pytest

from tests.databases import Database
from tests.downtime.commands.conftest import DEADLINE_SECONDS, ROOT, Project, ended

COLD = "-- apply: cold\nALTER TABLE account ADD COLUMN note text;\n"
LIVE = "-- apply: live\nCREATE INDEX CONCURRENTLY account_name ON account (name);\n"
SLOW = "-- apply: cold\nSELECT pg_sleep(600);\n"


def _ledger(database: Database) -> list[tuple[str, ...]]:
    return database.admin_sql("SELECT id, lane, requested_by, approved_by FROM fastdowntime.ledger ORDER BY id")


def _is_sleeping(cursor: psycopg2.extensions.cursor) -> bool:
    cursor.execute("SELECT FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%'"
                   " AND state = 'active' AND pid <> pg_backend_pid()")
    return cursor.rowcount > 0


def _poll(condition: Callable[[], object]) -> None:
    """Await what another process does."""
    deadline = monotonic() + DEADLINE_SECONDS
    while not condition():
        assert monotonic() < deadline, "it has not come about"
        sleep(0.02)


def test_a_cold_patch_is_applied_and_the_outage_measured_from_both_sides(project: Project) -> None:
    """Clients are kicked and named, the ledger knows who asked, and JSON has what a client saw."""
    project.land(patch_1=COLD, patch_2="SELECT 1;")
    client = project.production.connect("app", application_name="shop")

    answer = project.run("apply", "patch-1", "--yes", "--json", "--requested-by", "operator", "--approved-by",
                         "approver")
    document = answer.document

    assert (answer.status, document["applied"]) == (0, True)
    assert [phase["state"] for phase in document["phases"]] == ["done"] * 5
    assert "shop" in [session["application"] for session in document["kicked"]]
    assert document["client"]["successes"] > 0
    assert 0 < document["outage_seconds"] < 5
    assert _ledger(project.production) == [("patch-1", "cold", "operator", "approver")]
    client.close()

    text = project.run("apply", "patch-2", "--yes", "--no-probe")

    assert text.status == 0
    assert "as a client saw it" not in text.out
    assert all(words in text.out for words in ("prevent connections", "allow connections", "outage: "))


def test_without_a_terminal_nothing_happens_unless_yes_was_said(project: Project) -> None:
    """What would have been done is named: gate, kick and fragile users. A patch nobody knows is never asked about."""
    project.land(patch_1=COLD)

    answer, unknown = project.run("apply", "patch-1"), project.run("apply", "patch-9", "--yes")

    assert answer.status == 1
    assert all(words in answer.err for words in ("gate hold", "kick all", "process_upload", "--yes"))
    assert unknown.status == 1
    assert "patch-9 is no patch of commit" in unknown.err
    assert _ledger(project.production) == []


@pytest.mark.parametrize(("typed", "status"), [("\x03", 1), ("y\n", 0)])
def test_at_a_terminal_it_asks(project: Project, typed: str, status: int) -> None:
    """Only y goes on; Ctrl-C is a no."""
    project.land(patch_1=COLD)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "import fcntl, runpy, sys, termios\n"
         "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\nrunpy.run_module('downtime', run_name='__main__', alter_sys=True)",
         "--settings", str(project.folder / "settings.yaml"), "apply", "patch-1", "--no-probe"],
        cwd=ROOT, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    os.close(theirs)
    assert process.stderr is not None
    said = ""
    while "[y/N]" not in said:
        said += process.stderr.read(1)
    os.write(ours, typed.encode())
    answer = ended(process)
    os.close(ours)

    assert "Apply patch-1 to production" in said
    assert answer.status == status, answer.err
    assert len(_ledger(project.production)) == (status == 0)


def test_a_live_patch_is_applied_without_an_outage(project: Project) -> None:
    """A client in the middle of a transaction is not disturbed."""
    project.land(patch_1=LIVE)
    client = project.production.connect("app")
    client.cursor().execute("SELECT 1")

    answer = project.run("apply", "patch-1", "--yes", "--json")

    assert (answer.status, answer.document["applied"]) == (0, True)
    assert "outage_seconds" not in answer.document
    client.cursor().execute("SELECT 1")


def test_a_failing_patch_exits_with_3_and_leaves_the_database_open(project: Project) -> None:
    """File and line are named, the timeline is told, nothing of the patch stays."""
    project.land(patch_1=COLD + "\nALTER TABLE nothing ADD COLUMN a int;\n")

    answer = project.run("apply", "patch-1", "--yes", "--json", "--no-probe")
    document = answer.document

    assert (answer.status, document["applied"]) == (3, False)
    assert (document["error"]["kind"], document["error"]["left"]) == ("PatchFailed", "reopened")
    assert "patch-1.sql, line 4" in answer.err
    assert _ledger(project.production) == []
    project.production.connect("app")


def test_a_fragile_user_in_a_transaction_and_a_wrong_turn_refuse(project: Project) -> None:
    """Before anything is closed; both reasons at once, exit status 1."""
    project.land(patch_1=COLD, patch_2="SELECT 1;")
    upload = project.production.connect("process_upload")
    upload.cursor().execute("SELECT 1")

    answer = project.run("apply", "patch-2", "--yes", "--no-probe")

    assert answer.status == 1
    assert "a fragile user is in the middle of a transaction" in answer.err
    assert "patch-1 must be applied before patch-2" in answer.err
    assert "The database was left untouched." in answer.err


def test_an_interrupted_outage_is_awaited_until_the_database_is_open(project: Project) -> None:
    """Ctrl-C aborts and tells what is awaited; exit status 3, nothing applied."""
    project.land(patch_1=SLOW)
    with closing(psycopg2.connect(project.production.server.superuser_dsn())) as connection:
        connection.autocommit = True
        watcher = connection.cursor()  # it was there before: while the patch runs no new session gets in
        process = project.start("apply", "patch-1", "--yes", "--no-probe")
        _poll(lambda: _is_sleeping(watcher))
    process.send_signal(signal.SIGINT)
    answer = ended(process)

    assert answer.status == 3
    assert "interrupted; waiting for the database to open" in answer.err
    assert "aborted in the phase “apply patch”: interrupted" in answer.err
    assert "The database was left reopened." in answer.err
    assert _ledger(project.production) == []
    project.production.connect("app")


def test_a_reader_that_went_away_does_not_end_a_deployment(project: Project) -> None:
    """`| head` and a closed terminal cost the words, not the patch."""
    project.land(patch_1=COLD)
    process = project.start("apply", "patch-1", "--yes", "--no-probe")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stderr.close()
    status = process.wait(timeout=DEADLINE_SECONDS)

    assert status == 0
    assert [row[0] for row in _ledger(project.production)] == ["patch-1"]

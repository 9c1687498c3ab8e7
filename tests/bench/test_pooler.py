"""The benchmark behind PgBouncer: what it says of its goals, and that its peer leaves a pooler as it was."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import psycopg2
import pytest

from bench.callers import Callers
from bench.contenders import PEERS
from bench.figures import number
from bench.front import Seen
from bench.pooler import GOAL_MS, NotTold, Outing, PoolerPaused, counted, text, verdicts
from demo import application
from demo.pgbouncer import PgBouncer
from demo.processes import without_postgres_variables
from demo.servers import LOOPBACK, SUPERUSER
from tests.builders import until
from tests.databases import Database

OURS = PoolerPaused(gate="hold", kick="all", poolers=())


def an_outing(*longest_call_seconds: float, contender: object = OURS, errors: dict[str, int] | None = None) -> Outing:
    return Outing(contender=contender, sleeps_seconds=2.0, patch_seconds=2.0,
                  seen=[Seen(errors=Counter(errors or {}), longest_call_seconds=each) for each in longest_call_seconds])


def test_the_patch_is_no_part_of_the_longest_call() -> None:
    """A goal is about what the deployment adds."""
    assert [round(each) for each in an_outing(2.05, 2.09).beyond_ms] == [50, 90]


@pytest.mark.parametrize(("outing", "met"), [
    (an_outing(2.05, 2.09, 2.3), [True, True]), (an_outing(2.05, 2.12, 2.3), [True, False]),
    (an_outing(2.05, errors={"08006": 1}), [False, True])])
def test_a_single_error_misses_the_goal_and_so_does_a_long_call(outing: Outing, met: list[bool]) -> None:
    """Errors are counted in all rounds, calls judged by their median."""
    assert [each.met for each in verdicts([outing])] == met
    assert list(verdicts([outing]))[1].limit == GOAL_MS


def test_goals_are_for_those_that_know_of_the_pooler() -> None:
    """What the others cost is in the table."""
    assert list(verdicts([an_outing(9.0, contender=NotTold(gate="hold", kick="all"))])) == []


def test_the_table_has_every_rounds_worst() -> None:
    """A median alone would hide the one call that took long."""
    outing = an_outing(2.05, 2.06, 2.9, errors={"57P01": 400})
    (row,) = [line for line in text([outing], Seen(), clients=500, direct=20).splitlines() if OURS.name in line]

    assert f"| {number(max(outing.beyond_ms))} |" in row
    assert "1,200 × 57P01" in row


def test_no_error_is_said_in_a_word() -> None:
    """A nought is read past."""
    assert counted({}) == "none"


@pytest.mark.parametrize(("patch", "status"), [("CREATE TABLE made ()", 0), ("SELECT 1 / 0", 3)])
def test_the_peer_lets_clients_in_again_whatever_becomes_of_its_patch(
        pooler: PgBouncer, database: Database, tmp_path: Path, patch: str, status: int) -> None:
    """Else every contender after it would be measured at a pooler that is shut."""
    server = database.server
    passwords, file = tmp_path / "pgpass", tmp_path / "patch.sql"
    passwords.touch(mode=0o600)
    passwords.write_text(f"*:{server.port}:*:*:{server.superuser_password}\n*:{pooler.port}:*:*:{pooler.password_of()}\n")
    file.write_text(patch)
    done = subprocess.run(
        ["sh", PEERS / "pgbouncer_disable.sh", database.name, file, pooler.console_dsn()], check=False,
        capture_output=True, text=True, env=without_postgres_variables(
            PGHOST=LOOPBACK, PGPORT=str(server.port), PGUSER=SUPERUSER, PGPASSFILE=str(passwords)))
    (row,) = [row for row in pooler.admin("SHOW DATABASES") if row["name"] == database.name]

    assert (done.returncode, row["paused"], row["disabled"]) == (status, 0, 0), done.stderr
    psycopg2.connect(pooler.dsn(user=application.APPLICATION, database=database.name)).close()


async def test_a_call_without_an_answer_is_seen_while_it_waits(database: Database) -> None:
    """A contender is not done with before its last client has come back."""
    holder = database.connect("patcher")
    holder.autocommit = False
    holder.cursor().execute("LOCK TABLE account IN ACCESS EXCLUSIVE MODE")
    callers = Callers(database.server.dsn(user=application.APPLICATION, database=database.name,
                                          password=application.password_of(application.APPLICATION)), kept=1)
    try:
        await until(lambda: callers.seen().waiting_seconds > 0.1, "its call has waited")
        holder.rollback()
        await until(lambda: (seen := callers.seen()).longest_call_seconds > 0.1 and seen.waiting_seconds < 0.1,
                    "it has its answer")
    finally:
        callers.end()
        holder.close()

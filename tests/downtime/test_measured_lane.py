"""What is to be applied live and keeps clients waiting is refused by the rehearsal, before it counts."""

from __future__ import annotations

import pytest

from downtime import errors
from downtime.live import LivePatchFailed, MeasuredCold
from downtime.measured_lane import advice
from downtime.settings.sections import Live
from downtime.statements import split
from tests.databases import Database
from tests.downtime.live import INDEX, apply, recorded

REWRITE = "ALTER TABLE account ALTER COLUMN balance TYPE numeric;"
COLUMNS = "SELECT attname::text FROM pg_attribute WHERE attrelid = 'account'::regclass AND attnum > 0"


def journalled(database: Database) -> list[tuple[object, ...]]:
    return database.admin_sql("SELECT statement FROM fastdowntime.live_journal")


async def test_nothing_is_left_of_a_patch_that_is_found_cold_when_tried_out(each_database: Database) -> None:
    """On every server: line, kind, table, lock and seconds are named, and the lane to declare.

    The lock named is the first that this statement took anew: that on the table is held since line 1.
    """
    sql = f"ALTER TABLE account ADD COLUMN note text;\n{REWRITE}"
    with pytest.raises(MeasuredCold, match=r"patch-1\.sql .*line 2: ALTER TABLE gives public\.account .*"
                                           r"ACCESS EXCLUSIVE on index public\.account_pkey for \d") as caught:
        await apply(each_database, sql, measure=True)

    assert (caught.value.left, caught.value.exit_status) == (errors.Left.UNTOUCHED, errors.ExitStatus.REFUSED)
    assert caught.value.advice == "declare the file `-- apply: cold`"
    assert ("note",) not in each_database.admin_sql(COLUMNS)
    assert (journalled(each_database), recorded(each_database)) == ([], [])


async def test_what_no_trial_could_see_is_refused_before_its_commit(each_database: Database) -> None:
    """Behind a statement that cannot run in a transaction; what is in stays, and the line to split at is told."""
    with pytest.raises(MeasuredCold, match=r"line 2: ALTER TABLE gives .*; 1 of 2 statements are in") as caught:
        await apply(each_database, f"{INDEX}\n{REWRITE}", measure=True)

    assert caught.value.left is errors.Left.OPEN
    assert caught.value.advice == "split the file before line 2 and declare the second part `-- apply: cold`"
    assert each_database.admin_sql("SELECT atttypid::regtype::text FROM pg_attribute WHERE attrelid ="
                                   " 'account'::regclass AND attname = 'balance'") == [("bigint",)]
    assert (journalled(each_database), recorded(each_database)) == ([(1,)], [])


async def test_a_live_patch_is_measured_and_its_figures_are_without_that(each_database: Database) -> None:
    """Every statement has its footprint, those outside transactions too."""
    report = await apply(each_database, f"ALTER TABLE account ADD COLUMN note text;\n{INDEX}", measure=True)
    print(f"{report.seconds:.3f} s, measuring {report.measuring_seconds:.3f} s")

    assert [each.footprint is not None for each in report.statements] == [True, True]
    assert report.measuring_seconds > 0
    assert recorded(each_database) == [("patch-1", "live")]


async def test_what_works_live_but_not_in_one_transaction_is_no_obstacle(database: Database) -> None:
    """A new value of an enum may not be used in the transaction that adds it: the trial ends there without a word."""
    database.admin_sql("SET ROLE patcher; CREATE TYPE mood AS ENUM ('ok')")
    report = await apply(database, "ALTER TYPE mood ADD VALUE 'better';\nSELECT 'better'::mood;", measure=True)

    assert (len(report.statements), recorded(database)) == (2, [("patch-1", "live")])


async def test_a_lock_held_for_longer_than_a_moment_is_cold(database: Database) -> None:
    """It rewrites nothing, and clients wait all the same."""
    with pytest.raises(MeasuredCold, match=r"a moment is 0\.02 s"):
        await apply(database, "DO $$ BEGIN LOCK TABLE account; PERFORM pg_sleep(0.1); END $$;", measure=True,
                    rules=Live(moment_seconds=0.02))


async def test_a_resumed_patch_is_tried_out_without_what_is_in(database: Database) -> None:
    """What the first run has finished would fail, and nothing behind it would be looked at."""
    sql = f"ALTER TABLE account ADD COLUMN note text;\nINSERT INTO later VALUES (1);\n{REWRITE}"
    with pytest.raises(LivePatchFailed):
        await apply(database, sql, measure=True)
    database.admin_sql("SET ROLE patcher; CREATE TABLE later (id int)")
    with pytest.raises(MeasuredCold, match="line 3") as caught:
        await apply(database, sql, measure=True)

    assert database.admin_sql("SELECT count(*) FROM later") == [(0,)]
    assert "1 of 3 statements are in" in str(caught.value)


@pytest.mark.parametrize(("sql", "cold", "finished", "told"), [
    (["SELECT 1;", "SELECT 2;"], {1}, 0, "declare the file `-- apply: cold`"),
    (["SELECT 1;", "SELECT 2;"], {1}, 1, "split the file before line 2 and declare the second part `-- apply: cold`"),
    (["SELECT 1;", INDEX], {0}, 0, "split the file before line 2 and declare the first part `-- apply: cold`"),
    ([INDEX, "SELECT 1;", INDEX], {1}, 1,
     "split the file before line 2 and again before line 3, and declare the part between `-- apply: cold`"),
])
def test_the_advice_keeps_live_what_has_to_be_live(sql: list[str], cold: set[int], finished: int, told: str) -> None:
    """What cannot run in a transaction, and what was fine live."""
    statements = split("\n".join(sql))

    assert advice(statements, {statements[place].offset for place in cold}, finished=finished) == told

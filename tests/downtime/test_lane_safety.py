"""Which measured statements may run while clients work."""

from __future__ import annotations

import pytest

from downtime.apply import AppliedStatement
from downtime.footprints import Change, LockMode
from downtime.lane_safety import judge, obstacle, row_locks
from tests.downtime.measurements import a_lock, measured, unmeasured

MOMENT = 0.5
LONG = 2.0
BLOCKING = [mode for mode in LockMode if mode.blocks_clients]
HARMLESS = [mode for mode in LockMode if not mode.blocks_clients]


def alone(applied: AppliedStatement) -> str:
    return obstacle(applied, moment_seconds=MOMENT)


@pytest.mark.parametrize("mode", HARMLESS)
def test_a_lock_that_lets_clients_work_is_live_however_long_it_is_held(mode: LockMode) -> None:
    """SHARE UPDATE EXCLUSIVE and all weaker ones."""
    assert alone(measured("ANALYZE account", a_lock(mode), seconds=LONG)) == ""


@pytest.mark.parametrize("mode", BLOCKING)
def test_a_lock_that_makes_clients_wait_is_live_for_a_moment_only(mode: LockMode) -> None:
    """The sentence names line, statement, lock, relation and both times."""
    assert alone(measured("CREATE INDEX i ON account (id)", a_lock(mode), seconds=MOMENT)) == ""
    assert alone(measured("CREATE INDEX i ON account (id)", a_lock(mode), line=7, seconds=LONG)) == (
        f"line 7: CREATE INDEX, holding {mode} on table public.account for 2.000 s; a moment is 0.5 s at the most")


@pytest.mark.parametrize("kind", ["index", "sequence", "view", "partitioned table", "foreign table"])
def test_what_is_not_a_table_counts_like_one(kind: str) -> None:
    """Whoever reads through it waits as well."""
    assert "SHARE on" in alone(measured("SELECT 1", a_lock(LockMode.SHARE, kind=kind), seconds=LONG))


def test_what_the_patch_has_made_itself_keeps_nobody_waiting() -> None:
    """However long it is built."""
    assert alone(measured("CREATE TABLE t AS SELECT 1", a_lock(existing=False), seconds=LONG)) == ""


def test_a_materialized_view_may_be_locked_against_what_clients_never_do_to_it() -> None:
    """REFRESH CONCURRENTLY takes EXCLUSIVE, and reads go on; the plain one is another matter."""
    view = "materialized view"
    refresh = measured("REFRESH MATERIALIZED VIEW CONCURRENTLY v", a_lock(LockMode.EXCLUSIVE, kind=view), seconds=LONG)

    assert alone(refresh) == ""
    assert "ACCESS EXCLUSIVE on materialized view" in alone(
        measured("REFRESH MATERIALIZED VIEW v", a_lock(kind=view), seconds=LONG))


def test_a_weaker_lock_that_makes_clients_wait_is_not_hidden_by_a_stronger_one_that_does_not() -> None:
    """Beside EXCLUSIVE on a materialized view, SHARE on the table it reads."""
    both = a_lock(LockMode.EXCLUSIVE, "public.v", kind="materialized view"), a_lock(LockMode.SHARE)

    assert "SHARE on table public.account" in alone(measured("SELECT 1", *both, seconds=LONG))


def test_new_storage_is_never_live() -> None:
    """Also where it was a matter of milliseconds here: it grows with the table."""
    found = alone(measured("ALTER TABLE account ALTER id TYPE bigint", a_lock(), rewritten=("public.account",)))

    assert found == ("line 1: ALTER TABLE gives public.account new storage, holding ACCESS EXCLUSIVE on table "
                     "public.account for 0.001 s")


def test_truncate_is_judged_by_its_lock() -> None:
    """Its new storage is empty: it takes as long for any table."""
    assert alone(measured("TRUNCATE account", a_lock(), rewritten=("public.account",))) == ""
    assert alone(measured("TRUNCATE account", a_lock(), rewritten=("public.account",), seconds=LONG)) != ""


def test_what_was_not_measured_is_not_live() -> None:
    """Nobody concludes from a missing footprint that there were no locks."""
    assert alone(unmeasured("SELECT 1")) == "line 1: SELECT was not measured"


def test_a_documented_lock_is_held_at_the_end_alone() -> None:
    """DROP INDEX CONCURRENTLY works for as long as clients do, and takes its strongest lock when they have gone; a
    VACUUM FULL, which holds it all the while, stays cold.
    """
    index = a_lock(relation="public.i", kind="index", table="public.account")

    assert alone(measured("DROP INDEX CONCURRENTLY i", index, seconds=LONG, documented=True)) == ""
    assert alone(measured("VACUUM FULL account", a_lock(), seconds=LONG, documented=True)) != ""


def test_a_patch_is_judged_statement_by_statement() -> None:
    """All obstacles, in order; none where all are live."""
    quick, slow = measured("SELECT 1", a_lock()), measured("SELECT 2", a_lock(), line=2, seconds=LONG)

    assert judge([quick, quick], moment_seconds=MOMENT) == ()
    assert [each[:7] for each in judge([slow, quick, slow], moment_seconds=MOMENT)] == ["line 2:", "line 2:"]


def test_behind_a_strong_lock_a_long_statement_is_under_suspicion() -> None:
    """What the transaction holds already is not seen again, so it may need that lock itself."""
    patch = [measured("ALTER TABLE account ADD note text", a_lock()),
             measured("UPDATE account SET note = ''", a_lock(LockMode.ROW_EXCLUSIVE), line=2, seconds=LONG)]

    assert judge(patch, moment_seconds=MOMENT) == (
        "line 2: UPDATE took 2.000 s while the transaction held ACCESS EXCLUSIVE on table public.account since line 1; "
        "whether it needs that lock itself cannot be seen behind it",)
    assert judge(patch[1:], moment_seconds=MOMENT) == ()


def test_rows_that_stay_locked_for_long_are_told() -> None:
    """By its table locks an UPDATE of a million rows is live; who writes one of them waits all the same."""
    rows = (Change(relation="public.account", inserted=5, updated=1_000_000, deleted=0),)
    update = measured("UPDATE account SET id = 1", a_lock(LockMode.ROW_EXCLUSIVE), seconds=LONG, changes=rows)

    assert alone(update) == ""
    assert row_locks(update, moment_seconds=MOMENT) == "line 1: UPDATE keeps 1,000,000 rows locked for 2.000 s"
    assert row_locks(measured("UPDATE account SET id = 1", changes=rows), moment_seconds=MOMENT) == ""
    assert row_locks(measured("SELECT 1", seconds=LONG), moment_seconds=MOMENT) == ""


def test_statements_that_were_measured_together_are_judged_together() -> None:
    """Whichever of them took the lock has held it until the last had ended."""
    group = [measured("SELECT 1", seconds=0.3, statements=0),
             measured("SELECT 2", a_lock(), line=2, seconds=0.3, statements=2)]

    assert judge(group, moment_seconds=MOMENT) == (
        "line 2: SELECT, with the statement before it, holding ACCESS EXCLUSIVE on table public.account for 0.600 s; a "
        "moment is 0.5 s at the most",)
    assert judge(group, moment_seconds=1.0) == ()
    assert judge([measured("TRUNCATE account", statements=2, rewritten=("public.account",))], moment_seconds=MOMENT)

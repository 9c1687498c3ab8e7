"""Lock modes in PostgreSQL's words, and the footprint that two looks of a session make."""

from __future__ import annotations

import pytest

from downtime.footprints import Change, Footprint, Lock, LockMode, Scan, TableSize, strongest
from downtime.observations import Committed, Counts, Look, Relation, footprint

ACCOUNT = Relation(oid=20000, name="public.account", kind="table", storage=1, rows=100)
INDEX = Relation(oid=20001, name="public.account_pkey", kind="index", storage=2, table=20000)
KNOWN = {20000: ACCOUNT, 20001: INDEX}
NOTHING = Look(wal_bytes=0)


def between(before: Look, after: Look, committed: Committed = KNOWN, *, reads_all: bool = False) -> Footprint:
    return footprint(before, after, committed, reads_all=reads_all)


@pytest.mark.parametrize(("in_pg_locks", "mode"), [
    ("AccessShareLock", LockMode.ACCESS_SHARE), ("ShareUpdateExclusiveLock", LockMode.SHARE_UPDATE_EXCLUSIVE),
    ("AccessExclusiveLock", LockMode.ACCESS_EXCLUSIVE)])
def test_a_mode_is_read_as_pg_locks_has_it(in_pg_locks: str, mode: LockMode) -> None:
    """pg_locks speaks of source code, the documentation of SQL."""
    assert LockMode.of_pg_locks(in_pg_locks) is mode


def test_what_is_no_table_level_mode_is_not_taken_for_one() -> None:
    """Row locks and predicate locks have names of their own."""
    with pytest.raises(KeyError):
        LockMode.of_pg_locks("SIReadLock")


def test_clients_are_blocked_from_share_upwards() -> None:
    """Documentation, table 13.2: ROW EXCLUSIVE, which every write takes, conflicts with SHARE and what is stronger."""
    assert [mode for mode in LockMode if mode.blocks_clients] == [
        LockMode.SHARE, LockMode.SHARE_ROW_EXCLUSIVE, LockMode.EXCLUSIVE, LockMode.ACCESS_EXCLUSIVE]


def test_the_strongest_lock_is_one_on_what_was_there_before() -> None:
    """What the patch has made keeps nobody waiting."""
    weak = Lock(relation="public.account", mode=LockMode.SHARE, kind="table", existing=True)
    new = Lock(relation="public.added", mode=LockMode.ACCESS_EXCLUSIVE, kind="table", existing=False)

    assert strongest([new, weak]) == weak
    assert strongest([new]) is None


def test_a_mode_that_was_held_before_is_not_told_again() -> None:
    """The gate's lock, and those of earlier statements."""
    before = Look(wal_bytes=0, modes={20000: frozenset({LockMode.ACCESS_SHARE})}, relations={20000: ACCOUNT})
    after = Look(wal_bytes=0, relations=KNOWN, modes={
        20000: frozenset({LockMode.ACCESS_SHARE, LockMode.SHARE}), 20001: frozenset({LockMode.ACCESS_SHARE})})

    assert between(before, after).locks == (
        Lock(relation="public.account", mode=LockMode.SHARE, kind="table", existing=True),
        Lock(relation="public.account_pkey", mode=LockMode.ACCESS_SHARE, kind="index", existing=True,
             table="public.account"))


def test_new_storage_is_told_only_of_what_was_there_before() -> None:
    """A table that the patch has made is not rewritten when it is filled."""
    moved = Relation(oid=20000, name="public.account", kind="table", storage=9)
    made = Relation(oid=20002, name="public.made", kind="table", storage=8)
    made_before = Look(wal_bytes=0, relations={20002: Relation(oid=20002, name="public.made", kind="table", storage=7)})
    after = Look(wal_bytes=0, relations={20000: moved, 20002: made})

    assert between(made_before, after, {**KNOWN, 20002: None}).rewritten == ("public.account",)


def test_an_index_that_was_dropped_and_made_again_is_rebuilt() -> None:
    """ALTER TABLE … TYPE does so under the old name; where it keeps the storage nothing was built."""
    gone = frozenset({LockMode.ACCESS_EXCLUSIVE})

    def again(storage: int) -> Look:
        return Look(wal_bytes=0, modes={20001: gone, 20005: gone}, relations={
            20000: ACCOUNT, 20005: Relation(oid=20005, name=INDEX.name, kind="index", storage=storage, table=20000)})

    assert between(NOTHING, again(3), {**KNOWN, 20005: None}).rebuilt == ("public.account_pkey",)
    assert between(NOTHING, again(INDEX.storage), {**KNOWN, 20005: None}).rebuilt == ()


def test_counters_are_told_as_differences() -> None:
    """They go on counting through the transaction, and may still hold what earlier ones have counted."""
    before = Look(wal_bytes=100, counts={20000: Counts(scans=1, read=100, inserted=5)}, relations=KNOWN)
    after = Look(wal_bytes=350, counts={20000: Counts(scans=2, read=200, inserted=5, updated=30)}, relations=KNOWN,
                 sizes={20000: (8192, 16384)})

    assert between(before, after) == Footprint(
        wal_bytes=250, scans=(Scan(relation="public.account", rows=100, whole=True),),
        changes=(Change(relation="public.account", inserted=0, updated=30, deleted=0),),
        sizes=(TableSize(relation="public.account", table_bytes=8192, index_bytes=16384, rows=100),))


@pytest.mark.parametrize(("rows", "whole"), [(10, False), (95, True)])
def test_a_scan_that_may_stop_is_whole_when_it_has_read_what_there_is(rows: int, whole: bool) -> None:
    """A query with LIMIT reads a table row by row, too."""
    after = Look(wal_bytes=0, counts={20000: Counts(scans=1, read=rows)}, relations=KNOWN)

    assert between(NOTHING, after).scans == (Scan(relation="public.account", rows=rows, whole=whole),)


def test_a_truncated_counter_does_not_count_backwards() -> None:
    """TRUNCATE takes back what its transaction had inserted."""
    before = Look(wal_bytes=0, counts={20000: Counts(inserted=5)}, relations=KNOWN)
    after = Look(wal_bytes=0, counts={20000: Counts()}, relations=KNOWN)

    assert between(before, after).changes == ()

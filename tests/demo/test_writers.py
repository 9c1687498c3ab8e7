"""Writers that check themselves, against a real server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest

from demo.application import APPLICATION, FRAGILE
from demo.faults.writers import MANNERS, TABLE, Manner, Tally, Writers, missing_or_doubled
from tests.databases import Database

SECONDS = 20.0


@pytest.fixture
def writers(database: Database) -> Iterator[Writers]:
    database.admin_sql(TABLE)
    started = Writers(database.dsn_of(APPLICATION), database.dsn_of(FRAGILE))
    yield started
    started.stop()


@pytest.fixture
def superuser(database: Database) -> Iterator[Any]:
    connection = psycopg2.connect(database.superuser_dsn)
    connection.autocommit = True
    yield connection
    connection.close()


def _until(writers: Writers, wanted: Callable[[Tally], bool]) -> Tally:
    """The first tally that is as wanted, or the last one when the time is up."""
    deadline = time.monotonic() + SECONDS
    while not wanted(tally := writers.report()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return tally


def _all_have_written(tally: Tally, rows: int = 3) -> bool:
    return min(tally.acknowledged) >= rows


def _end(superuser: Any, user: str, *, in_transaction: bool) -> int:
    with superuser.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s AND"
                       " (state = 'idle in transaction' OR NOT %s)", (user, in_transaction))
        return int(cursor.rowcount)


def test_every_acknowledged_row_is_there_once(writers: Writers, superuser: Any) -> None:
    """Writers of every manner write, and nothing is amiss."""
    tally = _until(writers, _all_have_written)

    assert len(tally.acknowledged) == len(MANNERS)
    assert _all_have_written(tally)
    assert (tally.harmed, tally.errors) == (0, {})
    assert missing_or_doubled(tally, superuser) == []


def test_writers_that_are_cut_again_and_again_lose_nothing(writers: Writers, superuser: Any) -> None:
    """What was in doubt is looked up, and written again only where it is not there."""
    def cut(tally: Tally) -> bool:
        _end(superuser, APPLICATION, in_transaction=False)
        return tally.seen_later + tally.written_again >= 5

    cut_often = _until(writers, cut)
    tally = _until(writers, lambda now: min(now.acknowledged[:3]) > max(cut_often.acknowledged[:3]))

    assert tally.seen_later + tally.written_again >= 5
    assert missing_or_doubled(tally, superuser) == []


def test_a_row_that_is_lost_is_noticed(writers: Writers, superuser: Any) -> None:
    """The check can fail: somebody has removed what was acknowledged."""
    _until(writers, _all_have_written)
    superuser.cursor().execute("DELETE FROM written WHERE writer = 0 AND number = 2")
    broken = missing_or_doubled(writers.report(), superuser)

    assert [sentence for sentence in broken if "1 are lost" in sentence and "autocommit" in sentence] == broken
    assert len(broken) == 1


def test_a_row_that_is_there_twice_is_noticed(writers: Writers, superuser: Any) -> None:
    """The check can fail: somebody has written a row a second time."""
    _until(writers, _all_have_written)
    superuser.cursor().execute("INSERT INTO written VALUES (1, 2)")
    broken = missing_or_doubled(writers.report(), superuser)

    assert broken == ["row 2 of the transaction writer is there 2 times"]


def test_harm_done_to_the_fragile_writer_is_counted(writers: Writers, superuser: Any) -> None:
    """One of its transactions is ended after a statement of it was acknowledged."""
    def harmed(tally: Tally) -> bool:
        _end(superuser, FRAGILE, in_transaction=True)  # now and then between BEGIN and the first row: no harm
        return tally.harmed > 0

    tally = _until(writers, harmed)

    assert tally.harmed > 0
    assert missing_or_doubled(tally, superuser) == []


def test_a_shut_door_is_noticed(writers: Writers, database: Database) -> None:
    """The time in which nobody who comes anew could write is counted, also while it lasts."""
    newcomer = MANNERS.index(Manner.NEWCOMER)
    _until(writers, _all_have_written)
    database.admin_sql(f"ALTER ROLE {APPLICATION} NOLOGIN")
    shut_at = time.monotonic()
    before = writers.report().acknowledged[newcomer]
    tally = _until(writers, lambda _: time.monotonic() > shut_at + 0.5)
    database.admin_sql(f"ALTER ROLE {APPLICATION} LOGIN")
    again = _until(writers, lambda now: now.acknowledged[newcomer] > before + 2)

    assert tally.shut_seconds >= 0.4
    assert again.acknowledged[newcomer] > before + 2

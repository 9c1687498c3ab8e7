"""The throw-away standbys: they follow their primary, are found again, and can take over."""

from __future__ import annotations

import psycopg2
import pytest

from demo.installations import ServerError
from demo.standby import Standby
from tests.standbys import MakeStandby, Replicated, replicate


def test_a_standby_has_what_its_primary_has_and_takes_no_writes(each_replicated: Replicated) -> None:
    """On every PostgreSQL at hand."""
    each_replicated.database.admin_sql("INSERT INTO account (name) VALUES ('written on the primary')")
    each_replicated.await_replay()

    for standby in each_replicated.standbys:
        assert each_replicated.on(standby).admin_sql("SELECT count(*) FROM account") == [(11,)]
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            each_replicated.on(standby).admin_sql("INSERT INTO account (name) VALUES ('not here')")


def test_its_primary_calls_it_by_its_folder(replicated: Replicated) -> None:
    """So that a table of the demo can show which is which."""
    assert replicated.primary.admin_sql("SELECT application_name FROM pg_stat_replication ORDER BY 1") \
        == [("standby0",), ("standby1",)]


def test_another_process_finds_it_and_it_follows_again_after_a_kill(replicated: Replicated) -> None:
    """`make down` stops what `make up` started, and a killed standby comes back as one."""
    standby = Standby.open(replicated.standbys[1].folder)
    standby.kill()
    replicated.database.admin_sql("INSERT INTO account (name) VALUES ('while it was away')")
    replicated.standbys[1].start()
    standby.await_replay_of(replicated.primary)

    assert replicated.on(standby).admin_sql("SELECT pg_is_in_recovery(), count(*) FROM account") == [(True, 11)]


def test_a_promoted_standby_is_a_primary_of_the_next_timeline(replicated: Replicated, make_standby: MakeStandby
                                                               ) -> None:
    """A failover; the old primary knows nothing of it."""
    pair = replicate(replicated.primary, make_standby(replicated.primary))
    (standby,) = pair.standbys
    standby.promote()
    pair.on(standby).admin_sql("INSERT INTO account (name) VALUES ('written on the new primary')")
    timeline = standby.admin_sql("SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)")
    pair.close()

    assert timeline == [("00000002",)]
    assert pair.on(standby).admin_sql("SELECT count(*) FROM account") == [(11,)]
    assert pair.database.admin_sql("SELECT count(*) FROM account") == [(10,)]


def test_a_folder_that_is_taken_is_refused(replicated: Replicated) -> None:
    """Nothing is written over."""
    with pytest.raises(ServerError, match="exists already"):
        Standby.create_of(replicated.primary, replicated.standbys[0].folder)

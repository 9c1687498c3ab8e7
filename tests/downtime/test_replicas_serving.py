"""Hot standbys that serve reads through an outage: their replay is paused before it and resumed after it."""

from __future__ import annotations

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from downtime import errors
from downtime.failover import FailedOver
from downtime.replay import ReplayNotPaused, undo_replay
from tests.builders import a_deployment, pause, until
from tests.downtime.replicas import beside, has_patch, is_paused, reading, replicate_as
from tests.standbys import MakeStandby, Replicated

STALLED = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE backend_type = 'startup'"

ADDED = a_deployment(sql="CREATE TABLE added (id int);")
ALTERED = a_deployment(sql="ALTER TABLE account ADD COLUMN added int; CREATE TABLE added (id int);")


async def test_standbys_serve_the_old_schema_through_the_outage(each_replicated: Replicated) -> None:
    """New readers get in and see the database as it was; after the COMMIT they get the patch."""
    async with beside(each_replicated, serve_reads=True) as outage:
        await outage.replicas.pause_replay()
        async with outage.closed():
            await outage.kick()
            await outage.apply(ALTERED)
            for standby in each_replicated.standbys:
                with reading(each_replicated, standby, "SELECT id, name, balance FROM account"):
                    assert has_patch(each_replicated, standby) == (False, False)
        assert [has_patch(each_replicated, each) for each in each_replicated.standbys] == [(False, False)] * 2
        caught = await outage.replicas.catch_up(outage.control, ALTERED.patch)

    assert (caught.behind, outage.replicas.kicked) == ((), ())
    assert [has_patch(each_replicated, each) for each in each_replicated.standbys] == [(True, True)] * 2


async def test_a_standby_that_is_held_up_does_not_keep_the_others_waiting(replicated: Replicated) -> None:
    """A fragile user's transaction is waited for, and named; replay goes on everywhere all the same."""
    first, second = replicated.standbys
    async with beside(replicated, serve_reads=True, catch_up_seconds=1) as outage:
        with reading(replicated, first, user="process_upload"):
            await outage.replicas.pause_replay()
            async with outage.closed():
                await outage.apply(ALTERED)
            caught = await outage.replicas.catch_up(outage.control, ALTERED.patch)
            there = has_patch(replicated, second)
            paused = [is_paused(replicated, each) for each in replicated.standbys]
        await until(lambda: has_patch(replicated, first) == (True, True), "the patch on the first")

    assert (len(caught.behind), there, paused) == (1, (True, True), [False, False])
    assert f":{first.port}/" in caught.behind[0]
    assert "in its way: pid" in caught.lines[0]
    assert "process_upload" in caught.lines[0]


async def test_a_fragile_user_on_a_standby_ends_its_transaction_before_replay_goes_on(replicated: Replicated) -> None:
    """Replay that waits for it would hold new readers up; until it is done the standby serves them the old schema."""
    first, _ = replicated.standbys
    async with beside(replicated, serve_reads=True, catch_up_seconds=20) as outage:
        with reading(replicated, first, user="process_upload") as fragile:
            await outage.replicas.pause_replay()
            async with outage.closed():
                await outage.apply(ALTERED)
            catching_up = Deferred.fromCoroutine(outage.replicas.catch_up(outage.control, ALTERED.patch))
            await pause(0.1)
            with reading(replicated, first, "SELECT id, name, balance FROM account"):
                assert is_paused(replicated, first)
            fragile.rollback()
            caught = await catching_up

    assert (caught.behind, outage.replicas.kicked) == ((), ())


async def test_standbys_are_brought_up_to_date_one_after_another(replicated: Replicated) -> None:
    """While the first one replays, the second still serves: never all of them at once."""
    first, second = replicated.standbys
    async with beside(replicated, serve_reads=True, catch_up_seconds=20) as outage:
        with reading(replicated, first, user="postgres") as spared:  # whom nobody ends: replay waits for it
            await outage.replicas.pause_replay()
            async with outage.closed():
                await outage.apply(ALTERED)
            catching_up = Deferred.fromCoroutine(outage.replicas.catch_up(outage.control, ALTERED.patch))
            await until(lambda: not is_paused(replicated, first), "replay on the first")
            await pause(0.1)
            meanwhile = is_paused(replicated, second), has_patch(replicated, second)
            spared.rollback()
            caught = await catching_up

    assert (meanwhile, caught.behind) == ((True, (False, False)), ())


async def test_an_outage_that_came_to_nothing_leaves_replay_running(replicated: Replicated) -> None:
    """After a rollback, at once and on all of them."""
    async with beside(replicated, serve_reads=True) as outage:
        await outage.replicas.pause_replay()
        async with outage.called_off():
            await outage.apply(ADDED)
        (line,) = await outage.replicas.let_replay()

    assert "replay is resumed" in line
    assert [is_paused(replicated, each) for each in replicated.standbys] == [False, False]


async def test_where_one_cannot_be_paused_all_go_on(replicated: Replicated, make_standby: MakeStandby) -> None:
    """An outage begins with all of them or not at all."""
    lost = make_standby(replicated.primary)
    async with beside(replicate_as(replicated, *replicated.standbys, lost), serve_reads=True) as outage:
        lost.kill()
        with pytest.raises(errors.NeedsOperator, match=f":{lost.port}/"):
            await outage.replicas.pause_replay()

    assert [is_paused(replicated, each) for each in replicated.standbys] == [False, False]


async def test_a_session_that_stalls_replay_keeps_it_from_pausing(replicated: Replicated) -> None:
    """Between two records it could pause; the outage does not begin, and whose session it is is said."""
    first, _ = replicated.standbys
    async with beside(replicated, serve_reads=True) as outage:
        with reading(replicated, first, user="process_upload"):
            replicated.database.admin_sql("ALTER TABLE account ADD COLUMN stalls int")
            await until(lambda: first.admin_sql(STALLED) == [(True,)], "replay to come to it")
            with pytest.raises(ReplayNotPaused, match=f":{first.port}/.*in its way: pid .*process_upload"):
                await outage.replicas.pause_replay()

    assert [is_paused(replicated, each) for each in replicated.standbys] == [False, False]


async def test_a_standby_that_restarts_in_the_outage_is_brought_up_to_date(replicated: Replicated) -> None:
    """Its pause is over and our session is lost; it shares the rest of the outage and then has the patch."""
    first, _ = replicated.standbys
    async with beside(replicated, serve_reads=True) as outage:
        await outage.replicas.pause_replay()
        async with outage.closed():
            await outage.apply(ADDED)
            await outage.replicas.refuse_failover()
            first.restart("immediate")
            with pytest.raises(FailedOver, match=f"cannot ask 127.0.0.1:{first.port}/"):
                await outage.replicas.refuse_failover()  # it could have been promoted
        caught = await outage.replicas.catch_up(outage.control, ADDED.patch)

    assert (caught.behind, caught.error) == ((), None)
    assert has_patch(replicated, first) == (True, True)


async def test_what_a_dead_deployment_has_paused_is_resumed(each_replicated: Replicated) -> None:
    """By whoever cleans up behind it, with the patching role's rights; a second time changes nothing."""
    standby = each_replicated.standbys[0]
    standby.admin_sql("SELECT pg_wal_replay_pause()")
    target = each_replicated.targets[0]

    lines = [await undo_replay(target, reactor=reactor) for _ in range(2)]

    assert lines == [(f"replay on the standby {target.label} is resumed",), ()]
    assert not is_paused(each_replicated, standby)
    assert await undo_replay(each_replicated.database.target, reactor=reactor) == ()

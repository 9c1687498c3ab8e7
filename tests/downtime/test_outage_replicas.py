"""Whole outages beside hot standbys, with both gates: with the standbys closed, too, and with standbys that serve."""

from __future__ import annotations

import contextlib

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.process import ProcessReader
from twisted.internet.threads import deferToThread

from demo.standby import Standby
from downtime import errors, sessions
from downtime.apply import Deployment
from downtime.failover import FailedOver, LivesElsewhere
from downtime.outage import Outage
from downtime.phases import Report
from tests.builders import a_deployment, until
from tests.downtime.outages import GATES, lets_in, prepared
from tests.downtime.replicas import has_patch, is_paused, reading
from tests.standbys import MakePrimary, MakeStandby, Replicated, replicate

GOOD = a_deployment(sql="ALTER TABLE account ADD COLUMN more int; CREATE TABLE added (id int);")
FAILING = a_deployment(sql="CREATE TABLE added (id int); SELECT 1 / 0;")
SLOW = a_deployment(sql="CREATE TABLE added (id int); SELECT pg_sleep(2);")

both_gates = pytest.mark.parametrize("gate", GATES)
both_ways = pytest.mark.parametrize("serve_reads", [False, True], ids=["closed", "serving"])


async def run(replicated: Replicated, deployment: Deployment, *, gate: str, serve_reads: bool) -> Report:
    settings = replicated.settings(serve_reads=serve_reads)
    async with prepared(replicated.database, deployment, gate=gate, replicas=settings) as outage:
        return await outage.run()


@both_gates
@both_ways
async def test_a_patch_is_on_every_standby_when_the_deployment_is_over(
        replicated: Replicated, gate: str, serve_reads: bool) -> None:
    """A reader in a transaction there stalls nothing; what was written down of paused replay is gone."""
    with reading(replicated, replicated.standbys[0]):
        report = await run(replicated, GOOD, gate=gate, serve_reads=serve_reads)

    assert report.error is None
    assert [has_patch(replicated, each) for each in replicated.standbys] == [(True, True)] * 2
    assert replicated.ask(replicated.primary, "SELECT count(*) FROM fastdowntime.held") == [(0,)]


@both_gates
@both_ways
async def test_a_patch_that_fails_leaves_the_standbys_open_and_replaying(
        replicated: Replicated, gate: str, serve_reads: bool) -> None:
    """As the primary; nothing of it is there."""
    report = await run(replicated, FAILING, gate=gate, serve_reads=serve_reads)

    assert report.error is not None
    assert report.error.left is errors.Left.REOPENED
    for standby in replicated.standbys:
        with contextlib.closing(replicated.reader(standby)):
            assert has_patch(replicated, standby) == (False, False)
            assert not is_paused(replicated, standby)


async def test_a_standby_promoted_in_mid_patch_ends_the_outage(replicated: Replicated, make_standby: MakeStandby
                                                               ) -> None:
    """Rolled back and open again, with what to do; no half of the patch on either side."""
    standby = make_standby(replicated.primary)
    pair = replicate(replicated.primary, standby)
    async with prepared(pair.database, SLOW, replicas=pair.settings()) as outage:
        report = await promoted_in_mid_patch(outage, standby)
    found = has_patch(pair, pair.primary), has_patch(pair, standby)
    pair.close()

    assert isinstance(report.error, FailedOver)
    assert f":{standby.port}/" in str(report.error)
    assert (report.error.left, found) == (errors.Left.REOPENED, ((False, False), (False, False)))


async def promoted_in_mid_patch(outage: Outage, standby: Standby) -> Report:
    running = Deferred.fromCoroutine(outage.run())
    await until(lambda: len(outage.statements) == 1, "the first statement being applied")
    await deferToThread(standby.promote)
    return await running


@both_gates
async def test_a_standby_that_takes_over_from_a_killed_primary_is_found_open_and_without_the_patch(
        gate: str, make_primary: MakePrimary, make_standby: MakeStandby) -> None:
    """The operator reads where the database lives now and that nothing of the patch is there; it is open."""
    primary = make_primary()
    standby = make_standby(primary)
    pair = replicate(primary, standby)
    async with prepared(pair.database, SLOW, gate=gate, replicas=pair.settings()) as outage:
        running = Deferred.fromCoroutine(outage.run())
        await until(lambda: len(outage.statements) == 1, "the first statement being applied")
        pair.close()
        primary.kill()
        await deferToThread(standby.promote)
        report = await running
    await until(lambda: lets_in(pair.on(standby)), "the new primary being open")

    assert isinstance(report.error, LivesElsewhere)
    assert not report.applied
    assert f":{standby.port}/" in report.error.explain()
    assert "neither the patch nor its ledger row" in str(report.error)
    assert has_patch(pair, standby) == (False, False)
    pair.close()


@both_ways
async def test_who_was_kicked_on_a_standby_is_in_the_kick_report(replicated: Replicated, serve_reads: bool) -> None:
    """The owner of a script looks there, wherever its session was; with the standby's name."""
    standby = replicated.standbys[0]
    with reading(replicated, standby):
        report = await run(replicated, GOOD, gate="hold", serve_reads=serve_reads)

    kicked = [each for each in report.kicked if each.standby]
    assert [(each.user, f":{standby.port}/" in each.standby) for each in kicked] == [("app", True)]
    assert f"on the standby {kicked[0].standby}" in sessions.report(report.kicked)


@both_ways
async def test_a_control_session_that_is_lost_leaves_nothing_paused(replicated: Replicated, serve_reads: bool) -> None:
    """Nobody can ask the primary any more whether it is one: rolled back, open, and every standby replays."""
    settings = replicated.settings(serve_reads=serve_reads)
    async with prepared(replicated.database, SLOW, replicas=settings) as outage:
        running = Deferred.fromCoroutine(outage.run())
        await until(lambda: len(outage.statements) == 1, "the first statement being applied")
        replicated.ask(replicated.primary, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                                           " WHERE application_name LIKE 'fastdowntime%control'")
        report = await running
    replicated.await_replay()

    assert isinstance(report.error, FailedOver)
    assert f"cannot ask {replicated.database.target.label} whether it is the primary still" in str(report.error)
    assert report.error.left is errors.Left.REOPENED
    assert [has_patch(replicated, each) for each in (replicated.primary, *replicated.standbys)] == [(False, False)] * 3
    assert not any(is_paused(replicated, each) for each in replicated.standbys)
    assert replicated.ask(replicated.primary, "SELECT count(*) FROM fastdowntime.held") == [(0,)]


async def test_a_standby_that_dies_while_its_replay_is_paused_is_named_as_the_reason(
        replicated: Replicated, make_standby: MakeStandby) -> None:
    """Not only that replay could not be resumed, which is what came of it: nobody could ask whether it was promoted."""
    standby = make_standby(replicated.primary)
    pair = replicate(replicated.primary, standby)
    async with prepared(pair.database, SLOW, replicas=pair.settings(serve_reads=True)) as outage:
        running = Deferred.fromCoroutine(outage.run())
        await until(lambda: len(outage.statements) == 1, "the first statement being applied")
        pair.close()
        standby.kill()
        report = await running
    pair.close()
    standby.start()
    await until(lambda: not any(isinstance(each, ProcessReader) for each in reactor.getReaders()),
                "the watchdog, which was left to it, being done")

    assert isinstance(report.error, errors.NeedsOperator)
    assert f"cannot ask 127.0.0.1:{standby.port}/" in str(report.error)
    assert "replay could not be resumed" in str(report.error)

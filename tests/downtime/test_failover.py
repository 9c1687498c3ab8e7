"""A standby is promoted while a patch is applied: noticed before the COMMIT, told after it, and never half a patch."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

import pytest
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from demo.servers import free_port
from downtime import errors
from downtime.catching_up import Caught
from downtime.failover import FailedOver, PatchLeftBehind, new_primary
from downtime.target import Target
from tests.builders import a_deployment
from tests.downtime.replicas import Beside, beside, has_patch
from tests.standbys import MakePrimary, MakeStandby, Replicated, replicate

ADDED = a_deployment(sql="CREATE TABLE added (id int);")
LATER = a_deployment(sql="CREATE TABLE later (id int);", patch_id="patch-2")
NOBODY_HAS_IT = (False, False), (False, False)
BOTH_HAVE_IT = (True, True), (True, True)
ONLY_THE_OLD_ONE = (True, True), (False, False)
BEFORE, APPLIED, ASKED, COMMITTED = "before the gate", "in the patch", "after the question", "after the COMMIT"


async def course(outage: Beside, at: Callable[[str], Awaitable[object]]) -> Caught:
    """An outage as it runs, with something happening at its moments."""
    await outage.replicas.pause_replay()
    await at(BEFORE)
    async with outage.closed():
        await outage.kick()
        await outage.apply(ADDED)
        await at(APPLIED)
        await outage.replicas.refuse_failover()
        await at(ASKED)
    await at(COMMITTED)
    return await outage.replicas.catch_up(outage.control, ADDED.patch)


@pytest.mark.parametrize(("serve_reads", "moment", "outcome"), [
    (False, BEFORE, NOBODY_HAS_IT), (False, APPLIED, NOBODY_HAS_IT), (False, ASKED, ONLY_THE_OLD_ONE),
    (True, ASKED, ONLY_THE_OLD_ONE), (True, COMMITTED, BOTH_HAVE_IT)])
async def test_patch_and_ledger_row_are_never_apart(
        replicated: Replicated, make_standby: MakeStandby, moment: str, serve_reads: bool, outcome: object) -> None:
    """The old primary lives on beside the new one. Before the question nothing is committed, after it the operator is
    told who has the patch; the table and its ledger row are together on either side."""
    standby = make_standby(replicated.primary)
    pair = replicate(replicated.primary, standby)

    async def promote(now: str) -> None:
        if now == moment:
            await deferToThread(standby.promote)

    caught: Caught | None = None
    async with beside(pair, serve_reads=serve_reads) as outage:
        with contextlib.suppress(FailedOver):
            caught = await course(outage, promote)
    found = has_patch(pair, replicated.primary), has_patch(pair, standby)
    pair.close()

    assert found == outcome
    assert (caught is None) == (outcome == NOBODY_HAS_IT)
    if caught is not None:
        assert (isinstance(caught.error, PatchLeftBehind), caught.behind != ()) == (outcome == ONLY_THE_OLD_ONE,) * 2
        assert "promoted" in caught.lines[0]
        assert caught.error is None or caught.error.exit_status is errors.ExitStatus.NEEDS_OPERATOR


@pytest.mark.deadline(seconds=60)
async def test_the_new_primary_is_asked_when_the_old_one_is_gone(
        make_primary: MakePrimary, make_standby: MakeStandby) -> None:
    """What was committed and replayed is there; what was under way is nowhere, neither when the old one returns."""
    primary = make_primary()
    standby = make_standby(primary)
    pair = replicate(primary, standby)
    async with beside(pair) as outage:
        await course(outage, nothing)
        lineage = outage.replicas.lineage
        assert await new_primary(pair.targets, lineage, ADDED.patch, reactor=reactor) is None
        with contextlib.suppress(errors.NodeError):
            async with outage.closed():
                await outage.apply(LATER)
                await deferToThread(primary.kill)
    await deferToThread(standby.promote)
    targets = [pair.database.target, *pair.targets]
    committed, lost = [await new_primary(targets, lineage, each.patch, reactor=reactor) for each in (ADDED, LATER)]
    primary.start()
    later = [pair.ask(server, "SELECT to_regclass('later'), (SELECT count(*) FROM fastdowntime.ledger)")
             for server in (primary, standby)]
    pair.close()

    assert committed is not None
    assert lost is not None
    assert (committed.target, committed.has_patch, committed.lineage.timeline) == (pair.targets[0], True, 2)
    assert (lost.target, lost.has_patch) == (pair.targets[0], False)
    assert later == [[(None, 1)], [(None, 1)]]


async def test_where_no_server_answers_nobody_says_that_there_is_no_primary(replicated: Replicated) -> None:
    """None means that those who answer are standbys; silence is an error."""
    async with beside(replicated) as outage:
        lineage = outage.replicas.lineage
    nobody = Target(dsn=f"postgresql://patcher@127.0.0.1:{free_port()}/app")
    with pytest.raises(errors.NodeError):
        await new_primary([nobody], lineage, ADDED.patch, reactor=reactor)


async def nothing(now: str) -> None:
    return

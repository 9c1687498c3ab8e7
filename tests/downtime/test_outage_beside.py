"""What fails beside an outage, or is set for its role, does not decide how it ends."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from downtime import errors, gate
from downtime.catching_up import ReplayStaysPaused
from downtime.cluster import Cluster
from downtime.outage import Outage
from downtime.patches import Patch
from downtime.phases import Phase
from downtime.settings.cluster import Replicas
from tests.builders import a_deployment, no_objections, pause
from tests.databases import Database
from tests.downtime.outages import (
    GATES,
    SLEEPING,
    assert_nothing_is_left,
    in_mid_patch,
    is_recorded,
    lets_in,
    prepared,
    some_rules,
)


class AFailingGate(gate.Hold):
    """Holds, and then fails as nobody has foreseen."""

    async def allow(self) -> None:
        raise ZeroDivisionError("allow")

    async def disarm(self) -> None:
        raise ZeroDivisionError("disarm")


class WithAFailingGate(Outage):
    async def prepare(self, objections: Any) -> tuple[str, ...]:
        found = await super().prepare(objections)
        self._prepared = replace(self._ready, gate=AFailingGate(reactor))
        await self._ready.gate.arm(self._ready.patcher)
        return found


async def test_an_outage_gives_its_report_whatever_fails(database: Database) -> None:
    """An error nobody has foreseen, in opening and in giving back: told in the report, and nothing is left behind."""
    outage = WithAFailingGate(database.target, a_deployment(sql="SELECT 1;"), some_rules())
    await outage.prepare(no_objections)
    report = await outage.run()
    await outage.close()

    assert isinstance(report.error, errors.NeedsOperator)
    assert "cannot make sure that" in str(report.error)
    assert report.applied
    assert database.server.admin_sql("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE"
                                     " 'fastdowntime%%patch-1%%' AND datname = %s", (database.name,)) == [(0,)]


class AForgetfulReactor:
    """Has no room left for whatever is to be told later."""

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)

    def callLater(self, seconds: float, what: Any, *arguments: Any, **keywords: Any) -> Any:
        if getattr(what, "__name__", "") == "_tell":
            raise OSError("No space left on device")
        return reactor.callLater(seconds, what, *arguments, **keywords)  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", GATES)
async def test_what_cannot_be_written_down_does_not_keep_a_database_closed(kind: str, database: Database) -> None:
    """The record of the phases fails, and so does whoever is told: rolled back, open, and a report all the same."""
    def fail(line: str) -> None:
        raise OSError("No space left on device")

    async with prepared(database, SLEEPING, gate=kind, say=fail, patch_reactor=AForgetfulReactor()) as outage:
        report = await outage.run()

    assert report.error is not None
    assert "No space left on device" in str(report.error)
    assert_nothing_is_left(database)


async def test_what_was_there_before_is_not_searched_for_garbage(database: Database) -> None:
    """A full collection in a large buildmaster stops it for longer than a trivial patch takes, with the gate closed."""
    async with prepared(database, SLEEPING) as outage:
        running = await in_mid_patch(outage)
        frozen = gc.get_freeze_count()
        outage.abort("seen enough")
        await running

    assert frozen > 1000
    assert gc.get_freeze_count() == 0


async def test_a_watcher_that_fails_changes_nothing(database: Database) -> None:
    """A step whose log cannot be written fails by itself."""
    def fail(report: Any) -> None:
        raise OSError("No space left on device")

    async with prepared(database, say=fail) as outage:
        failed: list[Any] = []
        for phase in Phase:
            outage.watch(phase).addCallback(fail).addErrback(failed.append)
        report = await outage.run()

    assert (report.error, report.applied, len(failed)) == (None, True, 5)


@pytest.mark.parametrize("kind", GATES)
async def test_defaults_of_the_role_do_not_end_an_outage(kind: str, each_database: Database) -> None:
    """Timeouts that an administrator has given the patching role ended guard, control or patcher in mid-outage."""
    defaults = ["idle_session_timeout", "statement_timeout", "idle_in_transaction_session_timeout"]
    if each_database.server.installation.version >= 17:
        defaults.append("transaction_timeout")
    each_database.server.admin_sql("".join(f"ALTER ROLE patcher SET {name} = '400ms';" for name in defaults))
    try:
        sql = "RESET ALL;\nCREATE TABLE added (id int);\nSELECT pg_sleep(1.5);"
        async with prepared(each_database, a_deployment(sql=sql), gate=kind) as outage:
            await pause(0.8)
            report = await outage.run()
    finally:
        each_database.server.admin_sql("".join(f"ALTER ROLE patcher RESET {name};" for name in defaults))

    assert (report.error, report.applied) == (None, True)
    assert is_recorded(each_database)
    assert lets_in(each_database)


class AFailingCluster(Cluster):
    """Whatever it is told after the patch, it fails as nobody has foreseen."""

    async def resume(self) -> tuple[str, ...]:
        raise ZeroDivisionError("resume")

    async def let_replay(self) -> tuple[str, ...]:
        raise ReplayStaysPaused(listing="db3 is away")


class AClusterThatLosesTrack(Cluster):
    async def catch_up(self, patch: Patch) -> None:
        raise ZeroDivisionError("catch up")


class WithAFailingCluster(Outage):
    cluster: type[Cluster] = AFailingCluster

    async def prepare(self, objections: Any) -> tuple[str, ...]:
        found = await super().prepare(objections)
        self._cluster = self.cluster(self._target, poolers=(), replicas=Replicas(), reactor=reactor)
        self._prepared = replace(self._ready, cluster=self._cluster)
        return found


class WithAClusterThatLosesTrack(WithAFailingCluster):
    cluster = AClusterThatLosesTrack


@pytest.mark.parametrize(("kind", "sql", "said"), [
    (WithAFailingCluster, "SELECT 1;", "clients may wait at the poolers"),
    (WithAFailingCluster, "SELECT 1 / 0;", "clients may wait at the poolers"),
    (WithAClusterThatLosesTrack, "SELECT 1;", "catch up"),
])
async def test_an_outage_gives_its_report_whatever_fails_around_it(
        kind: type[WithAFailingCluster], sql: str, said: str, database: Database) -> None:
    """Who deploys learned nothing, and sessions, timers and the lock stayed with a deployment that was over. Of two
    things for an operator, the one that keeps clients out is told."""
    outage = kind(database.target, a_deployment(sql=sql), some_rules())
    await outage.prepare(no_objections)
    report = await outage.run()
    await outage.close()

    assert isinstance(report.error, errors.NeedsOperator)
    assert said in str(report.error)
    assert lets_in(database)
    assert (report.applied, is_recorded(database)) == (("0" not in sql,) * 2)


async def test_what_is_given_up_while_it_is_prepared_holds_nothing(database: Database) -> None:
    """Its build has ended before: nobody would close it again, and the lock kept every later deployment out."""
    outage = Outage(database.target, a_deployment(), some_rules())
    preparing = Deferred.fromCoroutine(outage.prepare(no_objections))
    await outage.close()
    with pytest.raises(errors.Aborted) as caught:
        await preparing

    assert caught.value.left is errors.Left.UNTOUCHED
    async with prepared(database):
        pass

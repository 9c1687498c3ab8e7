"""Which of several buildmasters works: a real one whose state is on a real PostgreSQL, and a lease held by another."""

from __future__ import annotations

import signal
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import psycopg2
import psycopg2.extensions
import pytest
from buildbot.plugins import util, worker
from buildbot.process.results import RETRY, SUCCESS
from buildbot.test.util.integration import RunMasterBase
from buildbot.util.service import BuildbotService
from twisted.internet.defer import Deferred

from demo.servers import Server
from downtime.deployment_lock import LOCK_CLASS
from downtime.settings.buildmaster import POSTGRESQL, target_of_state
from master import leadership
from master.journal import Journal
from master.leadership import LEADER, LEADING, NAME, Leadership
from master.outages import Outages
from master.state import Drawer
from tests.builders import pause, until
from tests.databases import Database, MakeDatabase

BUILDER = "production"


class Told(BuildbotService):  # type: ignore[misc]
    """A service that has something to do as soon as this buildmaster leads."""

    name = "told"
    times = 0

    def lead(self) -> None:
        self.times += 1


class ABuildmaster(RunMasterBase):
    """One of two; the other is a session that holds the lease, and rows that it has left in the state database."""

    @pytest.fixture(autouse=True)
    def _with_a_state(self, server: Server, make_database: MakeDatabase) -> None:
        self.state: Database = make_database(server, gate=None)

    async def start(self) -> Leadership:
        self.patch(leadership, "LOOK_SECONDS", 0.02)
        self.patch(leadership, "PATIENCE_SECONDS", 0.3)
        url = self.state.dsn_of("patcher").replace("postgresql://", POSTGRESQL)
        target = target_of_state(url)
        assert target is not None
        factory = util.BuildFactory()
        self.addCleanup(self.end_the_lease)  # after the master has stopped, as with its process
        await self.setup_master({
            "services": [Told(), Leadership(state=target), Journal(), Outages()], "protocols": {"null": {}},
            "workers": [worker.LocalWorker("inside", missing_timeout=0)], "db_url": url, "multiMaster": True,
            "builders": [util.BuilderConfig(name=BUILDER, workernames=["inside"], factory=factory,
                                            canStartBuild=leadership.may_begin)]}, startWorker=False)
        self.service: Leadership = self.master.service_manager.namedServices[NAME]
        return self.service

    def end_the_lease(self) -> None:
        if self.service._session is not None:
            self.service._session.close()

    def leads(self) -> bool:
        return leadership.leads(self.master)

    def another_holds_the_lease(self) -> psycopg2.extensions.connection:
        session = psycopg2.connect(self.state.dsn_of("patcher"))
        session.autocommit = True
        session.cursor().execute("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, LEADING))
        return session

    async def another(self) -> int:
        """The id of another buildmaster, which leads."""
        masterid: int = await self.master.db.masters.findMasterId(name="another:/srv/buildbot")
        await self.master.data.updates.masterActive(name="another:/srv/buildbot", masterid=masterid)
        await Drawer(self.master, NAME).put(LEADER, masterid)
        return masterid

    async def request(self) -> int:
        builder_id = await self.master.data.updates.findBuilderId(BUILDER)
        _, requests = await self.master.data.updates.addBuildset(
            waited_for=False, builderids=[builder_id],
            sourcestamps=[{"codebase": "", "repository": "", "branch": None, "revision": None, "project": ""}])
        return int(requests[builder_id])

    async def begun_by(self, masterid: int) -> tuple[int, int]:
        """A request that another master has claimed, and its build, which goes on."""
        request = await self.request()
        await self.master.db.buildrequests._claim_buildrequests_for_master([request], 0, masterid)
        worker_id = await self.master.db.workers.findWorkerId("inside")
        build, _ = await self.master.db.builds.addBuild(
            await self.master.data.updates.findBuilderId(BUILDER), request, worker_id, masterid, "starting")
        return request, build

    async def look(self, kind: str, number: int) -> dict[str, Any]:
        found: dict[str, Any] = await self.master.data.get((kind, number))
        return found

    async def test_who_leads_builds(self) -> None:
        """From the moment on at which it leads; and its services are told, once."""

        with closing(self.another_holds_the_lease()):
            await self.start()
            request = await self.request()
            for _ in range(10):
                await pause()
            before = await self.look("buildrequests", request)
            self.assertFalse(self.leads())
        await until(self.leads, "the lease to be taken")
        while not (await self.look("buildrequests", request))["complete"]:
            await pause()
        self.assertFalse(before["claimed"])
        self.assertEqual(self.master.service_manager.namedServices["told"].times, 1)

    async def test_what_a_dead_leader_had_begun_is_built_again(self) -> None:
        """At once, and not in ten minutes: its build has ended with RETRY, and its request is free."""

        with closing(self.another_holds_the_lease()):
            await self.start()
            request, build = await self.begun_by(await self.another())
        await until(self.leads, "the lease to be taken")
        while not (found := await self.look("buildrequests", request))["complete"]:
            await pause()
        ended = await self.look("builds", build)
        self.assertEqual((ended["complete"], ended["results"]), (True, RETRY))
        self.assertEqual((found["claimed_by_masterid"], found["results"]), (self.master.masterid, SUCCESS))

    async def test_buildbot_leaves_the_requests_of_a_dead_master_claimed(self) -> None:
        """Why we free them ourselves. When this fails, Buildbot does it: see `master.succession`."""

        with closing(self.another_holds_the_lease()):
            await self.start()
            masterid = await self.another()
            request, build = await self.begun_by(masterid)
            await self.master.data.updates.masterStopped(name="another:/srv/buildbot", masterid=masterid)
            ended, found = await self.look("builds", build), await self.look("buildrequests", request)
        self.assertEqual(ended["results"], RETRY)
        self.assertEqual((found["complete"], found["claimed_by_masterid"]), (False, masterid))

    async def test_a_lease_that_another_has_just_lost_is_left_to_it(self) -> None:
        """Whoever loses no more than a session has it back before anybody else begins to lead."""

        self.patch(leadership, "PATIENCE_SECONDS", 3600)
        with closing(self.another_holds_the_lease()):
            await self.start()
            await self.another()
        for _ in range(20):
            await pause()
        self.assertFalse(self.leads())

    async def test_a_leader_gets_its_lease_back(self) -> None:
        """As after a restart of the state's server: it goes on leading, and nothing is begun anew."""

        service = await self.start()
        await until(self.leads, "the lease to be taken")
        first = service._session
        self.state.admin_sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                             " AND objid = %s AND granted", (LEADING,))
        await until(lambda: service._session not in (None, first) and service._lost_at is None, "the lease to be back")
        held = self.state.admin_sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s",
                                    (LEADING,))
        self.assertTrue(self.leads())
        self.assertEqual(held, [(1,)])
        self.assertEqual(self.master.service_manager.namedServices["told"].times, 1)

    async def test_a_leader_whose_state_does_not_answer_ends(self) -> None:
        """Its new session is fine, Buildbot's own ones hang: it waited for them, and led on without the lease."""

        self.patch(leadership, "ANSWER_SECONDS", 0.5)
        self.patch(leadership, "REGAIN_SECONDS", 0.5)
        asked_to_end: list[int] = []
        usual = signal.signal(signal.SIGTERM, lambda number, _: asked_to_end.append(number))
        self.addCleanup(signal.signal, signal.SIGTERM, usual)
        service = await self.start()
        signal.signal(signal.SIGTERM, lambda number, _: asked_to_end.append(number))  # the master has taken it
        await until(self.leads, "the lease to be taken")
        self.patch(self.master.db.state, "getState", lambda *_: Deferred())
        assert service._session is not None
        service._session.close()
        await until(lambda: asked_to_end, "it to end itself")
        self.assertFalse(self.leads())

    async def test_a_leader_that_was_superseded_ends(self) -> None:
        """Two must not work: what it has under way is ended as by `buildbot stop`."""

        asked_to_end: list[int] = []
        usual = signal.signal(signal.SIGTERM, lambda number, _: asked_to_end.append(number))
        self.addCleanup(signal.signal, signal.SIGTERM, usual)
        service = await self.start()
        signal.signal(signal.SIGTERM, lambda number, _: asked_to_end.append(number))  # the master has taken it
        await until(self.leads, "the lease to be taken")
        await self.another()
        assert service._session is not None
        service._session.close()
        await until(lambda: asked_to_end, "it to end itself")
        self.assertFalse(self.leads())


def test_a_buildmaster_that_is_alone_leads() -> None:
    """It has no such service, and waits for nothing."""
    assert leadership.leads(SimpleNamespace(config=SimpleNamespace(services={})))

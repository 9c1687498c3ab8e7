"""Which of several buildmasters works: one leads, the others show the pages, take orders and wait to take over.

Buildbot's multi-master mode lets any master build anything. Here one master builds: what waits for a word, for its
turn, for tasks to be resumed is in its memory, and a database is closed by one. The others hand on what people ask of
them: a request is in the state database, Stop goes through Buildbot's message queue, and the leader acts.

The lease is an advisory lock of the state database, held by a session of the leader, and it ends with its process:
the server lets go of it 5 ms after a kill -9, about 3 s after a network has been cut. Whoever gets it next first
clears up behind the leader before it. A leader whose session is lost tries to get the lease back, and ends itself
where it cannot. That both should work for a moment is possible then, and harms nothing: the deployment lock and the
ledger are in the database that is deployed to, and no build repeats what another one has begun.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from buildbot.util.service import BuildbotService
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from downtime import errors
from downtime.deployment_lock import LOCK_CLASS
from downtime.node import Node, connect
from downtime.target import Target
from master import succession
from master.state import Drawer
from steps.shared.names import ServiceName

LOG = Logger()

T = TypeVar("T")

NAME = "fastdowntime-leadership"
LEADING = 20          # the second number of our advisory lock; the first is that of all of ours
LEADER = "leader"     # in the drawer: the id that Buildbot has given to the master that leads, or led last

LOOK_SECONDS = 0.5    # between looks at the lease: so much longer nobody leads after a leader has died
ANSWER_SECONDS = 2.0  # for the state database to answer
PATIENCE_SECONDS = 2.0  # a free lease is left to the leader so long, which may have lost no more than its session
LINGER_SECONDS = 3.0    # for a master without its router to write down what it can, with every database open
REGAIN_SECONDS = 10.0   # a leader without its session tries so long before it ends
CLEAR_SECONDS = 60.0    # to clear up behind a leader; a few hundred builds take seconds

# Whether anybody holds the lease. Takes no lock.
SELECT_HELD = f"""
SELECT EXISTS (SELECT FROM pg_catalog.pg_locks
                WHERE locktype = 'advisory' AND classid = {LOCK_CLASS} AND objid = {LEADING} AND objsubid = 2
                  AND granted AND database = (
                          SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
"""
TAKE = f"SELECT pg_try_advisory_lock({LOCK_CLASS}, {LEADING})"


def several(master: Any) -> bool:
    """Whether the buildmaster is one of several."""
    return NAME in master.config.services


def leads(master: Any) -> bool:
    """Whether the buildmaster is the one that works: the only one, or the one with the lease."""
    if not several(master):
        return True
    found = master.service_manager.namedServices.get(NAME)
    return found is not None and found.leads


async def may_begin(builder: Any, worker: Any, request: Any) -> bool:
    """`canStartBuild` of a builder: asked again when this master begins to lead."""
    return leads(builder.master)


class Leadership(BuildbotService):  # type: ignore[misc]
    """Is only there where there are several buildmasters. Tells our services by their method `lead`, once."""

    name = NAME

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.leads = False
        self._session: Node | None = None
        self._looking: LoopingCall | None = None
        self._over: Deferred[Any] = succeed(None)
        self._lost_at: float | None = None  # on the reactor's clock, as the next
        self._free_since: float | None = None
        self._said = ""

    def reconfigService(self, state: Target) -> None:
        self._state = state

    async def startService(self) -> None:
        await super().startService()
        self._looking = LoopingCall(lambda: Deferred.fromCoroutine(self._look()))
        self._looking.clock = self.master.reactor
        self._over = self._looking.start(LOOK_SECONDS, now=False).addErrback(
            lambda why: LOG.failure("looking after the lease", failure=why))

    async def stopService(self) -> None:
        """The lease is kept: it ends with the process, and by then every outage of this master has ended."""
        self.leads = False
        self._look_no_more()
        await self._over  # it has deadlines
        if self._is_cut_off():
            self.master.reactor.callLater(LINGER_SECONDS, self._exit)
        await super().stopService()

    def _is_cut_off(self) -> bool:
        """Whether Buildbot has lost the router, which it does not come back from."""
        router = self.master.wamp.service
        return router is not None and not router.is_attached()

    async def _end_cut_off(self) -> None:
        """Buildbot stops its master then, and the process stays: without pages, or for ever waiting for a build whose
        end nobody can tell it (4.3.0, `wamp/connector.py`). Nobody would start it anew.
        """
        LOG.error("the router is gone, and with it Buildbot's message queue: this buildmaster ends")
        self.leads = False
        self._look_no_more()
        try:
            await self.master.service_manager.namedServices[ServiceName.OUTAGES].stopService()
        finally:
            self.master.reactor.callLater(LINGER_SECONDS, self._exit)

    def _exit(self) -> None:
        LOG.error("the buildmaster's process ends, to be started anew")
        os._exit(1)  # in order it would wait for what Buildbot has lost

    def _look_no_more(self) -> None:
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.stop()

    async def _look(self) -> None:
        if self._is_cut_off():
            await self._end_cut_off()
            return
        try:
            if self._session is not None and self._session.closed:
                raise SessionLost(node=self._state.label)
            if self._session is None:
                self._session = await self._connect()
            if not self.leads:
                await self._follow(self._session)
            elif self._lost_at is not None:
                await self._regain(self._session)
            else:
                await self._session.execute("SELECT 1")
        except Exception as error:  # whatever the driver or the network raises: the next look may succeed
            self._lose(error)

    async def _connect(self) -> Node:
        return await connect(self._state, application_name="fastdowntime buildmaster", connect_seconds=ANSWER_SECONDS,
                             statement_timeout_seconds=ANSWER_SECONDS, reactor=self.master.reactor)

    async def _follow(self, session: Node) -> None:
        if not self._is_complete():
            return  # the services that would have to be told are being started
        self._said = ""
        now = self.master.reactor.seconds()
        if (await session.execute(SELECT_HELD)).scalar:
            self._free_since = None
            return
        self._free_since = self._free_since if self._free_since is not None else now
        last = await self._last_leader()
        its_turn = last in (None, self.master.masterid) or now - self._free_since >= PATIENCE_SECONDS
        if its_turn and (await session.execute(TAKE)).scalar:
            await self._within(CLEAR_SECONDS, self._begin(last))

    async def _regain(self, session: Node) -> None:
        last = await self._last_leader()
        if last != self.master.masterid or not (await session.execute(TAKE)).scalar:
            raise LeaseLost(node=self._state.label, taken=last != self.master.masterid)
        self._lost_at = None
        self._said = ""
        LOG.info("the lease is ours again")

    async def _begin(self, last: int | None) -> None:
        """Everything that the leader before has left behind is in order before anybody is told."""
        await succession.clear_up(self.master, last)
        await self._drawer.put(LEADER, self.master.masterid)
        self.leads = True
        LOG.info("this buildmaster leads from now on")
        for service in list(self.master.service_manager.namedServices.values()):
            if hasattr(service, "lead"):
                service.lead()
        self.master.botmaster.maybeStartBuildsForAllBuilders()

    async def _last_leader(self) -> int | None:
        return await self._within(ANSWER_SECONDS, self._drawer.get(LEADER))

    async def _within(self, seconds: float, work: Coroutine[Any, Any, T]) -> T:
        """Buildbot's own sessions have no deadline: over one that is dead nobody must hold the lease, or miss its loss.

        Raises Twisted's TimeoutError.
        """
        answer: T = await Deferred.fromCoroutine(work).addTimeout(seconds, self.master.reactor)
        return answer

    def _is_complete(self) -> bool:
        return set(self.master.config.services) <= set(self.master.service_manager.namedServices)

    def _lose(self, error: Exception) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
        if str(error) != self._said:
            self._said = str(error)
            LOG.warn("the lease on the state database: {error}", error=error)
        if not self.leads:
            return
        now = self.master.reactor.seconds()
        self._lost_at = self._lost_at if self._lost_at is not None else now
        if (isinstance(error, LeaseLost) and error.facts["taken"]) or now - self._lost_at > REGAIN_SECONDS:
            self._abdicate()

    def _abdicate(self) -> None:
        """As by `buildbot stop`: what is under way is ended, databases are opened, and a supervisor starts it anew."""
        LOG.error("this buildmaster has lost its lease, and ends: another one leads, or will")
        self.leads = False
        self._look_no_more()
        os.kill(os.getpid(), signal.SIGTERM)

    @property
    def _drawer(self) -> Drawer:
        return Drawer(self.master, self.name)


class SessionLost(errors.NodeError):
    """The server, or somebody between, has ended it while nothing was asked."""

    happened = "{node}: the session that holds the lease has ended"
    next_step = "nothing: it is opened again"


class LeaseLost(errors.NodeError):
    """Another session holds it: `taken` where another master has led since, else perhaps a dead one of our own."""

    happened = "{node}: the lease is held by another session"
    next_step = "look into the logs of the other buildmasters"

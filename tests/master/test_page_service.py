"""The service that serves the pages, in threads of their own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from threading import Event, current_thread
from typing import Any

from buildbot.test.util.integration import RunMasterBase
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, readBody
from twisted.web.resource import Resource
from twisted.web.server import Site

from downtime.settings import Settings
from master.journal import Journal
from master.page_service import BUSY, MOST_AT_ONCE, QUIET, STATUS, THREADS, Bounded, Pages, Threads
from master.web import add_web
from tests.builders import until
from tests.master.pages.told import with_windows
from tests.master.settings_for_tests import a_settings

REACTORS_THREADS = 10  # Twisted's default


async def fetch(port: int, path: str = "") -> tuple[int, bytes]:
    answer = await Agent(reactor).request(b"GET", f"http://127.0.0.1:{port}/{path}".encode())
    return answer.code, await readBody(answer)


class SlowPages(TestCase):  # type: ignore[misc]
    """Served without a buildmaster: a page that takes as long as the test wants."""

    def setUp(self) -> None:
        self.go_on, self.served_by = Event(), set[str]()
        self.addCleanup(self.go_on.set)
        self.threads = Threads(reactor)
        self.addCleanup(self.threads.stop)
        root = Resource()
        for path in (b"", STATUS):
            root.putChild(path, Bounded(reactor, self.threads, self._page))
        port: Any = reactor.listenTCP(0, Site(root), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port

    def _page(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.served_by.add(current_thread().name)
        self.go_on.wait(60)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"here it is"]

    def ask(self, count: int) -> list[Any]:
        return [Deferred.fromCoroutine(fetch(self.port)) for _ in range(count)]

    async def test_visitors_do_not_keep_a_deployment_from_the_threads_that_it_needs(self) -> None:
        """However many slow pages are asked for, the reactor's threads are free: names are resolved there."""

        asked = self.ask(2 * REACTORS_THREADS)
        await until(lambda: self.threads.under_way == len(asked), "all requests")
        self.assertEqual(await deferToThread(lambda: "resolved"), "resolved")
        self.go_on.set()
        for answer in await DeferredList(asked):
            self.assertEqual(answer, (True, (200, b"here it is")))
        await until(lambda: self.threads.under_way == 0, "the count")
        self.assertLessEqual(len(self.served_by), THREADS)

    async def test_a_crowd_is_sent_away_and_the_others_are_served(self) -> None:
        """With a sentence and a status that says when to come back; what waits already keeps its place."""

        asked = self.ask(MOST_AT_ONCE)
        await until(lambda: self.threads.under_way == MOST_AT_ONCE, "all requests")
        self.assertEqual(await fetch(self.port), (503, BUSY))
        self.go_on.set()
        self.assertEqual({answer for _, answer in await DeferredList(asked)}, {(200, b"here it is")})
        await until(lambda: self.threads.under_way == 0, "the count")
        self.assertEqual((await fetch(self.port))[0], 200)


    async def test_no_page_is_made_while_a_database_is_closed(self) -> None:
        """It would share the processor with the outage; what a 503 page asks is answered all the same."""

        self.go_on.set()
        self.threads.quiet_until = reactor.seconds() + 60  # type: ignore[attr-defined]
        sent_away = await fetch(self.port)
        status = await fetch(self.port, STATUS.decode())
        self.threads.quiet_until = 0.0
        self.assertEqual(sent_away, (503, QUIET))
        self.assertEqual(status, (200, b"here it is"))
        self.assertEqual((await fetch(self.port))[0], 200)


class ThePagesOfAMaster(RunMasterBase):
    """In a real master."""

    async def start(self, settings: Settings) -> Pages:
        config: dict[str, Any] = {"services": [Pages(settings=settings), Journal()], "multiMaster": True, "www": {}}
        add_web(config, settings)
        await self.setup_master(config, startWorker=False)
        found: Pages = self.master.service_manager.namedServices[Pages.name]
        await until(lambda: found.serving, "the pages")
        return found

    async def board(self) -> str:
        status, page = await fetch(self.master.www.getPortnum(), "plugins/wsgi_dashboards/deployments/board")
        self.assertEqual(status, 200)
        return page.decode()

    async def test_new_settings_show_on_the_pages(self) -> None:
        """Buildbot itself would go on to show those of its start: windows that there are not any more."""

        pages = await self.start(a_settings(Path.cwd()))
        self.assertIn("There are no windows", await self.board())
        pages.reconfigService(with_windows(Path.cwd()))
        self.assertIn("Next window", await self.board())

    async def test_a_page_that_waits_does_not_keep_the_master_from_stopping(self) -> None:
        """It is given up; it has only read."""

        pages = await self.start(a_settings(Path.cwd()))
        threads, go_on = pages._threads, Event()
        assert threads is not None
        self.addCleanup(go_on.set)
        threads.callInThread(lambda: go_on.wait(60))
        await pages.disownServiceParent()
        self.assertFalse(pages.running)

    async def test_an_outage_waits_a_moment_for_the_pages_under_way(self) -> None:
        """And for no page any longer than that."""

        pages = await self.start(a_settings(Path.cwd()))
        threads, go_on = pages._threads, Event()
        assert threads is not None
        self.addCleanup(go_on.set)
        threads.callInThread(lambda: go_on.wait(60))
        hushing = Deferred.fromCoroutine(pages.hush())
        waited = not hushing.called
        self.assertTrue(threads.quiet)
        go_on.set()
        await hushing
        self.assertTrue(waited)
        self.assertEqual(threads.under_way, 0)
        stuck = Event()
        self.addCleanup(stuck.set)
        threads.callInThread(lambda: stuck.wait(60))
        await pages.hush()
        self.assertEqual(threads.under_way, 1)
        pages.speak()
        self.assertFalse(threads.quiet)

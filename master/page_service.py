"""The service that serves the pages, in a few threads of their own and with the settings as they are now.

Buildbot's plugin runs them in the reactor's ten threads, where a deployment resolves host names and parses patches:
ten visitors with slow pages would make it wait, and a database that has to be reopened with it. The plugin also keeps
the pages of the first configuration. So this service takes the place below the plugin's address; until it has,
the plugin serves them as it is used to.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any

from buildbot.util.service import BuildbotService
from twisted.internet.task import deferLater
from twisted.python.threadpool import ThreadPool
from twisted.web.wsgi import WSGIResource

from downtime.settings import Settings
from master.pages.application import application
from master.pages.source import MasterSource
from master.web import DASHBOARDS, DEPLOYMENTS
from steps.shared.names import ServiceName

THREADS = 3          # more: they share the one processor of the reactor; fewer: a slow git keeps everybody waiting
MOST_AT_ONCE = 60    # requests in the threads or waiting for one: some seconds of work
COME_BACK_SECONDS = 5
JOIN_SECONDS = 0.1   # until the web side is there: Buildbot begins it after the services
QUIET_SECONDS = 2.0  # shorter: pages share the processor with an outage; longer: nobody sees how a slow patch goes
LAST_WORDS_SECONDS = 0.3  # for the pages under way to come to their end before an outage begins
STATUS = b"status.json"   # costs next to nothing, and is asked for by those whom the outage concerns
QUIET = (b"<!DOCTYPE html><html lang=en><meta charset=utf-8><title>Deploying</title><h1>Deploying</h1>"
         b"<p>A database is being changed at this moment. This page comes back by itself in a second.</p></html>")
BUSY = b"The buildmaster has too many visitors at this moment. Try again in some seconds.\n"


class Pages(BuildbotService):  # type: ignore[misc]
    """Puts the pages below the address of Buildbot's plugin, anew with each configuration."""

    name = ServiceName.PAGES.value

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._threads: Threads | None = None
        self._joining: Any = None
        self.serving: Settings | None = None  # those that the pages are shown by

    def reconfigService(self, settings: Settings) -> None:
        self._settings = settings
        if self._threads is not None and self._joining is None:
            self._serve()

    async def startService(self) -> None:
        await super().startService()
        self._threads = Threads(self.master.reactor)
        self._serve()

    async def stopService(self) -> None:
        if self._joining is not None:
            self._joining.cancel()
            self._joining = None
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.stop()
        await super().stopService()

    async def hush(self) -> None:
        """An outage is about to begin: it shares no processor with pages. Returns when none is under way."""
        threads, clock = self._threads, self.master.reactor
        if threads is None:
            return
        threads.quiet_until = clock.seconds() + QUIET_SECONDS
        deadline = clock.seconds() + LAST_WORDS_SECONDS
        while threads.under_way and clock.seconds() < deadline:
            await deferLater(clock, 0.005)

    def speak(self) -> None:
        """It is over, or there was none."""
        if self._threads is not None:
            self._threads.quiet_until = 0.0

    def _serve(self) -> None:
        self._joining = None
        assert self._threads is not None, "it was started"
        if self.master.www.site is None:
            self._joining = self.master.reactor.callLater(JOIN_SECONDS, self._serve)
            return
        pages = application(MasterSource(self._settings, lambda: self.master))
        plugin = self.master.www.apps.get(DASHBOARDS)
        plugin.resource.putChild(DEPLOYMENTS.encode(), Bounded(self.master.reactor, self._threads, pages))
        self.serving = self._settings


class Threads:
    """What `WSGIResource` asks of a pool of threads, and a count of what is under way."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(0, THREADS, "pages")
        # a page that waits for the reactor while that ends must not keep the process
        as_daemons: Any = partial(Thread, daemon=True)
        self._pool.threadFactory = as_daemons
        self._pool.start()
        self.under_way = 0      # requests in a thread or waiting for one
        self.quiet_until = 0.0  # on the reactor's clock

    @property
    def quiet(self) -> bool:
        return bool(self._reactor.seconds() < self.quiet_until)

    def callInThread(self, work: Callable[[], object]) -> None:
        """Returns at once; called in the reactor's thread."""
        self.under_way += 1
        self._pool.callInThreadWithCallback(lambda *_: self._reactor.callFromThread(self._done), work)

    def stop(self) -> None:
        """Returns at once: stopping waits for the threads, and they may be waiting for the reactor."""
        Thread(target=self._pool.stop, daemon=True).start()

    def _done(self) -> None:
        self.under_way -= 1


class Bounded(WSGIResource):
    """Sends visitors away while too many are waiting, or a database is closed, without taking a thread for that."""

    def __init__(self, reactor: Any, threads: Threads, pages: Any) -> None:
        super().__init__(reactor, threads, pages)  # type: ignore[no-untyped-call]
        self._threads = threads

    def render(self, request: Any) -> Any:
        if self._threads.quiet and not request.path.endswith(b"/" + STATUS):
            request.setHeader("Refresh", "1")
            return _sent_away(request, QUIET, "text/html; charset=utf-8", seconds=1)
        if self._threads.under_way >= MOST_AT_ONCE:
            return _sent_away(request, BUSY, "text/plain; charset=utf-8", seconds=COME_BACK_SECONDS)
        return super().render(request)  # type: ignore[no-untyped-call]


def _sent_away(request: Any, words: bytes, content_type: str, *, seconds: int) -> bytes:
    request.setResponseCode(503)
    request.setHeader("Retry-After", str(seconds))
    request.setHeader("Cache-Control", "no-store")
    request.setHeader("Content-Security-Policy", "default-src 'none'; frame-ancestors 'self'")
    request.setHeader("Content-Type", content_type)
    return words

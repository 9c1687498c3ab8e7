"""The service that tells people and programs what becomes of deployments: by mail, by webhook, by a command.

It only listens to the journal, and puts what it hears aside at once: no deployment waits for a notice, and while a
database has just been closed not even a text is made. Only what happens from now on is told. What has to be told at
some time is looked for again and again among the journeys, so that a restart neither repeats nor forgets it.
"""

from __future__ import annotations

from typing import Any, cast

from buildbot.util.service import BuildbotService
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from downtime.history.events import Event
from downtime.settings import Settings
from master import leadership
from master.announcing.desk import Desk
from master.announcing.line import LineState
from master.journal import Journal

LOG = Logger()

LOOK_SECONDS = 5.0   # between looks for what is due: so much later "in 5 minutes" is told at most
JOIN_SECONDS = 0.1   # until the journal is there: Buildbot starts its services in any order


class Announcer(BuildbotService):  # type: ignore[misc]
    """Tells what the settings want told to whom."""

    name = "fastdowntime-announcer"

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._journal: Journal | None = None
        self._desk: Desk | None = None
        self._joining: Any = None
        self._looking: LoopingCall | None = None

    def reconfigService(self, settings: Settings) -> None:
        self._settings = settings
        if self._desk is not None:  # what is on its way by the old settings has a moment to get there
            self._desk.look()
            Deferred.fromCoroutine(self._desk.close()).addErrback(lambda why: LOG.failure("closing", failure=why))
            self._open()

    async def startService(self) -> None:
        await super().startService()
        self._join()

    async def stopService(self) -> None:
        if self._joining is not None:
            self._joining.cancel()
            self._joining = None
        if self._looking is not None:
            self._looking.stop()
            self._looking = None
        desk, self._desk = self._desk, None
        if desk is not None:
            await desk.close()
        await super().stopService()

    def state(self) -> tuple[LineState, ...]:
        """How each receiver does."""
        return self._desk.state if self._desk is not None else ()

    def _join(self) -> None:
        self._joining = None
        journal = cast("Journal | None", self.master.service_manager.namedServices.get(Journal.name))
        if journal is None:
            self._joining = self.master.reactor.callLater(JOIN_SECONDS, self._join)
            return
        if journal is not self._journal:
            self._journal = journal
            journal.listen(self._hear)
        self._open()
        self._looking = LoopingCall(self._look)
        self._looking.clock = self.master.reactor
        self._looking.start(LOOK_SECONDS, now=False)

    def _open(self) -> None:
        assert self._journal is not None, "it was joined"
        self._desk = Desk(self._settings, self._journal, url=lambda: str(self.master.config.buildbotURL),
                          reactor=self.master.reactor)

    def _hear(self, event: Event) -> None:
        journey = self._journal.journey(event.patch_id) if self._journal is not None else None
        if self._desk is not None and journey is not None and leadership.leads(self.master):
            self._desk.hear(event, journey)

    def _look(self) -> None:
        try:
            if self._desk is not None and leadership.leads(self.master):
                self._desk.look()
        except Exception:  # the next look may succeed; a loop that has ended tells nobody anything
            LOG.failure("looking for what is due")

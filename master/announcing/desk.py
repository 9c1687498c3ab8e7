"""Where what was heard becomes notices, and notices go to the lines of those who want them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from downtime.announcements import due, telling
from downtime.announcements.notice import Notice
from downtime.history.events import Closed, Ended, Event, Planned
from downtime.history.journey import Journey
from downtime.settings import Settings
from downtime.settings.notices import Notices
from master.announcing.hold import Hold
from master.announcing.hook import HookReceiver
from master.announcing.line import Line, LineState
from master.announcing.mail import MailReceiver
from master.announcing.receiver import Receiver
from master.announcing.webhook import WebhookReceiver

LOG = Logger()

LAST_WORDS_SECONDS = 2.0  # for deliveries when the master stops


class History(Protocol):
    """What is asked of the journal."""

    def journeys(self) -> Mapping[str, Journey]: ...

    def events(self) -> tuple[Event, ...]: ...


class Desk:
    """Works by one set of settings."""

    def __init__(self, settings: Settings, history: History, *, url: Callable[[], str], reactor: Any,
                 receivers: Iterable[Receiver] | None = None) -> None:
        """`url` gives the buildmaster's address as it is now; without `receivers` there are those of the settings."""
        self._settings = settings
        self._history = history
        self._url = url
        self._reactor = reactor
        self._hold = Hold(reactor)
        given = _receivers(settings.notices, reactor) if receivers is None else receivers
        self._lines = tuple(Line(receiver, reactor=reactor, hold=self._hold) for receiver in given)
        self._heard: deque[tuple[Event, Journey]] = deque()
        self._telling: Deferred[None] | None = None
        self._looked_at = self._now()

    @property
    def state(self) -> tuple[LineState, ...]:
        return tuple(line.state for line in self._lines)

    def hear(self, event: Event, journey: Journey) -> None:
        """Put it aside; returns at once, and raises nothing. `journey` already has the event."""
        self._heard.append((event, journey))
        if isinstance(event, Closed):
            self._hold.begin(event.request_id)
        elif isinstance(event, Ended):
            self._hold.end(event.request_id)
        if self._telling is None:
            self._telling = Deferred.fromCoroutine(self._tell_later())
            self._telling.addErrback(lambda why: LOG.failure("telling", failure=why))

    def look(self) -> None:
        """Tell what has become due since the last look. While a database has just been closed, the next look does."""
        if self._hold.held:
            return
        since, self._looked_at = self._looked_at, self._now()
        for journey in self._history.journeys().values():
            for notice in due.due(
                    journey, since, self._looked_at, closing_minutes=self._settings.notices.closing_minutes,
                    overdue_hours=self._settings.approval.overdue_hours, url=self._url()):
                self._put(notice)

    async def close(self) -> None:
        """What was heard is still told, in 2 s or not at all."""
        self._hold.release()
        self._tell()
        await DeferredList([Deferred.fromCoroutine(line.close(LAST_WORDS_SECONDS)) for line in self._lines])

    async def _tell_later(self) -> None:
        """In another turn of the reactor: whoever made the event goes on first."""
        turn: Deferred[None] = Deferred()
        self._reactor.callLater(0, turn.callback, None)
        await turn
        await self._hold.over()
        self._telling = None
        self._tell()

    def _tell(self) -> None:
        while self._heard:
            event, journey = self._heard.popleft()
            try:
                notice = self._notice(event, journey)
            except Exception:  # of one event: the others are told all the same
                LOG.failure("making a notice of {kind}", kind=event.kind)
                continue
            if notice is not None:
                self._put(notice)

    def _notice(self, event: Event, journey: Journey) -> Notice | None:
        announced = (telling.announced_before(self._history.events(), event) if isinstance(event, Planned) else None)
        return telling.notice(event, journey, url=self._url(), announced=announced)

    def _put(self, notice: Notice) -> None:
        for line in self._lines:
            line.put(notice)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._reactor.seconds(), UTC)


def _receivers(notices: Notices, reactor: Any) -> Iterator[Receiver]:
    if notices.mail is not None:
        yield MailReceiver(notices.mail, reactor=reactor)
    for webhook in notices.webhooks:
        yield WebhookReceiver(webhook, reactor=reactor)
    for number, hook in enumerate(notices.commands):
        yield HookReceiver(hook, number=number, reactor=reactor)

"""To a program: the notice as JSON over HTTP, signed."""

from __future__ import annotations

import json
from typing import Any

from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers

from downtime.announcements import signing
from downtime.announcements.kinds import Kind
from downtime.announcements.notice import Notice, to_json
from downtime.printable import cut, printable
from downtime.settings.notices import Webhook
from master.announcing.receiver import NotDelivered, TryAgain, within

# besides 5xx: the server asks for another try
LATER = (408, 429)  # Request Timeout, Too Many Requests

LONGEST_PROBLEM = 200  # characters of what a library says went wrong


class WebhookReceiver:
    """Never follows a redirect: the signature is for the address that the settings name."""

    def __init__(self, about: Webhook, *, reactor: Any) -> None:
        self._about = about
        self._reactor = reactor
        # no connection is kept: the next notice may be days away
        agent: Any = Agent(reactor, connectTimeout=about.deadline_seconds,
                      pool=HTTPConnectionPool(reactor, persistent=False))
        self._client = HTTPClient(agent)

    @property
    def name(self) -> str:
        return f"webhook {self._about.shown}"

    def wants(self, kind: Kind) -> bool:
        return self._about.wants(kind)

    async def deliver(self, notice: Notice) -> None:
        asked = Deferred.fromCoroutine(self._post(notice))
        try:
            status = await within(self._about.deadline_seconds, asked, self._reactor)
        except TimeoutError:
            raise TryAgain(f"no answer within {self._about.deadline_seconds:g} s") from None
        except CancelledError:
            raise
        except Exception as error:  # treq, Twisted and OpenSSL have one each for every way a connection can end
            raise TryAgain(f"no answer: {_worded(error)}") from None
        if not 200 <= status < 300:
            _refuse(status)

    async def _post(self, notice: Notice) -> int:
        body = json.dumps(to_json(notice), ensure_ascii=False).encode("utf-8", "replace")
        response = await self._client.request(
            "POST", self._about.url, headers=self._headers(notice, body), data=body, allow_redirects=False,
            unbuffered=True)
        response.deliverBody(_Unread())
        status: int = response.code
        return status

    def _headers(self, notice: Notice, body: bytes) -> Headers:
        headers = Headers({"Content-Type": ["application/json"], "User-Agent": ["fast-downtime"],
                           "X-Fastdowntime-Id": [notice.id]})
        if self._about.secret_file is not None:
            headers.addRawHeader(signing.HEADER, signing.signature(
                body, secret=self._about.secret_file.secret, at=int(self._reactor.seconds())))
        return headers


class _Unread(Protocol):
    """The status says all: a body, however long, is not waited for."""

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.loseConnection()


def _refuse(status: int) -> None:
    if 300 <= status < 400:
        raise NotDelivered(f"answered {status}, a redirect; write the new address into the settings")
    if status >= 500 or status in LATER:
        raise TryAgain(f"answered {status}")
    raise NotDelivered(f"answered {status}")


def _worded(error: Exception) -> str:
    reasons = getattr(error, "reasons", None)  # of the responses that never came
    if isinstance(reasons, list) and reasons and isinstance(reasons[0], Failure):
        error = reasons[0].value if isinstance(reasons[0].value, Exception) else error
    return cut(printable(f"{type(error).__name__} {error}".strip()).replace("\n", " "), LONGEST_PROBLEM)

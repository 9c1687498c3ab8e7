"""Notices to a program: against a real web server."""

from __future__ import annotations

from pathlib import Path
from time import time

import pytest
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred

from downtime.announcements import signing
from downtime.announcements.notice import to_json
from downtime.settings.notices import Webhook
from downtime.settings.values import SecretFile
from master.announcing import line as line_module
from master.announcing.hold import Hold
from master.announcing.line import Line
from master.announcing.receiver import NotDelivered, TryAgain
from master.announcing.webhook import WebhookReceiver
from tests.builders import until
from tests.master.announcing.notices import a_notice
from tests.master.announcing.servers import HANG, Web, web

SECRET = SecretFile(path=Path("secret"), secret="s3cret", open_to_others=False)


def a_webhook(url: str, *, deadline_seconds: float = 10, secret: SecretFile | None = SECRET) -> WebhookReceiver:
    about = Webhook.model_construct(url=url, secret_file=secret, kinds=None, deadline_seconds=deadline_seconds)
    return WebhookReceiver(about, reactor=reactor)


async def test_a_notice_arrives_as_signed_json() -> None:
    """The receiver can trust every byte of it."""

    async with web() as server:
        notice = a_notice(reason="weiß nicht\u2028")
        await a_webhook(server.url).deliver(notice)
        (received,) = server.received
    assert received.document == to_json(notice)
    assert received.headers["content-type"] == "application/json"
    assert received.headers["x-fastdowntime-id"] == notice.id
    assert signing.verifies(received.headers["x-fastdowntime-signature"], received.body, secret="s3cret",
                            now=int(time()))


async def test_without_a_secret_nothing_is_signed() -> None:
    """An empty secret would look like a signature."""

    async with web() as server:
        await a_webhook(server.url, secret=None).deliver(a_notice())
        assert "x-fastdowntime-signature" not in server.received[0].headers


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_a_server_that_is_busy_or_broken_is_asked_again(status: int) -> None:
    """It may work in a minute."""

    async with web(status) as server:
        with pytest.raises(TryAgain, match=f"answered {status}"):
            await a_webhook(server.url).deliver(a_notice())


@pytest.mark.parametrize("status", [400, 401, 404, 410])
async def test_a_server_that_says_no_is_not_asked_again(status: int) -> None:
    """It would say no again."""

    async with web(status) as server:
        with pytest.raises(NotDelivered, match=f"answered {status}") as caught:
            await a_webhook(server.url).deliver(a_notice())
    assert not isinstance(caught.value, TryAgain)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_never_followed(status: int) -> None:
    """The signed notice would reach whomever the server names."""

    async with web() as other, web(status, redirect_to=other.url) as server:
        with pytest.raises(NotDelivered, match=f"answered {status}, a redirect"):
            await a_webhook(server.url).deliver(a_notice())
        assert (len(server.received), other.received) == (1, [])


async def test_a_server_that_hangs_costs_its_deadline() -> None:
    """And is asked again."""

    async with web(HANG) as server:
        with pytest.raises(TryAgain, match=r"no answer within 0\.2 s"):
            await a_webhook(server.url, deadline_seconds=0.2).deliver(a_notice())


async def test_a_server_that_is_not_there_is_asked_again() -> None:
    """It is being restarted; the sentence says why nothing came."""

    async with web() as server:
        url = server.url
    with pytest.raises(TryAgain, match="refused"):
        await a_webhook(url).deliver(a_notice())


async def test_a_delivery_can_be_cancelled() -> None:
    """The master stops; no connection is left."""

    async with web(HANG) as server:
        delivery = Deferred.fromCoroutine(a_webhook(server.url).deliver(a_notice()))
        await until(lambda: server.received, "the request")
        delivery.cancel()
        with pytest.raises(CancelledError):
            await delivery


async def test_one_that_was_busy_gets_its_notice_and_a_new_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    """The very same document, so that a receiver can tell it is the same."""

    monkeypatch.setattr(line_module, "PAUSES_SECONDS", (0.01,) * 5)
    async with web(429, 503, 200) as server:
        line = Line(a_webhook(server.url), reactor=reactor, hold=Hold(reactor))
        line.put(a_notice())
        await until(lambda: line.state.delivered, "the delivery")
        assert len({received.body for received in server.received}) == 1
        assert len(server.received) == 3


async def test_a_slow_receiver_delays_no_other() -> None:
    """Each has a line of its own."""

    async with web(HANG) as slow, web() as quick:
        lines = [Line(a_webhook(server.url, deadline_seconds=5), reactor=reactor, hold=Hold(reactor))
                 for server in (slow, quick)]
        for number in range(3):
            for line in lines:
                line.put(a_notice(patch_id=f"patch-{number}"))
        await until(lambda: lines[1].state.delivered == 3, "the quick one")
        assert _patches(quick) == ["patch-0", "patch-1", "patch-2"]
        assert lines[0].state.waiting == 3
        await lines[0].close(0)


def test_its_name_has_no_secret() -> None:
    """Some services put a token into the path."""

    receiver = a_webhook("https://hooks.example.org/services/T0KEN?key=T0KEN")
    assert receiver.name == "webhook https://hooks.example.org/…"


def _patches(server: Web) -> list[str]:
    return [received.document["patch"] for received in server.received]

"""Real servers that receive notices: a web server that answers as told, and a mail relay. On ports of their own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import succeed
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.internet.tcp import Connection
from twisted.mail import smtp
from twisted.protocols.policies import WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer

from tests.builders import pause, until

HANG = 0  # in place of a status: the request is never answered


@dataclass(slots=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class Web(Resource):
    """Answers each request with the next of these statuses; the last one again and again."""

    isLeaf = True

    def __init__(self, statuses: Sequence[int], redirect_to: str = "") -> None:
        super().__init__()
        self.statuses = list(statuses)
        self.redirect_to = redirect_to
        self.received: list[Received] = []
        self.url = ""

    def render(self, request: Any) -> Any:
        headers = {name.decode().lower(): values[0].decode()
                   for name, values in request.requestHeaders.getAllRawHeaders()}
        self.received.append(Received(request.path.decode(), headers, request.content.read()))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status == HANG:
            return NOT_DONE_YET
        request.setResponseCode(status)
        if self.redirect_to:
            request.setHeader("Location", self.redirect_to)
        return b"x" * 100_000


@asynccontextmanager
async def web(*statuses: int, redirect_to: str = "") -> AsyncIterator[Web]:
    found = Web(statuses or (200,), redirect_to)
    async with _listening(Site(found)) as port:
        found.url = f"http://127.0.0.1:{port}/notices"
        yield found


@dataclass(slots=True)
class Relay:
    """What a mail relay has taken, and whom it does not take mail for."""

    port: int = 0
    refused: tuple[str, ...] = ()
    broken: str = ""  # the answer to a message, in place of taking it
    mails: list[tuple[tuple[str, ...], str]] = field(default_factory=list)  # recipients, and the mail as it came


@implementer(smtp.IMessage)
class _Message:
    def __init__(self, relay: Relay, recipients: list[str]) -> None:
        self.relay, self.recipients, self.lines = relay, recipients, list[bytes]()

    def lineReceived(self, line: bytes) -> None:
        self.lines.append(line)

    def eomReceived(self) -> Any:
        self.relay.mails.append((tuple(self.recipients), b"\n".join(self.lines).decode()))
        self.recipients.clear()
        return succeed(None)

    def connectionLost(self) -> None:
        self.lines.clear()


@implementer(smtp.IMessageDelivery)
class _Delivery:
    def __init__(self, relay: Relay) -> None:
        self.relay, self.recipients = relay, list[str]()

    def receivedHeader(self, helo: Any, origin: Any, recipients: Any) -> bytes:
        return b""

    def validateFrom(self, helo: Any, origin: Any) -> Any:
        if self.relay.broken:
            code, _, words = self.relay.broken.partition(" ")
            raise smtp.SMTPServerError(int(code), words)
        return origin

    def validateTo(self, user: Any) -> Callable[[], Any]:
        address = str(user.dest)
        if address in self.relay.refused:
            raise smtp.SMTPBadRcpt(user)
        self.recipients.append(address)
        # one message for all of them: the protocol asks for one for each
        return lambda: _Message(self.relay, self.recipients) if address == self.recipients[-1] else _Copy()


@implementer(smtp.IMessage)
class _Copy:
    def lineReceived(self, line: bytes) -> None: ...

    def eomReceived(self) -> Any:
        return succeed(None)

    def connectionLost(self) -> None: ...


class _RelayFactory(smtp.SMTPFactory):
    protocol = smtp.ESMTP

    def __init__(self, relay: Relay, context: Any = None) -> None:
        super().__init__()
        self.relay = relay
        self.context = context

    def buildProtocol(self, addr: Any) -> Any:
        protocol = super().buildProtocol(addr)
        protocol.delivery = _Delivery(self.relay)
        protocol.ctx = self.context  # with one it offers STARTTLS
        return protocol


@asynccontextmanager
async def relay(*, refused: tuple[str, ...] = (), broken: str = "") -> AsyncIterator[Relay]:
    found = Relay(refused=refused, broken=broken)
    async with _listening(_RelayFactory(found)) as port:
        found.port = port
        yield found


@asynccontextmanager
async def encrypting_relay(folder: Path, *, at_once: bool) -> AsyncIterator[tuple[Relay, Path]]:
    """One with TLS, from the beginning or when asked; and its certificate for 127.0.0.1, which nobody trusts yet."""
    found, certificate = Relay(), folder / "relay.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{folder}/relay.key", "-out",
         str(certificate), "-days", "2", "-subj", "/CN=relay", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True)
    context = DefaultOpenSSLContextFactory(f"{folder}/relay.key", str(certificate))
    factory = _RelayFactory(found, None if at_once else context)
    async with _listening(TLSMemoryBIOFactory(context, False, factory) if at_once else factory) as port:
        found.port = port
        yield found, certificate


@asynccontextmanager
async def silence() -> AsyncIterator[int]:
    """The port of a server that takes connections and never says a word."""
    async with _listening(Factory.forProtocol(Protocol)) as port:
        yield port


@asynccontextmanager
async def _listening(factory: Any) -> AsyncIterator[int]:
    """The port; afterwards no connection is left at either end."""
    before, wrapping = _open(), WrappingFactory(factory)
    listening: Any = reactor.listenTCP(0, wrapping, interface="127.0.0.1")  # type: ignore[attr-defined]
    try:
        yield listening.getHost().port
    finally:
        await listening.stopListening()
        for protocol in list(wrapping.protocols):
            protocol.abortConnection()
        await until(lambda: _open() <= before, "all connections to end")
        await pause()  # what was aborted is told so in another turn of the reactor


def _open() -> set[Any]:
    """The connections of both ends; the reactor has more to look after."""
    selectables = (*reactor.getReaders(), *reactor.getWriters())  # type: ignore[attr-defined]
    return {each for each in selectables if isinstance(each, Connection)}

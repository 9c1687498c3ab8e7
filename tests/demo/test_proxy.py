"""The proxy that loses the network: what each side of a connection through it comes to know."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator

import pytest

from demo.proxy import Proxy

KEEPALIVE = {socket.TCP_KEEPIDLE: 1, socket.TCP_KEEPINTVL: 1, socket.TCP_KEEPCNT: 1}  # the kernel counts in seconds
MISSED_SECONDS = 30.0


@pytest.fixture
def ends() -> Iterator[tuple[Proxy, socket.socket, socket.socket]]:
    """A proxy, and the client's and the server's end of one connection through it."""
    with (socket.create_server(("127.0.0.1", 0)) as listener, Proxy(*listener.getsockname()) as proxy,
          socket.create_connection(("127.0.0.1", proxy.port)) as client):
        server, _ = listener.accept()
        with server:
            for end in (client, server):
                end.settimeout(MISSED_SECONDS)
            yield proxy, client, server


def test_a_cut_network_does_not_answer_keepalives(ends: tuple[Proxy, socket.socket, socket.socket]) -> None:
    """A server that asks whether its client is there comes to know that it is not, as with a machine that vanished."""
    proxy, _, server = ends
    server.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE.items():
        server.setsockopt(socket.IPPROTO_TCP, option, value)
    proxy.cut()
    with pytest.raises(TimeoutError) as missed:
        server.recv(1)

    assert missed.value.errno == errno.ETIMEDOUT, "the kernel's word, not our own patience"


def test_what_was_sent_into_a_cut_network_arrives_when_it_is_back(
        ends: tuple[Proxy, socket.socket, socket.socket]) -> None:
    """Late, complete and in order."""
    proxy, client, server = ends
    proxy.cut()
    client.sendall(b"one, ")
    client.sendall(b"two")
    server.settimeout(0.2)
    with contextlib.suppress(TimeoutError):
        assert server.recv(8) == b"", "nothing may arrive"
    proxy.restore()
    server.settimeout(MISSED_SECONDS)

    assert server.recv(8, socket.MSG_WAITALL) == b"one, two"

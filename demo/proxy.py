"""A TCP proxy that loses the network on demand: between a client and a server that both live on.

A killed process closes its sockets and the other side knows at once. A cut network says nothing: no FIN, no RST, and
no acknowledgement, which is what keepalives ask for. `cut()` makes that silence for everybody, `silence()` for the
connections there are; `restore()` ends it and delivers what was held back, as TCP does; `drop()` is the reset that
comes when a firewall has forgotten a connection.
`cut_before` and `cut_after` fall at a message: the COMMIT that never arrived, and the COMMIT whose answer got lost.

It runs in a thread of its own, so that blocking clients and reactors alike may talk through it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import selectors
import socket
import struct
import termios
import threading
import time
from dataclasses import dataclass, field
from typing import Self

CHUNK_BYTES = 65_536
RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time to linger: close() sends RST
ACKNOWLEDGED_SECONDS = 0.25  # a kernel delays its acknowledgement for 40 ms; one whose buffer is full gives none

# A socket filter of one instruction, "return 0": the kernel drops each packet before TCP sees it (Linux, no privilege).
SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
DROP_ALL = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
DEAF = struct.pack("HL", 1, ctypes.addressof(DROP_ALL))


@dataclass(slots=True, eq=False)
class _Pair:
    """One client and the connection made for it."""

    client: socket.socket
    server: socket.socket
    silent: bool = False
    to_server: bytearray = field(default_factory=bytearray)  # held back, or not yet taken
    to_client: bytearray = field(default_factory=bytearray)

    def deafen(self) -> None:
        """Nothing that either side sends is acknowledged from now on, and neither hears anything from us."""
        for sock in (self.client, self.server):
            _await_acknowledgement(sock)
            sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, DEAF)

    def hear(self) -> None:
        """Undo `deafen`."""
        for sock in (self.client, self.server):
            with contextlib.suppress(FileNotFoundError):  # was not deaf
                sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


class Proxy:
    """Listens on loopback from the moment it is made; end it with `close()`, or use it in a `with`."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._lock = threading.RLock()  # what the thread and its owner both touch
        self._pairs: list[_Pair] = []
        self._cut = False
        self._closed = False
        self._fatal: tuple[bytes, bool] | None = None  # a message of clients, and whether it still gets through
        self._fell = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name=f"proxy {self.port}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def has_fallen(self) -> bool:
        """Whether the message of `cut_before` or `cut_after` came by."""
        return self._fell.is_set()

    def cut(self) -> None:
        """Nothing gets through in either direction, for connections that there are and for those to come."""
        with self._lock:
            self._cut = True
            for pair in self._pairs:
                pair.deafen()

    def silence(self) -> None:
        """The connections that there are hear nothing more from each other; new ones get through."""
        with self._lock:
            for pair in self._pairs:
                pair.silent = True
                pair.deafen()

    def restore(self) -> None:
        """Everything gets through again, what was held back first."""
        with self._lock:
            self._cut = False
            for pair in self._pairs:
                pair.silent = False
                pair.hear()

    def drop(self) -> None:
        """Reset every connection, on both sides; what was held back is lost."""
        with self._lock:
            for pair in list(self._pairs):
                self._end(pair, reset=True)

    def lead_to(self, port: int) -> None:
        """From here on to another server of the same host, as an address that follows the primary; cuts everybody."""
        with self._lock:
            self._upstream = (self._upstream[0], port)
        self.drop()

    def cut_before(self, message: bytes) -> None:
        """Silence the connections when a client sends these bytes, which do not arrive."""
        with self._lock:
            self._fell.clear()
            self._fatal = (message, False)

    def cut_after(self, message: bytes) -> None:
        """Silence the connections when a client has sent these bytes, which arrive; the answer does not."""
        with self._lock:
            self._fell.clear()
            self._fatal = (message, True)

    def close(self) -> None:
        """End it and every connection through it; safe a second time."""
        self._closed = True
        self._thread.join()

    def _serve(self) -> None:
        with self._listener:
            while not self._closed:
                with self._lock:
                    ready = self._ready()
                    for sock, events in ready:
                        self._move(sock, events)
            self.drop()

    def _ready(self) -> list[tuple[socket.socket, int]]:
        """What can be read or written now among the connections that are not silent."""
        with selectors.DefaultSelector() as selector:
            if not self._cut:
                selector.register(self._listener, selectors.EVENT_READ)
            for pair in self._pairs:
                if not self._is_silent(pair):
                    selector.register(pair.client, _interest(pair.to_server, pair.to_client))
                    selector.register(pair.server, _interest(pair.to_client, pair.to_server))
            self._lock.release()  # the owner may cut while we wait
            try:
                found = selector.select(timeout=0.01)
            finally:
                self._lock.acquire()
            return [(key.fileobj, events) for key, events in found]  # type: ignore[misc]

    def _move(self, sock: socket.socket, events: int) -> None:
        if sock is self._listener:
            self._accept()
            return
        pair = next((each for each in self._pairs if sock in (each.client, each.server)), None)
        if pair is None or self._is_silent(pair):
            return  # ended or cut since we looked
        try:
            if events & selectors.EVENT_READ:
                self._read(pair, sock)
            self._write(pair)
        except BlockingIOError:
            return
        except OSError:
            self._end(pair)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(self._upstream, timeout=5)
        except OSError:
            client.close()
            return
        for each in (client, server):
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pairs.append(_Pair(client=client, server=server))

    def _read(self, pair: _Pair, sock: socket.socket) -> None:
        content = sock.recv(CHUNK_BYTES)
        if not content:
            self._end(pair)
            return
        if sock is pair.server:
            pair.to_client += content
            return
        pair.to_server += content
        if self._fatal is not None and self._fatal[0] in content:
            if self._fatal[1]:
                pair.server.sendall(bytes(pair.to_server))
                pair.to_server.clear()
            self._fatal = None
            self.silence()
            self._fell.set()

    def _write(self, pair: _Pair) -> None:
        if self._is_silent(pair) or pair not in self._pairs:
            return
        for buffer, sock in ((pair.to_server, pair.server), (pair.to_client, pair.client)):
            if buffer:
                del buffer[:sock.send(buffer)]

    def _is_silent(self, pair: _Pair) -> bool:
        return self._cut or pair.silent

    def _end(self, pair: _Pair, *, reset: bool = False) -> None:
        self._pairs.remove(pair)
        for sock in (pair.client, pair.server):
            with contextlib.suppress(OSError):
                if reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                sock.close()


def _await_acknowledgement(sock: socket.socket) -> None:
    """Let what was sent arrive: the kernel would send it again and again, which tells the other side that we live."""
    deadline = time.monotonic() + ACKNOWLEDGED_SECONDS
    while time.monotonic() < deadline:
        (unacknowledged,) = struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))
        if not unacknowledged:
            return
        time.sleep(0.001)


def _interest(to_other: bytearray, to_self: bytearray) -> int:
    """Read while the other side keeps up; write when there is something to write."""
    reading = selectors.EVENT_READ if len(to_other) < 16 * CHUNK_BYTES else 0
    return (reading | (selectors.EVENT_WRITE if to_self else 0)) or selectors.EVENT_WRITE

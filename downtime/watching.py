"""Keeps a watchdog beside a deployment that pauses poolers or standbys: our end of the process `downtime.watchdog`.

It is started before anything is paused and dismissed when everything goes on again. Its standard input ends with us,
whatever ends us, and that is how it learns of it; nobody else holds the other end of that pipe, because descriptors of
ours are closed in every program we start.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as Expired
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from downtime.errors import DowntimeError
from downtime.node import CONNECT_SECONDS
from downtime.rescue import Watched
from downtime.watchdog import DISMISS

LOG = Logger()

START_SECONDS = 3 * CONNECT_SECONDS  # two sessions at most, and a program to be loaded on a busy machine
DISMISS_SECONDS = 5.0                # it takes 10 ms; later than this the process is killed
KEPT_COMPLAINTS = 2000               # characters of what it last said

ROOT = Path(__file__).resolve().parent.parent


class WatchdogFailed(DowntimeError):
    """Without a watchdog nothing is paused: nobody would let it go on for a dead deployer."""

    happened = "the watchdog of {node} {reason}"
    next_step = "run the deployment again when that is put right"


class Watchdog:
    """One that is armed. Make it with `start`; end it with `dismiss`, or let it act with `leave`."""

    def __init__(self, process: _Process, pids: frozenset[int], reactor: Any) -> None:
        self.pids = pids  # of its sessions on the primary: not to be kicked
        self._process = process
        self._reactor = reactor

    @classmethod
    async def start(cls, watched: Watched, *, reactor: Any = None) -> Watchdog:
        """Returns when it has its sessions; nothing may be paused before. Raises WatchdogFailed."""
        if reactor is None:
            from twisted.internet import reactor
        process = _Process(watched.target.label)
        # with our environment: it has to reach what we reach, in the same way
        try:
            reactor.spawnProcess(process, sys.executable, [sys.executable, "-m", "downtime.watchdog"], env=None,
                                 path=str(ROOT), childFDs={0: "w", 1: "r", 2: "r"})
        except OSError as error:  # this machine has no room for one more
            raise WatchdogFailed(node=watched.target.label, reason=f"could not be started: {error}") from error
        process.write(json.dumps(watched.to_json()))
        armed = False
        try:
            answer = json.loads(await process.answer.addTimeout(START_SECONDS, reactor))
            if "armed" not in answer:
                raise WatchdogFailed(node=watched.target.label, reason=f"has no session: {answer.get('failed')}")
            armed = True
            return cls(process, frozenset(answer["armed"]), reactor)
        except Expired as error:
            raise WatchdogFailed(node=watched.target.label,
                                 reason=f"was not armed within {START_SECONDS:g} s") from error
        except (_Ended, ValueError) as error:
            raise WatchdogFailed(node=watched.target.label, reason=f"ended at once: {error}") from error
        finally:
            if not armed:
                process.kill()
                await process.end

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether its process is gone: it has acted, because the limit had passed, or was killed."""
        return self._process.end.called

    async def dismiss(self) -> None:
        """All is well: returns when the process is gone. It touches nothing, unless it had begun to."""
        self._process.awaited = True
        self._process.write(DISMISS)
        timer = self._reactor.callLater(DISMISS_SECONDS, self._process.kill)
        await self._process.end
        if timer.active():
            timer.cancel()

    async def leave(self) -> None:
        """Let it do what it would do if we were dead; returns when it has ended, after 10 min at the latest."""
        self._process.awaited = True
        self._process.close_input()
        await self._process.end


class _Ended(Exception):
    """The process is gone; with what it last said."""


class _Process(ProcessProtocol):
    """Its first line is an answer; what it says on standard error goes to our log."""

    transport: Any  # zope's interfaces say nothing to type checkers

    def __init__(self, node: str) -> None:
        self.answer: Deferred[str] = Deferred()
        self.end: Deferred[None] = Deferred()
        self.pid = 0
        self.awaited = False  # its end
        self._node = node
        self._said = self._buffer = b""

    def connectionMade(self) -> None:
        self.pid = self.transport.pid

    def write(self, line: str) -> None:
        if not self.end.called:
            self.transport.write(f"{line}\n".encode())

    def close_input(self) -> None:
        if not self.end.called:
            self.transport.closeStdin()

    def kill(self) -> None:
        with contextlib.suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")

    def outReceived(self, data: bytes) -> None:
        self._buffer += data
        if b"\n" in self._buffer and not self.answer.called:
            self.answer.callback(self._buffer.partition(b"\n")[0].decode(errors="replace"))

    def errReceived(self, data: bytes) -> None:
        self._said = (self._said + data)[-KEPT_COMPLAINTS:]
        for line in data.decode(errors="replace").splitlines():
            LOG.warn("watchdog of {node}: {line}", node=self._node, line=line)

    def processEnded(self, reason: Failure) -> None:
        status = "in good order" if isinstance(reason.value, ProcessDone) else str(reason.value)
        if not self.answer.called:
            self.answer.errback(_Ended(self._said.decode(errors="replace").strip() or status))
        elif not self.awaited:
            LOG.warn("watchdog of {node}: it has ended ({why}); nobody lets go of what is paused if we die",
                     node=self._node, why=status)
        self.end.callback(None)

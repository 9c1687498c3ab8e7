"""Measures an outage as a client sees it, for whoever runs a deployment: our end of the prober process.

The prober itself is `downtime.probing`, a process of its own; it ends with us, whatever happens to us, because its
standard input then ends.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as Expired
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from downtime.errors import DowntimeError
from downtime.probing import FIRST_SUCCESS_SECONDS, Report
from downtime.target import Target

START_SECONDS = FIRST_SUCCESS_SECONDS + 5.0  # later than the prober's own verdict on a database it cannot reach
REPORT_SECONDS = 5.0                         # a report waits for nothing but the processor
KEPT_COMPLAINTS = 2000                       # characters of what the prober last said on standard error

ROOT = Path(__file__).resolve().parent.parent


class ProberFailed(DowntimeError):
    """The prober does not measure. The deployment itself is not concerned."""

    happened = "the prober of {node} {reason}"
    next_step = "check that the prober's role may connect; python -m downtime probe shows it alone"


class Prober:
    """A running prober. Make it with `Prober.start`; end it with `stop`, or at once with `kill`."""

    def __init__(self, process: _Process, node: str, reactor: Any) -> None:
        self._process = process
        self._node = node
        self._reactor = reactor

    @classmethod
    async def start(cls, target: Target, reactor: Any = None) -> Prober:
        """Start probing a database and return once the first connection has succeeded. Raises ProberFailed."""
        prober = cls.launch(target, reactor)
        await prober.measuring()
        return prober

    @classmethod
    def launch(cls, target: Target, reactor: Any = None) -> Prober:
        """The process, which has still to start: for whoever must be able to end it at any moment."""
        if reactor is None:
            from twisted.internet import reactor
        process = _Process()
        arguments = [sys.executable, "-m", "downtime.probing"]
        reactor.spawnProcess(process, sys.executable, arguments, env=_environment(target), path=str(ROOT))
        return cls(process, target.label, reactor)

    async def measuring(self) -> None:
        """Return once the first connection has succeeded; to be asked once. Raises ProberFailed."""
        await self._within(START_SECONDS, self._process.next_line(), "start")

    async def report(self) -> Report:
        """What a client saw since the last report, or since the start. Raises ProberFailed."""
        answer = self._process.next_line()
        self._process.say("report")
        return self._parse(await self._within(REPORT_SECONDS, answer, "report"))

    async def stop(self) -> Report:
        """End the prober; its last report. Raises ProberFailed, and then too no process is left."""
        answer = self._process.next_line()
        self._process.close_input()
        report = self._parse(await self._within(REPORT_SECONDS, answer, "report at its end"))
        await self._within(REPORT_SECONDS, self._process.end(), "end")
        return report

    def kill(self) -> Awaitable[None]:
        """End it at once, without a report; returns when no process is left."""
        self._process.kill()
        return self._process.end()

    async def _within(self, seconds: float, answer: Deferred[Any], what: str) -> Any:
        try:
            return await answer.addTimeout(seconds, self._reactor)
        except Expired as error:
            # answers that come late would be taken for those to later questions
            await self.kill()
            raise ProberFailed(node=self._node, reason=f"did not {what} within {seconds:g} s") from error
        except _Ended as error:
            raise ProberFailed(node=self._node, reason=f"ended by itself: {error}") from error

    def _parse(self, line: str) -> Report:
        try:
            return Report.from_json(line)
        except ValueError as error:
            self._process.kill()
            raise ProberFailed(node=self._node, reason=f"does not speak our language: {error}") from error


class _Ended(Exception):
    """The process is gone; with what it last said."""


class _Process(ProcessProtocol):
    """Hands out the prober's lines one by one, in the order in which they were asked for."""

    transport: Any  # zope's interfaces say nothing to type checkers

    def __init__(self) -> None:
        self._waiting_for_line: list[Deferred[str]] = []
        self._waiting_for_end: list[Deferred[None]] = []
        self._buffer = b""
        self._complaints = ""
        self._ended: _Ended | None = None

    def next_line(self) -> Deferred[str]:
        """Fires with the next line nobody has asked for yet; fails with _Ended where none can come."""
        answer: Deferred[str] = Deferred()
        if self._ended is not None:
            answer.errback(self._ended)
        else:
            self._waiting_for_line.append(answer)
        return answer

    def end(self) -> Deferred[None]:
        """Fires when the process is gone and reaped."""
        answer: Deferred[None] = Deferred()
        if self._ended is not None:
            answer.callback(None)
        else:
            self._waiting_for_end.append(answer)
        return answer

    def say(self, line: str) -> None:
        if self._ended is None:
            self.transport.write(f"{line}\n".encode())

    def close_input(self) -> None:
        if self._ended is None:
            self.transport.closeStdin()

    def kill(self) -> None:
        with contextlib.suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")

    def outReceived(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            if self._waiting_for_line:
                self._waiting_for_line.pop(0).callback(line.decode())

    def errReceived(self, data: bytes) -> None:
        self._complaints = (self._complaints + data.decode(errors="replace"))[-KEPT_COMPLAINTS:]

    def processEnded(self, reason: Failure) -> None:
        status = "in good order" if isinstance(reason.value, ProcessDone) else str(reason.value)
        self._ended = _Ended(self._complaints.strip() or status)
        lines, self._waiting_for_line = self._waiting_for_line, []
        ends, self._waiting_for_end = self._waiting_for_end, []
        for line in lines:
            line.errback(self._ended)
        for end in ends:
            end.callback(None)


def _environment(target: Target) -> dict[str, str]:
    """Ours without libpq's variables, which would send the prober elsewhere, and with what it is to probe."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    secret = {"PGPASSWORD": target.password} if target.password is not None else {}
    return {**ours, **secret, "PROBER_DSN": target.dsn}

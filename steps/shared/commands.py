"""Run one command of the settings beside the reactor, with a deadline and with all it prints."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

DEADLINE_SECONDS = 60.0
# Runs "$1" and dies with the buildmaster, who holds the other end of its standard input: a `stop` that outlives a
# killed master would stop its task again after the next master has resumed it.
LEASHED = """
exec 3<&0 </dev/null
(read -r _ <&3; kill -s KILL -- -$$) >/dev/null 2>&1 &
leash=$!
/bin/sh -c "$1" 3<&-
status=$?
kill -s KILL $leash
exit $status
"""
LAST_OUTPUT_SECONDS = 0.2  # after the exit; what is still in the pipe then comes from somebody else
LONGEST_OUTPUT = 100_000  # bytes kept; a command that prints more is not worth the master's memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a command ended; `ended` is a sentence where it did not succeed, and empty where it did."""

    output: str
    ended: str

    @property
    def succeeded(self) -> bool:
        return not self.ended


class Command(ProcessProtocol):
    """A shell command in a session of its own: a deadline ends what the shell has started, too."""

    def __init__(self, command: str, *, reactor: Any, deadline_seconds: float = DEADLINE_SECONDS,
                 leashed: bool = False) -> None:
        """`leashed`: where the buildmaster dies while it runs, it dies, too, with all that it has started."""
        self._command = command
        self._leashed = leashed
        self._reactor = reactor
        self._deadline_seconds = deadline_seconds
        self._output = bytearray()
        self._killed_because = ""
        self._ended: Failure | None = None
        self._last_output: Any = None
        self._done: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        # kept from here on: a short command has ended before spawnProcess returns
        transport: Any = self.transport
        self._process = transport
        if not self._leashed:
            self._process.closeStdin()

    async def run(self) -> Finished:
        """Run it to its end. Its environment is the master's."""
        # a new child leads no process group, so setsid does not fork and the pid stays the one we know
        words = ["-c", LEASHED, "sh", self._command] if self._leashed else ["-c", self._command]
        try:
            self._reactor.spawnProcess(self, "setsid", ["setsid", "/bin/sh", *words], env=None)
        except (OSError, TypeError, ValueError) as error:  # no process to be had, or a NUL in the command
            return Finished(output="", ended=f"could not be started: {error}")
        timer = self._reactor.callLater(
            self._deadline_seconds, self.kill, f"was not done within {self._deadline_seconds:g} s")
        await self._done
        if timer.active():
            timer.cancel()
        return Finished(output=self._output.decode("utf-8", "replace"), ended=self._how_it_ended())

    def kill(self, because: str) -> None:
        """End it and all it has started; `because` becomes how it ended."""
        self._killed_because = self._killed_because or because
        if self._process.pid is None:
            return  # it has ended in this moment
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:  # so young that it has no session of its own yet
            with suppress(ProcessExitedAlready):
                self._process.signalProcess("KILL")

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        if len(self._output) < LONGEST_OUTPUT:
            self._output += data

    def processExited(self, reason: Failure) -> None:
        self._ended = reason
        # a daemon that it has started may keep the pipes open for ever; what it printed itself is here at once
        self._last_output = self._reactor.callLater(LAST_OUTPUT_SECONDS, self._process.loseConnection)

    def processEnded(self, reason: Failure) -> None:
        if self._last_output is not None and self._last_output.active():
            self._last_output.cancel()
        self._done.callback(None)

    def _how_it_ended(self) -> str:
        if self._killed_because:
            return self._killed_because
        assert self._ended is not None, "it was waited for"
        value: Any = self._ended.value
        if isinstance(value, ProcessDone):
            return ""
        return (f"ended with status {value.exitCode}" if value.exitCode is not None
                else f"was ended by signal {value.signal}")

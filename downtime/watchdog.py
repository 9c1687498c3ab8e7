"""The process that outlives whoever runs a deployment and undoes what that had paused and closed.

    python -m downtime.watchdog < order

The order is the first line of its standard input (`rescue.Watched` as JSON, passwords included). It answers with one
line of JSON, `{"armed": [pid, …]}` with the pids of its sessions or `{"failed": reason}`, and then waits for what
comes first: the line `dismiss` (it ends and touches nothing), the end of its standard input (the deployer is dead), or
the limit. After the latter two it does what `downtime.rescue` says.

Nothing that ends its parent ends it: it has a session of its own, so that a signal to the terminal's group does not
reach it, and it ignores what a service manager sends to every process of a service that it stops; the deployer, which
gets that too, lets go of everything in good order and then dismisses it. What it does it says on standard error, where
its parent reads it, and to the system's log, where somebody reads it when the parent is dead.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import syslog
import traceback
from enum import StrEnum
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineReceiver

from downtime import errors
from downtime.errors import ExitStatus
from downtime.printable import printable
from downtime.rescue import Rescue, Watched

DISMISS = "dismiss"
LONGEST_LINE = 4 * 1024 * 1024  # bytes of an order; some hundred for each pooler and standby
SIGNALS_OF_OTHERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Ending(StrEnum):
    """Why the watch is over; the value is what is said."""

    DISMISSED = "dismissed"
    ORPHANED = "the deployer is gone"
    LIMIT = "the limit has passed"


class Parent(LineReceiver):
    """Our standard input."""

    delimiter = b"\n"
    MAX_LENGTH = LONGEST_LINE

    def __init__(self) -> None:
        self.order: Deferred[str | None] = Deferred()  # None: it has died before it gave one
        self.ending: Deferred[Ending] = Deferred()

    def lineReceived(self, line: bytes) -> None:
        if not self.order.called:
            self.order.callback(line.decode())
        elif line.decode(errors="replace") == DISMISS:
            self.end(Ending.DISMISSED)

    def connectionLost(self, reason: Any = None) -> None:
        if not self.order.called:
            self.order.callback(None)
        self.end(Ending.ORPHANED)

    def end(self, ending: Ending) -> None:
        """The first one counts."""
        if not self.ending.called:
            self.ending.callback(ending)


async def watch(parent: Parent, reactor: Any) -> ExitStatus:
    """From the order to the end."""
    told = await parent.order
    if told is None:
        return ExitStatus.USAGE
    watched = Watched.from_json(json.loads(told))
    try:
        rescue = await Rescue.arm(watched, say=say, reactor=reactor)
    except errors.NodeError as error:
        tell(failed=str(error))
        return ExitStatus.FAILED
    limit = reactor.callLater(watched.limit_seconds, parent.end, Ending.LIMIT)
    tell(armed=rescue.pids)
    try:
        ending = await parent.ending
        if ending is Ending.DISMISSED:
            return ExitStatus.DONE
        say(f"{ending}: letting go of {watched.target.label}")
        done = await rescue.run()
        say("everything is let go of" if done else "not everything could be let go of")
        return ExitStatus.DONE if done else ExitStatus.NEEDS_OPERATOR
    finally:
        rescue.close()
        if limit.active():
            limit.cancel()


def tell(**answer: Any) -> None:
    """Our one line to the parent, at once: a reactor that is about to stop writes nothing any more."""
    with contextlib.suppress(OSError, ValueError):
        print(json.dumps(answer), flush=True)


def say(line: str) -> None:
    """To whoever is there to read it; a parent that is dead must not end us."""
    line = printable(line)
    with contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)
    syslog.syslog(line)


def main() -> int:
    with contextlib.suppress(PermissionError):  # we lead a group already: started from a shell
        os.setsid()
    for number in SIGNALS_OF_OTHERS:
        signal.signal(number, signal.SIG_IGN)
    syslog.openlog("fastdowntime-watchdog", syslog.LOG_PID, syslog.LOG_DAEMON)
    from twisted.internet import reactor as its_reactor
    reactor: Any = its_reactor  # zope's interfaces say nothing to type checkers
    parent = Parent()
    StandardIO(parent, reactor=reactor)
    statuses: list[ExitStatus] = []

    async def watch_until_the_end() -> None:
        try:
            statuses.append(await watch(parent, reactor))
        except Exception:
            say(f"internal error: {traceback.format_exc()}")
        reactor.callWhenRunning(reactor.stop)

    Deferred.fromCoroutine(watch_until_the_end())
    reactor.run(installSignalHandlers=False)
    return int(statuses[0]) if statuses else ExitStatus.FAILED


if __name__ == "__main__":
    sys.exit(main())

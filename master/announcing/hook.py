"""To a command on this machine: the notice on its standard input as JSON, what matters of it as variables."""

from __future__ import annotations

import json
import shlex
from typing import Any

from twisted.internet.defer import Deferred

from downtime.announcements.kinds import Kind
from downtime.announcements.notice import Notice, to_json
from downtime.printable import cut, printable
from downtime.settings.notices import Hook
from master.announcing.receiver import NotDelivered
from steps.shared.commands import Command, Finished

LAST_WORDS = 200  # characters of what a failed command has printed

# the keys of the document that are variables, too
VARIABLES = ("kind", "id", "at", "patch", "lane", "subject", "database", "begins_at", "minutes", "expected_seconds",
             "patch_seconds", "outage_seconds", "outcome", "reason", "by", "page_url", "build_url")


class HookReceiver:
    """Never tried again: nobody knows how far a command has come that has failed."""

    def __init__(self, about: Hook, *, number: int, reactor: Any) -> None:
        """`number` is its place in the settings, counted from 0: a command line may hold a secret."""
        self._about = about
        self._number = number
        self._reactor = reactor

    @property
    def name(self) -> str:
        return f"command notices.commands[{self._number}]"

    def wants(self, kind: Kind) -> bool:
        return self._about.wants(kind)

    async def deliver(self, notice: Notice) -> None:
        told = _Told(self._about.command, notice, reactor=self._reactor, deadline_seconds=self._about.deadline_seconds)
        finished = await told.finished()
        if not finished.succeeded:
            output = printable(" ".join(finished.output.split()))
            raise NotDelivered(f"{finished.ended}: {cut(output, LAST_WORDS)}" if output else finished.ended)


class _Told(Command):
    """A command that is given a notice."""

    def __init__(self, command: str, notice: Notice, *, reactor: Any, deadline_seconds: float) -> None:
        document = to_json(notice)
        given = "".join(f"export FASTDOWNTIME_{key.upper()}={shlex.quote(_as_text(document[key]))}; "
                        for key in VARIABLES)
        super().__init__(f"{given}{command}", reactor=reactor, deadline_seconds=deadline_seconds)
        self._given = json.dumps(document).encode() + b"\n"

    def connectionMade(self) -> None:
        transport: Any = self.transport
        self._process = transport
        transport.write(self._given)
        transport.closeStdin()

    def finished(self) -> Deferred[Finished]:
        """Cancelling it ends the command."""
        finished: Deferred[Finished] = Deferred(lambda _: self.kill("the buildmaster stops"))

        def tell(how: Any) -> None:
            if not finished.called:
                finished.callback(how)  # a Failure goes on as one

        Deferred.fromCoroutine(self.run()).addBoth(tell)
        return finished


def _as_text(value: object) -> str:
    return "" if value is None else str(value)

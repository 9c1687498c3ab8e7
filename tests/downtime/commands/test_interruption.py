"""Signals, delivered to this very process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from downtime.commands.interruption import SIGNALS, Interrupted, Interruption
from downtime.commands.output import Output


@pytest.fixture
def interruption() -> Iterator[Interruption]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield Interruption(Output(as_json=False), reactor)
    for number, handler in before.items():
        signal.signal(number, handler)


async def _turn() -> None:
    """Let the reactor deliver what it was called for."""
    turned: Deferred[None] = Deferred()
    reactor.callFromThread(turned.callback, None)  # type: ignore[attr-defined]  # behind the signal's own call
    await turned


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_command_that_only_looks_is_ended(interruption: Interruption, number: signal.Signals) -> None:
    """At once, whatever it waits for."""
    async def look() -> None:
        os.kill(os.getpid(), number)
        await Deferred()

    with pytest.raises(Interrupted):
        await interruption.run(look())


async def test_a_command_that_closed_something_is_told_to_abort_once_and_awaited(
        interruption: Interruption, capsys: pytest.CaptureFixture[str]) -> None:
    """The second signal only says what is awaited; the command's own outcome counts."""
    reasons: list[str] = []

    async def deploy() -> str:
        with interruption.aborting(reasons.append, awaiting="the database to open"):
            for number in (signal.SIGINT, signal.SIGTERM):
                os.kill(os.getpid(), number)
                await _turn()
        return "open again"

    assert await interruption.run(deploy()) == "open again"
    assert (reasons, interruption.asked) == (["interrupted"], True)
    assert capsys.readouterr().err == ("interrupted; waiting for the database to open\n"
                                       "still waiting for the database to open; that has a deadline of its own\n")


async def test_what_is_ignored_stays_ignored(interruption: Interruption) -> None:
    """A command under nohup outlives its terminal."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async def work() -> str:
        os.kill(os.getpid(), signal.SIGHUP)
        await _turn()
        return "done"

    assert await interruption.run(work()) == "done"


async def test_what_the_command_raises_is_raised(interruption: Interruption) -> None:
    """To be told in the one place where errors are told."""
    async def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await interruption.run(fail())

"""Notices to a command on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred

from downtime.announcements.notice import to_json
from downtime.settings.notices import Hook
from master.announcing.hook import HookReceiver
from master.announcing.receiver import NotDelivered, TryAgain
from tests.builders import pause, until
from tests.master.announcing.notices import a_notice


def a_hook(command: str, *, deadline_seconds: float = 20) -> HookReceiver:
    return HookReceiver(Hook(command=command, deadline_seconds=deadline_seconds), number=0, reactor=reactor)


async def test_a_command_gets_the_document_on_its_input(tmp_path: Path) -> None:
    """Whatever it makes of it."""

    notice = a_notice(reason="weiß nicht")
    await a_hook(f"cat > {tmp_path}/told").deliver(notice)
    assert json.loads((tmp_path / "told").read_text()) == to_json(notice)


async def test_a_command_gets_what_matters_as_variables(tmp_path: Path) -> None:
    """A line of shell needs no parser; what is not known is empty."""

    variables = "$FASTDOWNTIME_KIND|$FASTDOWNTIME_PATCH|$FASTDOWNTIME_MINUTES|$FASTDOWNTIME_BEGINS_AT|"
    await a_hook(f'echo "{variables}" > {tmp_path}/told').deliver(a_notice(minutes=5))
    assert (tmp_path / "told").read_text() == "closed|patch-1|5||\n"


async def test_hostile_text_is_no_shell(tmp_path: Path) -> None:
    """A patch's name is what somebody has pushed."""

    hostile = f"'; touch {tmp_path}/taken; echo $(touch {tmp_path}/taken) `touch {tmp_path}/taken` '"
    await a_hook(f'printf %s "$FASTDOWNTIME_REASON" > {tmp_path}/told').deliver(a_notice(reason=hostile))
    assert (tmp_path / "told").read_text() == hostile
    assert not (tmp_path / "taken").exists()


async def test_a_command_that_does_not_read_is_as_good(tmp_path: Path) -> None:
    """Most need the variables alone."""

    await a_hook("exec <&-; exit 0").deliver(a_notice(reason="x" * 400))


async def test_a_command_that_fails_says_how_and_is_not_tried_again() -> None:
    """Nobody knows how far it has come."""

    with pytest.raises(NotDelivered, match="ended with status 3: no such page") as caught:
        await a_hook("echo no such page; exit 3").deliver(a_notice())
    assert not isinstance(caught.value, TryAgain)


async def test_a_command_that_hangs_is_ended() -> None:
    """At its deadline."""

    with pytest.raises(NotDelivered, match=r"was not done within 0\.2 s"):
        await a_hook("sleep 300", deadline_seconds=0.2).deliver(a_notice())


async def test_a_command_ends_when_the_master_lets_go(tmp_path: Path) -> None:
    """No process is left behind by a stopped master."""

    await pause()
    before = set(reactor.getDelayedCalls())  # type: ignore[attr-defined]
    command = f"echo $$ > {tmp_path}/pid; sleep 300"
    delivery = Deferred.fromCoroutine(a_hook(command).deliver(a_notice()))
    await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "the command to begin")
    delivery.cancel()
    with pytest.raises(CancelledError):
        await delivery
    process = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}")
    await until(lambda: not process.exists(), "the command to end")
    await until(lambda: set(reactor.getDelayedCalls()) <= before, "its timers to end")  # type: ignore[attr-defined]

"""Promises of tests/coroutines.py, which every coroutine test rests on."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet import reactor, task, threads
from twisted.internet.defer import Deferred
from twisted.trial import unittest

from tests.coroutines import Spin, spin_reactor


class TrialCase(unittest.TestCase):
    """Trial's own test cases run in the same session, before and after ours."""

    async def test_a_trial_test_waits_on_the_same_reactor(self) -> None:
        self.assertEqual(await task.deferLater(reactor, 0.001, lambda: "waited"), "waited")


async def test_a_plain_coroutine_test_waits_on_the_reactor() -> None:
    """A coroutine test gets its answers from the running reactor."""

    assert await task.deferLater(reactor, 0.001, lambda: "waited") == "waited"


async def test_threads_serve_after_a_trial_test_case_has_ended() -> None:
    """Trial stops the reactor's threads after each of its classes; ours still get some."""

    assert await threads.deferToThread(lambda: "threaded") == "threaded"


class TrialCaseAfterwards(unittest.TestCase):
    def test_a_trial_test_finds_the_reactor_clean(self) -> Deferred[str]:
        return task.deferLater(reactor, 0.001, lambda: "waited")


async def test_a_coroutine_test_gets_its_fixtures(tmp_path: Any) -> None:
    """Fixtures are handed over by name, as to any test."""

    assert tmp_path.is_dir()


@pytest.mark.xfail(raises=ZeroDivisionError, strict=True)
async def test_an_error_after_a_wait_fails_the_test() -> None:
    """A coroutine test that raises is a failed test, not a lost Deferred."""

    await task.deferLater(reactor, 0, lambda: None)
    raise ZeroDivisionError


@pytest.mark.xfail(raises=pytest.fail.Exception, strict=True)
async def test_a_timer_left_behind_fails_the_test_that_left_it() -> None:
    """What stays in the reactor is named where it was left."""

    reactor.callLater(60, lambda: None)  # type: ignore[attr-defined]


def test_a_coroutine_that_never_ends_is_cut_at_its_deadline() -> None:
    """A test that waits for nothing ends with an error that says how long it waited."""

    async def wait_for_ever() -> None:
        await Deferred()

    with pytest.raises(TimeoutError, match=r"not done within 0\.01 s"):
        spin_reactor(wait_for_ever(), seconds=0.01)


def test_spin_returns_the_result_to_a_plain_fixture(spin: Spin[str]) -> None:
    """Plain fixtures can open and close what coroutine tests use."""

    async def answer() -> str:
        return await task.deferLater(reactor, 0, lambda: "answered")

    assert spin(answer()) == "answered"

"""Runs `async def` tests on Twisted's global reactor, side by side with trial's test cases in one session.

As trial does it, and for the same reason: a reactor cannot be restarted after `stop()`, so each test runs it and
ends it with `crash()`. What a test leaves in the reactor would fail a later, innocent one (trial's test cases
look for it), so it fails the test that left it.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import pytest

T = TypeVar("T")
Spin = Callable[[Coroutine[Any, Any, T]], T]

DEADLINE_SECONDS = 30.0  # of one test; `@pytest.mark.deadline(seconds=…)` gives another


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"deadline(seconds): a coroutine test may take so long ({DEADLINE_SECONDS:g} s)")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test. Others, and trial's test cases (which never come here), are left alone."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    marker = pyfuncitem.get_closest_marker("deadline")
    seconds = marker.kwargs["seconds"] if marker else DEADLINE_SECONDS
    names = inspect.signature(pyfuncitem.obj).parameters
    try:
        spin_reactor(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}), seconds=seconds)
    except BaseException:
        _sweep_reactor()
        raise
    if left := _sweep_reactor():
        pytest.fail("the test left something in the reactor (close it, or await its end):\n" + "\n".join(left),
                    pytrace=False)
    return True


@pytest.fixture
def spin() -> Spin[Any]:
    """Runs a coroutine on the reactor from a plain test or fixture, and returns its result."""
    return spin_reactor


def spin_reactor(coroutine: Coroutine[Any, Any, T], *, seconds: float = DEADLINE_SECONDS) -> T:
    """Run the reactor until the coroutine is done and return its result, or raise what it raised.

    Raises TimeoutError after `seconds`, KeyboardInterrupt if the reactor was stopped meanwhile (Ctrl-C).
    """
    from twisted.internet.defer import Deferred

    reactor = _reactor()

    outcome: list[Any] = []
    work = Deferred.fromCoroutine(_outcome_of(coroutine)).addCallback(outcome.append)
    if not outcome:
        timer = reactor.callLater(seconds, _crash)
        work.addCallback(lambda _: _crash())
        reactor.stop = _crash  # the reactor's own answer to SIGINT would end it for good
        try:
            reactor.run()
        finally:
            del reactor.stop
        if not outcome:
            _give_up(work, timer, seconds)
        timer.cancel()
    value, error = outcome[0]
    if error is not None:
        raise error
    return value  # type: ignore[no-any-return]


async def _outcome_of(work: Awaitable[T]) -> tuple[T | None, BaseException | None]:
    try:
        return await work, None
    except BaseException as error:  # pytest's outcomes (skip, fail) are no Exceptions
        return None, error


def _reactor() -> Any:
    from twisted.internet import reactor  # importing it installs it: not before a test wants one

    return reactor


def _crash() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # "cannot be used inside the reactor": it can
        _reactor().crash()


def _give_up(work: Any, timer: Any, seconds: float) -> None:
    interrupted = timer.active()
    if interrupted:
        timer.cancel()
    try:
        work.cancel()
    except Exception as error:  # txpostgres raises its own on the way
        print(f"cancelling the test raised {error!r}", file=sys.stderr)
    if interrupted:
        raise KeyboardInterrupt
    raise TimeoutError(f"the test was not done within {seconds:g} s")


def _sweep_reactor() -> list[str]:
    """Take out of the reactor whatever is still in it, and name it."""
    reactor = _reactor()
    calls = [call for call in reactor.getDelayedCalls() if call.active()]
    left = [f"  timer {call}" for call in calls]
    for call in calls:
        call.cancel()
    return left + [f"  open {selectable!r}" for selectable in reactor.removeAll()]


def pytest_unconfigure() -> None:
    """Let the process end: the reactor's threads would wait for work for ever."""
    if "twisted.internet.reactor" in sys.modules:
        _reactor().getThreadPool().stop()

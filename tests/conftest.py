"""What every test may ask for: coroutine tests on the reactor, and real servers with a database of one's own."""

from __future__ import annotations

import signal

import pytest

from demo.installations import ServerError, installations

pytest_plugins = ["tests.temporary", "tests.coroutines", "tests.databases", "tests.standbys", "tests.end_to_end.worlds",
                  "tests.end_to_end.browser", "tests.side_by_side", "tests.poolers"]


HOW_A_TERMINAL_STARTS_US = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}


def pytest_configure() -> None:
    """Take signals as they come from a terminal: a job in the background may start with them ignored, and so would
    every process whose interruption is tested."""
    for number, handler in HOW_A_TERMINAL_STARTS_US.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_report_header() -> list[str]:
    """Name the servers in the first lines: a failure is worth little without its version."""
    try:
        return [str(installation) for installation in installations()]
    except ServerError as error:
        return [f"server tests are skipped: {error}"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Units first: what fails in seconds should say so before a server has been started."""
    items.sort(key=_cost)


def _cost(item: pytest.Item) -> int:
    if "end_to_end" in item.path.parts:
        return 2
    fixtures = getattr(item, "fixturenames", ())
    return int("server" in fixtures or "each_server" in fixtures)

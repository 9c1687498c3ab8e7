"""The demo's clients against a real server."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from demo.application import APPLICATION, FRAGILE, PATCHER
from tests.databases import Database

WAIT_SECONDS = 0.4


class Clients:
    """`python -m demo.clients`, spoken to line by line."""

    def __init__(self, database: Database, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "demo.clients", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "CLIENTS_DSN": database.dsn_of(APPLICATION), "FRAGILE_DSN": database.dsn_of(FRAGILE)})

    def say(self, line: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return dict(json.loads(self._process.stdout.readline()))

    def until(self, wanted: Callable[[dict[str, Any]], bool], seconds: float = 10.0) -> dict[str, Any]:
        """The first report that is as wanted, or the last one when the time is up."""
        deadline = time.monotonic() + seconds
        while not wanted(report := self.say("report")) and time.monotonic() < deadline:
            time.sleep(0.02)
        return report

    def stop(self) -> str:
        self._process.terminate()
        return self._process.communicate(timeout=5)[0]


StartClients = Callable[..., Clients]


@pytest.fixture
def clients(database: Database) -> Iterator[StartClients]:
    started: list[Clients] = []

    def start(*arguments: str) -> Clients:
        started.append(Clients(database, *arguments))
        return started[-1]

    yield start
    for each in started:
        each.stop()


def test_each_kind_of_client_does_its_work(clients: StartClients) -> None:
    """Idle ones connect, reconnecting ones query, writing ones write."""
    report = clients("--idle=3", "--reconnecting=3", "--writing=2").until(
        lambda seen: seen["connected"] > 12 and seen["queries"] and seen["writes"])

    assert report["connected"] > 12
    assert report["queries"] > 0
    assert report["writes"] > 0
    assert report["errors"] == {}


def test_a_call_that_had_to_wait_is_counted_with_its_length(clients: StartClients, database: Database) -> None:
    """Clients that keep their connections see how long they were held up, and no error."""
    load = clients("--calling=2", "--writing=1")
    load.until(lambda seen: seen["queries"] > 2 and seen["writes"] > 2)
    with contextlib.closing(database.connect(PATCHER)) as patcher:
        patcher.cursor().execute("LOCK TABLE account")
        load.until(lambda seen: waiting(database) == 3)
        time.sleep(WAIT_SECONDS)
    report = load.until(lambda seen: waiting(database) == 0 and seen["longest_call_seconds"] >= WAIT_SECONDS)

    assert report["longest_call_seconds"] >= WAIT_SECONDS
    assert report["errors"] == {}


def waiting(database: Database) -> int:
    """Clients that wait for a lock."""
    ((count,),) = database.admin_sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                                     " AND datname = current_database()")
    return int(count)


def test_clients_rest_and_go_back_to_work(clients: StartClients, database: Database) -> None:
    """Nothing is asked of the server while they rest; who was connected stays so."""
    load = clients("--idle=1", "--calling=1", "--writing=1", "--reconnecting=1")
    load.until(lambda seen: seen["queries"] > 2 and seen["writes"] > 2)
    load.say("rest")
    time.sleep(WAIT_SECONDS)  # what they were at is done by then
    before = load.say("report")
    time.sleep(WAIT_SECONDS)
    resting = load.say("report")
    load.say("work")
    working = load.until(lambda seen: seen["queries"] > before["queries"] and seen["writes"] > before["writes"])

    assert resting == before
    assert working["queries"] > before["queries"]
    assert working["writes"] > before["writes"]
    assert working["errors"] == {}


def test_kicked_clients_come_back_at_once(clients: StartClients, database: Database) -> None:
    """Idle clients that are cut count one error each and connect again."""
    load = clients("--idle=5")
    load.until(lambda seen: seen["connected"] == 5)
    database.admin_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (APPLICATION,))
    report = load.until(lambda seen: seen["connected"] == 10)

    assert report["connected"] == 10
    assert sum(report["errors"].values()) == 5


def test_the_fragile_script_is_in_a_transaction_while_told(clients: StartClients, database: Database) -> None:
    """Between `begin` and `commit` the server shows it idle in a transaction; its work is kept."""
    state = "SELECT state FROM pg_stat_activity WHERE usename = %s"
    load = clients()
    load.say("begin")
    during = database.admin_sql(state, (FRAGILE,))
    load.say("commit")

    assert during == [("idle in transaction",)]
    assert database.admin_sql("SELECT count(*) FROM upload") == [(1,)]


def test_a_fragile_script_that_was_kicked_says_so(clients: StartClients, database: Database) -> None:
    """Harm done to the script is counted, and it can go on afterwards."""
    load = clients()
    load.say("begin")
    database.admin_sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", (FRAGILE,))
    report = load.until(lambda seen: seen["fragile_harmed"] == 1)

    assert (report["fragile_harmed"], report["fragile_in_transaction"]) == (1, False)
    assert load.say("begin")["fragile_in_transaction"]


def test_they_end_with_a_last_line(clients: StartClients) -> None:
    """SIGTERM ends them in good order, also while they are at work."""
    load = clients("--reconnecting=2")
    load.until(lambda seen: seen["queries"] > 0)

    assert json.loads(load.stop())["queries"] > 0

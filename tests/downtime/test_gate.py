"""One contract for both gates, on every server: closed means closed, and whatever ends the deployer opens it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg2
import pytest
from twisted.internet import reactor

from demo.proxy import Proxy
from downtime import errors, gate, proof
from downtime.node import Node
from tests.builders import PATIENCE_SECONDS, a_node, pause, until
from tests.databases import Database
from tests.downtime.outages import through

GATES = ("hold", "refuse")
ROOT = Path(__file__).parents[2]

# A deployer of its own: closes the gate, says so, and waits to be killed.
DEPLOYER = """
import sys
from twisted.internet import task
from twisted.internet.defer import Deferred
from downtime import gate
from downtime.node import connect
from downtime.target import Target

async def main(reactor):
    kind, dsn, password = sys.argv[1:]
    target = Target(dsn=dsn, password=password)
    patcher = await connect(target, application_name="doomed", reactor=reactor)
    door = gate.Hold(reactor) if kind == "hold" else gate.Refuse(target, reactor, limit_seconds=60)
    await door.arm(patcher)
    await patcher.execute("BEGIN")
    await patcher.execute("CREATE TABLE half_done (id int)")
    await door.prevent()
    print("closed", flush=True)
    await task.deferLater(reactor, 60, lambda: None)

task.react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
"""


def a_gate(kind: str, database: Database, *, limit_seconds: float = 30.0) -> gate.Gate:
    return gate.Hold(reactor) if kind == "hold" else gate.Refuse(database.target, reactor, limit_seconds=limit_seconds)


@asynccontextmanager
async def armed(kind: str, database: Database, **keywords: Any) -> AsyncIterator[tuple[gate.Gate, Node]]:
    """A gate and the patching session it works with; both are given back."""
    patcher = await a_node(database.target)
    door = a_gate(kind, database, **keywords)
    try:
        await door.arm(patcher)
        yield door, patcher
    finally:
        await door.disarm()
        patcher.close()


class Client:
    """A new client that tries to get in, in a thread of its own; `outcome` is "in", the server's words, or None."""

    def __init__(self, database: Database) -> None:
        self.outcome: str | None = None
        self._dsn = database.dsn_of("app")
        self._thread = threading.Thread(target=self._try, daemon=True)
        self._thread.start()

    def _try(self) -> None:
        try:
            psycopg2.connect(self._dsn, connect_timeout=int(PATIENCE_SECONDS)).close()
            self.outcome = "in"
        except psycopg2.OperationalError as error:
            self.outcome = str(error)


async def gets_in(database: Database) -> None:
    """Wait until a new client gets in, trying again like an application does."""
    async def attempt() -> bool:
        client = Client(database)
        await until(lambda: client.outcome is not None, "an answer to a new client")
        return client.outcome == "in"
    deadline = monotonic() + PATIENCE_SECONDS
    while not await attempt():
        assert monotonic() < deadline, "the gate stayed closed"
        await pause()


async def is_shut_out(kind: str, client: Client) -> None:
    if kind == "hold":
        await pause(0.15)
        assert client.outcome is None, "a client of a held gate waits"
    else:
        await until(lambda: client.outcome is not None, "an answer to a new client")
        assert "is not currently accepting connections" in str(client.outcome)


@pytest.mark.parametrize("kind", GATES)
async def test_closed_means_closed_and_a_commit_opens(kind: str, each_database: Database) -> None:
    """No new client gets in; those who are in go on; patch and opening are one instant."""
    existing = each_database.connect("app")
    async with armed(kind, each_database) as (door, patcher):
        async with patcher.transaction():
            await door.prevent()
            client = Client(each_database)
            await is_shut_out(kind, client)
            with existing.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM account")
                assert cursor.fetchone() == (10,)
            existing.rollback()
            await door.allow_in_transaction()
        await door.allow()
        await gets_in(each_database)

    if kind == "hold":
        await until(lambda: client.outcome == "in", "the waiting client getting in")


@pytest.mark.parametrize("kind", GATES)
async def test_a_rollback_opens(kind: str, each_database: Database) -> None:
    """A patch that failed leaves the gate open."""
    async with armed(kind, each_database) as (door, patcher):
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the transaction is what raises
            async with patcher.transaction():
                await door.prevent()
                _ = 1 // 0
        await door.allow()

        await gets_in(each_database)


@pytest.mark.parametrize("kind", GATES)
async def test_it_opens_when_the_patching_session_was_ended(kind: str, each_database: Database) -> None:
    """Somebody ends the patcher's backend: `allow` opens, in whatever state that left us."""
    async with armed(kind, each_database) as (door, patcher):
        with pytest.raises(errors.ConnectionLost):  # noqa: PT012 - the transaction is what raises
            async with patcher.transaction():
                await door.prevent()
                await patcher.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        await door.allow()

        await gets_in(each_database)


@pytest.mark.parametrize("kind", GATES)
async def test_it_opens_when_the_deployers_process_is_killed(kind: str, each_database: Database) -> None:
    """kill -9 in the middle: open again by itself, and nothing of the patch is left."""
    arguments = [kind, each_database.target.dsn, str(each_database.target.password)]
    deployer = subprocess.Popen([sys.executable, "-c", DEPLOYER, *arguments], cwd=ROOT, stdout=subprocess.PIPE,
                                env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        assert deployer.stdout is not None
        assert deployer.stdout.readline() == b"closed\n"
        client = Client(each_database)
        await is_shut_out(kind, client)
    finally:
        deployer.send_signal(signal.SIGKILL)
        deployer.communicate()
    await gets_in(each_database)

    assert each_database.admin_sql("SELECT to_regclass('half_done')") == [(None,)]


@pytest.mark.parametrize("kind", GATES)
async def test_the_self_test_passes_behind_a_closed_gate(kind: str, each_database: Database) -> None:
    """A client that waits or is refused is what is wanted, on every server version."""
    async with armed(kind, each_database) as (door, patcher):
        async with patcher.transaction():
            await door.prevent()
            await proof.prove(each_database.target, kind, reactor, witness=patcher)
            await door.allow_in_transaction()
        await door.allow()


@pytest.mark.parametrize("kind", GATES)
async def test_the_self_test_finds_an_open_gate(kind: str, database: Database) -> None:
    """A server version that lets clients in is found before anything is deployed with it."""

    witness = await a_node(database.target)
    with pytest.raises(proof.GateLeaks, match=f"while gate {kind} was closed"):
        await proof.prove(database.target, kind, reactor, witness=witness)
    witness.close()


async def test_a_reader_of_the_roles_catalog_is_named(database: Database) -> None:
    """Hold gives up after short attempts, and says whose transaction stands in the way."""
    reader = database.connect("app")
    reader.cursor().execute("LOCK TABLE account IN ACCESS SHARE MODE")
    reader.cursor().execute("SELECT count(*) FROM pg_db_role_setting")
    async with armed("hold", database) as (door, patcher):
        with pytest.raises(gate.GateBlocked, match=rf"pid {reader.get_backend_pid()} app in {database.name}"):
            async with patcher.transaction():
                await door.prevent()

    await gets_in(database)


async def test_a_transaction_that_stands_in_the_way_is_named_once(database: Database) -> None:
    """However many locks of the catalog it holds: two names would be looked for twice."""
    administrator = psycopg2.connect(database.server.superuser_dsn(database.name))
    pid, cursor = administrator.info.backend_pid, administrator.cursor()
    cursor.execute("SELECT count(*) FROM pg_db_role_setting")
    for mode in ("ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE"):
        cursor.execute(f"LOCK TABLE pg_db_role_setting IN {mode} MODE")
    try:
        async with armed("hold", database) as (door, patcher):
            with pytest.raises(gate.GateBlocked) as caught:
                async with patcher.transaction():
                    await door.prevent()
    finally:
        administrator.close()

    assert str(caught.value).count(f"pid {pid} ") == 1


async def test_a_reader_that_leaves_in_time_costs_an_attempt(database: Database) -> None:
    """An ordinary reader of the catalog delays the gate and does not defeat it."""
    reader = database.connect("app")
    reader.cursor().execute("SELECT count(*) FROM pg_db_role_setting")
    async with armed("hold", database) as (door, patcher), patcher.transaction():
        reactor.callLater(gate.LOCK_WAIT_SECONDS * 1.5, reader.rollback)  # type: ignore[attr-defined]
        await door.prevent()
        settings = await patcher.execute("SELECT current_setting('lock_timeout') AS lock")

    assert settings.scalar == "0", "the attempts' short lock_timeout is not left to the patch"


async def test_the_patch_cannot_give_the_gate_up(database: Database) -> None:
    """The savepoint of the attempts is gone when the patch begins: rolling back to it is an error."""
    async with armed("hold", database) as (door, patcher):
        with pytest.raises(errors.StatementFailed, match='savepoint "gate" does not exist'):  # noqa: PT012
            async with patcher.transaction():
                await door.prevent()
                await patcher.execute("ROLLBACK TO SAVEPOINT gate")


async def test_a_gate_that_could_not_be_opened_is_left_to_its_guard(database: Database) -> None:
    """Giving the gate back while it is closed must not end the one who would still open it."""
    door = a_gate("refuse", database)
    patcher = await a_node(database.target)
    await door.arm(patcher)
    await patcher.execute("BEGIN")
    await door.prevent()
    await door.disarm()
    try:
        await gets_in(database)
        await until(lambda: patcher.closed, "the guard ending the patching session")
    finally:
        patcher.close()


async def test_a_second_deployer_does_not_get_the_lease(database: Database) -> None:
    """Two gates on one database would open behind each other's back."""
    async with armed("refuse", database):
        other = a_gate("refuse", database)
        patcher = await a_node(database.target)
        with pytest.raises(errors.CannotConnect, match="another deployment holds the lease"):
            await other.arm(patcher)
        await other.disarm()
        patcher.close()


async def test_a_gate_whose_guard_was_ended_is_not_closed(database: Database) -> None:
    """Between preparing and closing; nobody would reopen it for a dead deployer."""
    async with armed("refuse", database) as (door, patcher):
        database.server.admin_sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                                  " WHERE application_name = 'fastdowntime guard'")
        with pytest.raises(gate.Unguarded):
            async with patcher.transaction():
                await door.prevent()
        await door.allow()
        await gets_in(database)


async def test_a_gate_whose_lease_was_lost_is_not_closed(database: Database) -> None:
    """A new maintenance session would hold no lease, and the guard has acted already."""
    async with armed("refuse", database) as (door, patcher):
        database.server.admin_sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                                  " WHERE application_name = %s", (gate.APPLICATION_NAME,))
        await until(lambda: patcher.closed, "the guard ending the patching session")
        with pytest.raises(errors.ConnectionLost):
            await door.prevent()
        await door.allow()
        await gets_in(database)


@pytest.mark.parametrize("kind", GATES)
async def test_silence_is_no_proof(kind: str, database: Database) -> None:
    """A gate that stood open passed its self-test where the network was slow."""
    witness = await a_node(database.target)
    with Proxy("127.0.0.1", database.server.port) as proxy:
        proxy.cut()
        with pytest.raises(proof.GateUnproved):
            await proof.prove(through(proxy, database), kind, reactor, witness=witness)
    witness.close()


@pytest.fixture
def without_its_standby(doomed: Database) -> Database:
    """A database whose server waits at each COMMIT for a synchronous standby that is away."""
    doomed.server.admin_sql("ALTER SYSTEM SET synchronous_standby_names = 'away'")
    doomed.server.admin_sql("SELECT pg_reload_conf()")
    return doomed


async def waits_for_a_standby(database: Database) -> None:
    """Until new sessions know that there is one to wait for."""
    await until(lambda: database.admin_sql("SHOW synchronous_standby_names") == [("away",)], "the server's new setting")


async def test_an_absent_synchronous_standby_keeps_nothing_shut(without_its_standby: Database) -> None:
    """The COMMIT that closed never came back, and neither did the one that was to open: shut until it returned."""
    await waits_for_a_standby(without_its_standby)
    async with armed("refuse", without_its_standby) as (door, patcher):
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the transaction is what raises
            async with patcher.transaction():
                await door.prevent()
                await is_shut_out("refuse", Client(without_its_standby))
                _ = 1 // 0
        await door.allow()

        await gets_in(without_its_standby)


async def test_a_guard_does_not_wait_for_an_absent_standby(without_its_standby: Database) -> None:
    """A dead deployer and a dead standby at once: the guard opens all the same."""
    await waits_for_a_standby(without_its_standby)
    door = a_gate("refuse", without_its_standby)
    patcher = await a_node(without_its_standby.target)
    try:
        await door.arm(patcher)
        await patcher.execute("BEGIN")
        await door.prevent()
        await door.disarm()
        await gets_in(without_its_standby)
    finally:
        patcher.close()

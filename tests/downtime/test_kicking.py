"""Who is kicked, who is not, and what ends the kick: on real servers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

import psycopg2
import pytest
from twisted.internet import reactor

from downtime import errors, kicking, sessions
from downtime.kicking import Kick
from downtime.node import Node
from downtime.sessions import Rules
from tests.builders import PATIENCE_SECONDS, until
from tests.databases import Database
from tests.downtime.outages import ADMINS, a_control, stopped


def a_kick(node: Node, *, before_each: Callable[[], None] = lambda: None, **rules: Any) -> Kick:
    given = Rules(**{"ours": frozenset({node.pid}), "spared": ADMINS, **rules})
    return Kick(node, given, reactor, before_each=before_each)


def soon() -> float:
    return monotonic() + PATIENCE_SECONDS


def still_connected(database: Database, user: str = "app") -> int:
    ((count,),) = database.admin_sql(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = %s", (user,))
    return int(count)


async def test_spared_users_are_untouched_and_uncounted(database: Database) -> None:
    """A monitoring session survives, also in the middle of a transaction."""
    spared = database.connect("monitor")
    spared.cursor().execute("SELECT 1")
    database.connect("app")
    async with a_control(database) as node:
        kick = a_kick(node, spared=ADMINS | {"monitor"})
        await kick.everybody(deadline=soon())

    assert [session.user for session in kick.kicked.values()] == ["app"]
    assert still_connected(database, "monitor") == 1


async def test_everybody_means_until_nobody_is_left(each_database: Database) -> None:
    """Idle or busy, all are gone when the kick returns."""
    for _ in range(5):
        each_database.connect("app")
    each_database.connect("app").cursor().execute("SELECT 1")
    async with a_control(each_database) as node:
        kick = a_kick(node)
        await kick.everybody(deadline=soon())

    assert (len(kick.kicked), still_connected(each_database)) == (6, 0)


async def test_clients_that_slip_in_meanwhile_are_swept(database: Database) -> None:
    """A client that got in while the first look was made is found by the next one."""
    database.connect("app")
    looks: list[int] = []

    def somebody_slips_in() -> None:
        looks.append(1)
        if len(looks) == 2:
            database.connect("app")

    async with a_control(database) as node:
        kick = a_kick(node, before_each=somebody_slips_in)
        await kick.everybody(deadline=soon())

    assert (len(kick.kicked), still_connected(database)) == (2, 0)


async def test_nobody_is_kicked_when_a_fragile_user_has_begun_in_between(each_database: Database) -> None:
    """The statement that kicks looks once more: after a check that passed, one new transaction stops it."""
    each_database.connect("app")
    fragile = each_database.connect("process_upload")
    async with a_control(each_database) as node:
        kick = a_kick(node, fragile=frozenset({"process_upload"}),
                      before_each=lambda: fragile.cursor().execute("SELECT 1"))
        with pytest.raises(sessions.FragileUsersActive, match=rf"pid {fragile.get_backend_pid()} process_upload"):
            await kick.everybody(deadline=soon())

    assert (kick.kicked, still_connected(each_database)) == ({}, 1)


async def test_a_superusers_session_stops_the_kick_before_anybody_is_kicked(database: Database) -> None:
    """pg_signal_backend may not end it, so `all` cannot be kept: refused, and nobody lost a connection for it."""
    database.connect("app")
    admin = psycopg2.connect(database.superuser_dsn)
    try:
        async with a_control(database) as node:
            kick = a_kick(node, spared=frozenset(), superusers=frozenset({"postgres"}))
            with pytest.raises(sessions.UnkickableSessions, match="postgres"):
                await kick.everybody(deadline=soon())
    finally:
        admin.close()

    assert (kick.kicked, still_connected(database)) == ({}, 1)


async def test_a_session_whose_role_was_dropped_is_kicked_too(database: Database) -> None:
    """A role may be dropped while it is connected; the session stays and has no name any more."""
    database.admin_sql("CREATE ROLE short_lived LOGIN PASSWORD 'short_lived-secret'")
    database.connect("short_lived")
    database.admin_sql("DROP ROLE short_lived")
    async with a_control(database) as node:
        kick = a_kick(node, spared=ADMINS | {"monitor"})
        await kick.everybody(deadline=soon())

    assert len(kick.kicked) == 1
    assert "dropped" in sessions.report(kick.kicked.values())


async def test_only_those_in_a_transaction_are_kicked_by_that_policy(database: Database) -> None:
    """Idle sessions stay connected; they are drained after the outage, those that are still idle."""
    idle, begun = database.connect("app"), database.connect("app")
    database.connect("app").cursor().execute("SELECT 1")
    async with a_control(database) as node:
        kick = a_kick(node)
        listed = await sessions.list_all(node, Rules(ours=frozenset({node.pid}), spared=ADMINS))
        await kick.those_in_a_transaction(deadline=soon())
        left = still_connected(database)
        begun.cursor().execute("SELECT 1")
        await kick.idle_ones([each for each in listed if not each.in_transaction], pace=(1, 0.001))
        await until(lambda: still_connected(database) == 1, "the idle session ending")

    assert left == 2
    assert idle.get_backend_pid() in kick.kicked
    assert begun.get_backend_pid() not in kick.kicked


async def until_some_survive(node: Node) -> None:
    """Kick with a deadline that has passed; a moment without any client is possible, on a slow machine."""
    while True:
        await a_kick(node).everybody(deadline=monotonic() - 1)


async def test_sessions_that_will_not_die_end_the_kick_at_its_deadline(database: Database) -> None:
    """A deadline that has passed names who is still there."""
    stop = threading.Event()

    def reconnect() -> None:
        while not stop.is_set():
            try:
                with psycopg2.connect(database.dsn_of("app")).cursor() as cursor:
                    cursor.execute("SELECT pg_sleep(1)")
            except psycopg2.Error:
                continue

    clients = [threading.Thread(target=reconnect, daemon=True) for _ in range(3)]
    for each in clients:
        each.start()
    try:
        async with a_control(database) as node:
            await until(lambda: still_connected(database) > 0, "clients connecting")
            with pytest.raises(kicking.SessionsSurvive, match="still connected"):
                await until_some_survive(node)
    finally:
        stop.set()
        for each in clients:
            each.join()


async def test_an_abort_ends_the_kick_before_its_next_look(database: Database) -> None:
    """Whoever stops the deployment need not wait for the sessions to die."""
    def abort() -> None:
        raise errors.Aborted(phase="kick", reason="stopped")

    database.connect("app")
    async with a_control(database) as node:
        with pytest.raises(errors.Aborted):
            await a_kick(node, before_each=abort).everybody(deadline=soon())

    assert still_connected(database) == 1


async def test_a_session_that_does_not_die_is_named_at_the_deadline(database: Database) -> None:
    """A backend that hears no signal, as one in a loop of a procedural language hears none."""
    client = database.connect("app")
    with stopped(client.get_backend_pid()):
        async with a_control(database) as node:
            with pytest.raises(kicking.SessionsSurvive, match=f"pid {client.get_backend_pid()} app"):
                await a_kick(node).everybody(deadline=monotonic() + 0.5)


async def test_who_arrives_is_looked_for_before_who_is_there(each_database: Database) -> None:
    """The other way round, one that ends its start-up between the two would be seen by neither."""
    async with a_control(each_database) as node:
        given = {**Rules(ours=frozenset()).parameters, "signalled": [], "only_in_transaction": False, "not_yet": []}
        plan = await node.execute("EXPLAIN (COSTS off) " + kicking.KICK_SESSIONS, given)
    lines = [line.strip() for row in plan.rows for line in row.values()]
    seen = lines[lines.index("CTE seen") + 1:]

    assert seen[0].endswith("Result"), lines
    assert seen[1].startswith("One-Time Filter"), lines

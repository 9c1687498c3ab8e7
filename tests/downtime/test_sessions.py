"""Who is kicked and who must not be: the rules as pure values, and the kick on real servers."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import psycopg2
import pytest
from twisted.internet import reactor

from downtime import errors, sessions
from downtime.node import Node
from downtime.sessions import Kick, Rules, Session
from tests.builders import PATIENCE_SECONDS, a_node, until
from tests.databases import Database

RULES = Rules(fragile=frozenset({"process_upload"}), superusers=frozenset({"postgres"}))


def a_session(**given: Any) -> Session:
    harmless: dict[str, Any] = {
        "pid": 1, "user": "app", "application": "web", "client": "127.0.0.1:5", "state": "idle",
        "transaction_seconds": None, "last_query": "SELECT 1", "hidden": False}
    return Session(**{**harmless, **given})


BUSY: dict[str, Any] = {"state": "active", "transaction_seconds": 2.0}
WAITING: dict[str, Any] = {"state": "idle in transaction", "transaction_seconds": 2.0}


@pytest.mark.parametrize(("given", "fragile", "unkickable", "to_kick"), [
    ({}, False, False, True),
    (BUSY, False, False, True),
    ({"user": "process_upload"}, False, False, True),
    ({"user": "process_upload", **BUSY}, True, False, True),
    ({"user": "process_upload", **WAITING}, True, False, True),
    ({"user": "process_upload", "state": "idle in transaction (aborted)"}, True, False, True),
    ({"user": "process_upload", "state": "fastpath function call"}, True, False, True),
    ({"hidden": True, "state": None}, True, False, True),
    ({"user": "postgres"}, False, True, False),
    ({"user": "postgres", **WAITING}, False, True, False),
])
def test_sessions_are_judged_by_user_and_state(given: dict[str, Any], fragile: bool, unkickable: bool, to_kick: bool
                                               ) -> None:
    """Fragile in a transaction aborts, what cannot be seen counts as that, superusers cannot be kicked."""
    verdict = sessions.judge([a_session(**given)], RULES)

    assert (bool(verdict.fragile), bool(verdict.unkickable), bool(verdict.to_kick)) == (fragile, unkickable, to_kick)


def test_only_those_in_a_transaction_are_counted_as_such() -> None:
    """What the policy `transactions` is about."""
    idle, busy = a_session(pid=1), a_session(pid=2, **BUSY)

    assert sessions.judge([idle, busy], RULES).in_transaction == (busy,)


def test_the_kick_report_quotes_what_clients_wrote() -> None:
    """No terminal escape, line break or mark-up of a client takes effect in a log; two lines per session."""
    hostile = "\x1b[31mred\nnew line</script>\"; ä"
    text = sessions.report([a_session(application=hostile, user="a\nb", last_query=hostile, **BUSY)])

    assert len(text.splitlines()) == 2
    assert text.isprintable() or text.replace("\n", "").isprintable()
    assert r'"\x1b[31mred\nnew line</script>\"; \xe4"' in text
    assert "IN A TRANSACTION for 2.000 s" in text


def test_a_message_shows_no_raw_control_characters() -> None:
    """Sessions are named in errors too, and those end in terminals and web pages."""

    assert str(a_session(user="a\x1b[31m", application="b\nc")).isprintable()


def test_nobody_kicked_is_said_in_words() -> None:
    """An empty log would look like a mistake."""

    assert sessions.report([]) == "nobody was connected"


# -- on servers --------------------------------------------------------------------------------------------------

@asynccontextmanager
async def a_control(database: Database, *, user: str = "patcher") -> AsyncIterator[Node]:
    node = await a_node(database.target_of(user))
    try:
        yield node
    finally:
        node.close()


ADMINS = frozenset({"postgres"})  # the tests' own look-ups, which may still be ending


def a_kick(node: Node, *, before_each: Callable[[], None] = lambda: None, **rules: Any) -> Kick:
    given = Rules(**{"ours": frozenset({node.pid}), "spared": ADMINS, **rules})
    return Kick(node, given, reactor, before_each=before_each)


def soon() -> float:
    return monotonic() + PATIENCE_SECONDS


def still_connected(database: Database, user: str = "app") -> int:
    ((count,),) = database.admin_sql(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = %s", (user,))
    return int(count)


async def test_a_session_is_listed_with_what_an_operator_asks_about(each_database: Database) -> None:
    """Pid, user, application, client, state, age and query, cut to 200 characters, on every server version."""
    client = each_database.connect("app", application_name="web")
    client.cursor().execute(f"SELECT '{'x' * 500}'")
    async with a_control(each_database) as node:
        (seen,) = await sessions.list_all(node, Rules(ours=frozenset({node.pid}), spared=ADMINS))

    assert (seen.pid, seen.user, seen.application) == (client.get_backend_pid(), "app", "web")
    assert (seen.state, seen.hidden, seen.in_transaction) == ("idle in transaction", False, True)
    assert seen.client.startswith("127.0.0.1:")
    assert seen.transaction_seconds is not None
    assert len(seen.last_query) == sessions.QUERY_CHARACTERS


async def test_what_a_role_may_not_see_counts_as_fragile(database: Database) -> None:
    """Without pg_monitor every other session looks idle: a check that cannot see must not pass."""
    database.connect("process_upload")
    async with a_control(database, user="app") as node:
        rules = Rules(ours=frozenset({node.pid}), spared=ADMINS)
        seen = await sessions.list_all(node, rules)

    assert [(s.hidden, s.in_transaction) for s in seen] == [(True, True)]
    assert sessions.judge(seen, rules).fragile == seen


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
            with pytest.raises(sessions.SessionsSurvive, match="still connected"):
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

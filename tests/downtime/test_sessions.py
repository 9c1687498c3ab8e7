"""Who must be kicked and who must not be: the rules as pure values, and the list on real servers."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from downtime import sessions
from downtime.sessions import Rules, Session
from tests.databases import Database
from tests.downtime.outages import ADMINS, a_control

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


def test_what_a_client_wrote_in_literals_is_not_kept() -> None:
    """It may be a password, and the kick report is read by many."""
    row = {field.name: getattr(a_session(), field.name) for field in fields(Session)}
    seen = Session.seen({**row, "last_query": "ALTER ROLE app PASSWORD 'secret'"})

    assert "PASSWORD '...'" in sessions.report([seen])
    assert "secret" not in sessions.report([seen])


def test_a_message_shows_no_raw_control_characters() -> None:
    """Sessions are named in errors too, and those end in terminals and web pages."""

    assert str(a_session(user="a\x1b[31m", application="b\nc")).isprintable()


def test_nobody_kicked_is_said_in_words() -> None:
    """An empty log would look like a mistake."""

    assert sessions.report([]) == "nobody was connected"


# -- on servers --------------------------------------------------------------------------------------------------

async def test_a_session_is_listed_with_what_an_operator_asks_about(each_database: Database) -> None:
    """Pid, user, application, client, state, age and query, cut to 200 characters, on every server version."""
    client = each_database.connect("app", application_name="web")
    client.cursor().execute(f"SELECT 1 AS {'x' * 50}, {'1, ' * 500} 2")
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

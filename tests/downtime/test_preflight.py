"""Reasons not to begin, all at once, as complete sentences."""

from __future__ import annotations

from typing import Any

import pytest

from downtime import ledger, preflight
from downtime.preflight import Observation
from downtime.sessions import Rules, Session, Verdict
from tests.builders import a_node
from tests.databases import Database

NOBODY = Verdict(fragile=(), unkickable=(), to_kick=())


def an_observation(**given: Any) -> Observation:
    harmless: dict[str, Any] = {
        "role": "patcher", "server_version": 150000, "sees_sessions": True, "may_kick": True, "owns_database": True,
        "in_recovery": False, "may_hold": True, "may_record": True, "ledger_is_current": True, "is_superuser": False,
        "superusers": ["postgres"], "prepared_transactions": []}
    return Observation(**{**harmless, **given})


@pytest.mark.parametrize(("given", "gate", "reason"), [
    ({"server_version": 130000}, "hold", "older than 14"),
    ({"in_recovery": True}, "", "is a standby"),
    ({"sees_sessions": False}, "", "pg_monitor"),
    ({"may_record": False}, "", "no ledger"),
    ({"may_record": False, "ledger_is_current": False}, "", "no ledger"),
    ({"ledger_is_current": False}, "", "older version: run install again"),
    ({"may_kick": False}, "refuse", "pg_signal_backend"),
    ({"may_hold": False}, "hold", "no gate function"),
    ({"owns_database": False}, "refuse", "does not own the database"),
])
def test_each_missing_right_is_named(given: dict[str, Any], gate: str, reason: str) -> None:
    """One reason for one lack."""
    (found,) = preflight.judge_server(an_observation(**given), gate=gate)

    assert reason in found


@pytest.mark.parametrize(("given", "gate"), [
    ({}, "hold"), ({"may_hold": False}, "refuse"), ({"owns_database": False}, "hold"),
    ({"may_hold": False, "owns_database": False, "may_kick": False}, "")])
def test_rights_that_are_not_needed_are_not_asked_for(given: dict[str, Any], gate: str) -> None:
    """Each gate needs its own; a live application needs neither."""

    assert preflight.judge_server(an_observation(**given), gate=gate) == []


def test_a_superuser_may_kick_superusers() -> None:
    """Others may not."""

    assert an_observation(is_superuser=True).unkickable_users == frozenset()
    assert an_observation().unkickable_users == {"postgres"}


def test_superusers_stand_in_the_way_of_kicking_all_only() -> None:
    """The policy `transactions` leaves idle ones alone."""
    admin = Session(pid=1, user="postgres", application="", client="", state="idle", transaction_seconds=None,
                    last_query="", hidden=False)
    verdict = Verdict(fragile=(), unkickable=(admin,), to_kick=())

    reasons = [preflight.judge_traffic(an_observation(), verdict, long_transaction_seconds=60, kick_all=kick_all)
               for kick_all in (True, False)]

    assert [len(each) for each in reasons] == [1, 0]


def test_a_quiet_server_has_no_reasons() -> None:
    """Nothing found is nothing said."""

    assert preflight.judge_traffic(an_observation(), NOBODY, long_transaction_seconds=60, kick_all=True) == []


async def test_a_misspelt_user_of_the_settings_is_said(database: Database) -> None:
    """Nobody would be protected by it, and nothing would show it."""
    node = await a_node(database.target)
    rules = Rules(fragile=frozenset({"process_upload", "proces_upload"}), spared=frozenset({"moni'tor", "postgres"}))
    try:
        found = await preflight.warnings(node, rules)
    finally:
        node.close()

    assert [line.partition(", which is no role of")[0] for line in found] == [
        "warning: users.fragile names 'proces_upload'", "warning: users.spared names \"moni'tor\""]


async def test_a_ledger_of_an_older_version_is_noticed_and_install_brings_it_up_to_date(each_database: Database
                                                                                       ) -> None:
    """Before anything is closed, and with the words that help; what was recorded stays."""
    each_database.admin_sql("INSERT INTO fastdowntime.ledger (id, sha256, lane, commit, started_at, seconds)"
                            " VALUES ('patch-0', repeat('0', 64), 'cold', 'c', now(), 1)")
    each_database.admin_sql("ALTER TABLE fastdowntime.ledger DROP COLUMN rehearsed_seconds,"
                            " DROP COLUMN forecast_seconds")
    node = await a_node(each_database.target)
    try:
        older = preflight.judge_server(await preflight.observe(node), gate="hold")
        with pytest.raises(ledger.Outdated) as caught:
            await ledger.read(node)
        each_database.install("hold")
        current = preflight.judge_server(await preflight.observe(node), gate="hold")
        entries = await ledger.read(node)
    finally:
        node.close()

    assert ([reason.partition(":")[0] for reason in older], current) == (
        ["the ledger was made by an older version"], [])
    assert "run install again" in caught.value.advice
    assert [(entry.id, entry.rehearsed_seconds, entry.forecast_seconds) for entry in entries] == [
        ("patch-0", None, None)]


async def test_an_installation_without_a_place_for_what_is_held_is_an_older_one(database: Database) -> None:
    """Nobody could undo what a dead run has paused; the words are the same, and so is the help."""
    database.admin_sql("DROP TABLE fastdowntime.held")
    node = await a_node(database.target)
    try:
        older = preflight.judge_server(await preflight.observe(node), gate="hold")
        database.install("hold")
        current = preflight.judge_server(await preflight.observe(node), gate="hold")
    finally:
        node.close()

    assert (len(older), "run install again" in older[0], current) == (1, True, [])


@pytest.mark.parametrize(("right", "may_record"), [("SELECT", False), ("INSERT", False), ("SELECT, INSERT", True)])
async def test_a_ledger_that_may_only_be_read_or_only_be_written_will_not_do(database: Database, right: str,
                                                                             may_record: bool) -> None:
    """One of the two rights alone would let an outage begin that cannot be recorded."""
    database.admin_sql(f"REVOKE ALL ON fastdowntime.ledger FROM patcher; GRANT {right} ON fastdowntime.ledger TO"
                       " patcher")
    node = await a_node(database.target)
    try:
        seen = await preflight.observe(node)
    finally:
        node.close()

    assert seen.may_record is may_record

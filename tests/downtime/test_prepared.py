"""Statements that are planned before they are needed: the same answers, and nothing happens at the planning."""

from __future__ import annotations

from typing import Any

import pytest

from downtime import errors
from downtime.kicking import KICK_SESSIONS
from downtime.prepared import Prepared
from downtime.ready import PARAMETER_TYPES, PLANNED
from downtime.sessions import SELECT_SESSIONS, Rules, list_all
from tests.builders import a_node
from tests.databases import Database
from tests.downtime.outages import ADMINS, prepared

TWICE = "SELECT %(text)s LIKE '%%o%%' AS has_o, %(number)s + %(number)s AS twice"
TYPES = {"number": "int", "text": "text", "other": "date"}


def test_parameters_are_numbered_in_the_order_they_come() -> None:
    """Each has one number, wherever it stands; types of others are left out."""
    statement = Prepared(name="twice", statement=TWICE, types=TYPES)

    assert "PREPARE twice (text, int) AS SELECT $1 LIKE '%o%' AS has_o, $2 + $2 AS twice;" in statement.preparation
    assert statement.execution == "EXECUTE twice (%(text)s, %(number)s)"


async def test_a_planned_statement_answers_as_before(each_database: Database) -> None:
    """Who runs it does not know whether it was planned; the planner is not asked again."""
    node = await a_node(each_database.target)
    given: dict[str, Any] = {"text": "no", "number": 21}
    try:
        before = await node.execute(TWICE, given)
        await node.prepare(TWICE, TYPES)
        after = await node.execute(TWICE, given)
        plans = await node.execute("SELECT generic_plans, custom_plans FROM pg_prepared_statements")
    finally:
        node.close()

    assert after.rows == before.rows == [{"has_o": True, "twice": 42}]
    assert plans.rows == [{"generic_plans": 2, "custom_plans": 0}]


async def test_what_cannot_be_planned_is_told_and_not_kept(database: Database) -> None:
    """The session goes on, and the statement fails as it would have."""
    node = await a_node(database.target)
    try:
        for ask in (lambda: node.prepare("SELECT nonsense", {}), lambda: node.execute("SELECT nonsense")):
            with pytest.raises(errors.StatementFailed, match='column "nonsense" does not exist'):
                await ask()
        assert (await node.execute("SELECT 1")).scalar == 1
    finally:
        node.close()


async def test_planning_the_kick_ends_nobody(each_database: Database) -> None:
    """It is planned while clients are at work and the gate is open."""
    client = each_database.connect("app").cursor()
    client.execute("SELECT pg_backend_pid()")
    before = client.fetchall()
    async with prepared(each_database) as outage:
        client.execute("SELECT pg_backend_pid()")

        assert client.fetchall() == before
        assert outage.kicked == ()


@pytest.mark.parametrize("statement", PLANNED, ids=["check", "kick"])
async def test_every_parameter_has_its_type(statement: str, database: Database) -> None:
    """Empty lists as well as full ones reach the plan."""
    node = await a_node(database.target)
    everybody = {**Rules(fragile=frozenset({"process_upload"}), spared=ADMINS, ours=frozenset({1})).parameters,
                 "signalled": [], "only_in_transaction": True, "not_yet": ["process_upload"]}
    nobody = {**Rules().parameters, "signalled": [1, 2], "only_in_transaction": True, "not_yet": []}
    try:
        await node.prepare(statement, PARAMETER_TYPES)
        for given in (everybody, nobody):
            await node.execute(statement, given)
    finally:
        node.close()


async def test_a_plan_follows_the_catalog(database: Database) -> None:
    """A session that connects after the planning is seen."""
    node = await a_node(database.target)
    rules = Rules(spared=ADMINS)
    try:
        await node.prepare(SELECT_SESSIONS, PARAMETER_TYPES)
        before = await list_all(node, rules)
        database.connect("app").cursor().execute("SELECT 1")
        after = await list_all(node, rules)
    finally:
        node.close()

    assert ([each.user for each in before], [each.user for each in after]) == ([], ["app"])


def test_the_kick_takes_no_other_parameters() -> None:
    """One without a type would end every outage before it begins."""
    wanted = {name for text in (SELECT_SESSIONS, KICK_SESSIONS)
              for name in Prepared(name="any", statement=text, types=PARAMETER_TYPES).parameters}

    assert wanted == set(PARAMETER_TYPES)

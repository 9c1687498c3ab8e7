"""One patch, statement by statement, in somebody else's transaction."""

from __future__ import annotations

import pytest

from downtime import errors
from downtime.apply import AppliedStatement, PatchFailed, apply_cold
from tests.builders import a_deployment, a_node
from tests.databases import Database


async def apply(database: Database, sql: str) -> list[AppliedStatement]:
    done: list[AppliedStatement] = []
    node = await a_node(database.target)
    try:
        async with node.transaction():
            await apply_cold(node, a_deployment(sql=sql), before_each=lambda: None, progress=done.append)
    finally:
        node.close()
    return done


async def test_each_statement_reports_its_tag_and_its_notices(each_database: Database) -> None:
    """What psql would have printed, beside the statement that caused it."""
    done = await apply(each_database, "UPDATE account SET balance = 2;\nDO $$ BEGIN RAISE NOTICE 'hello'; END $$;")

    assert [(each.statement.line, each.status, each.notices) for each in done] == [
        (1, "UPDATE 10", ()), (2, "DO", ("NOTICE:  hello",))]


async def test_detail_and_hint_of_the_server_are_told(database: Database) -> None:
    """They often are the answer."""
    with pytest.raises(PatchFailed, match=r"line 1: duplicate key.*\n  detail: Key \(id\)"):
        await apply(database, "INSERT INTO account (id, name) OVERRIDING SYSTEM VALUE VALUES (1, 'x');")


async def test_a_lock_that_was_not_to_be_had_is_told_with_its_line(database: Database) -> None:
    """A cold patch does not try again: whoever was not kicked holds it."""
    database.connect("app").cursor().execute("SELECT 1 FROM account")
    with pytest.raises(PatchFailed, match=r"line 2: .*lock timeout"):
        await apply(database, "SET lock_timeout = '50ms';\nALTER TABLE account ADD COLUMN note text;")


async def test_an_objection_between_two_statements_ends_it(database: Database) -> None:
    """Nothing of it is left."""
    def stop() -> None:
        raise errors.Aborted(phase="apply", reason="stopped")

    node = await a_node(database.target)
    try:
        with pytest.raises(errors.Aborted):
            async with node.transaction():
                await apply_cold(node, a_deployment(), before_each=stop, progress=lambda each: None)
    finally:
        node.close()

    assert database.admin_sql("SELECT to_regclass('added')") == [(None,)]

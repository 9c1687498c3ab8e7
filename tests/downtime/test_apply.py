"""One patch, statement by statement, in somebody else's transaction."""

from __future__ import annotations

import resource

import pytest

from downtime import errors
from downtime.apply import AppliedStatement, PatchBlocked, PatchFailed, apply_cold
from tests.builders import a_deployment, a_node
from tests.databases import Database


async def apply(database: Database, sql: str, **settings: str) -> list[AppliedStatement]:
    done: list[AppliedStatement] = []
    node = await a_node(database.target, settings=settings)
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
    with pytest.raises(PatchBlocked, match=r"patch-1.sql, line 2: .*lock timeout"):
        await apply(database, "SELECT 1;\nALTER TABLE account ADD COLUMN note text;", lock_timeout="50ms")


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


async def test_notices_are_kept_within_bounds(database: Database) -> None:
    """A patch may raise a million of them, of megabytes each; the first ones explain."""
    loud = "DO $$ BEGIN FOR i IN 1 .. {} LOOP RAISE NOTICE '%', repeat('x', {}); END LOOP; END $$;"
    long, many, late = await apply(database, "\n".join([
        loud.format(1, 1_000_000), loud.format(1500, 10), loud.format(3, 10)]))

    assert len(long.notices[0]) < 1100
    assert (len(many.notices), many.notices[-1]) == (1000, "… and 501 more")
    assert late.notices == ("… and 3 more",)


async def test_rows_of_a_query_stay_in_the_server(database: Database) -> None:
    """Nobody looks at them: a patch that selects a gigabyte would fill the buildmaster's memory with it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done = await apply(database, "SELECT repeat('x', 1000000) FROM generate_series(1, 300);\n"
                                 "SELECT 1 -- to the end of the line\n;ALTER TABLE account ADD COLUMN note text;")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024

    print(f"{grown:.0f} MB for 300 MB of rows")
    assert [each.status for each in done] == ["SELECT 300", "SELECT 1", "ALTER TABLE"]
    assert grown < 100


@pytest.mark.parametrize("query", [
    "WITH new AS (INSERT INTO upload (path) VALUES ('x') RETURNING id) SELECT * FROM new",
    "SELECT 1 AS one INTO TEMP made", "SELECT 1 UNION SELECT 2", "VALUES (1), (2)", "TABLE account",
    "SELECT * FROM account FOR UPDATE", "WITH a AS (SELECT 1) SELECT * FROM a", "SELECT", "(SELECT 1)",
    "SELECT 'x'" + " || 'x'" * 200, "SELECT setval('account_id_seq', 50)"])
async def test_queries_of_every_form_run(each_database: Database, query: str) -> None:
    """As they would have run for any other client."""
    (done,) = await apply(each_database, f"{query};")

    assert done.status.startswith("SELECT")


async def test_an_error_in_a_query_is_told_with_its_line(database: Database) -> None:
    """Counted in the file's own text, whatever was sent around it."""
    with pytest.raises(PatchFailed, match=r"patch-1\.sql, line 4: column .nothing. does not exist"):
        await apply(database, "SELECT 1;\n\nSELECT 1,\n   nothing\nFROM account;")

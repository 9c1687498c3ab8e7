from __future__ import annotations

import pytest

from downtime import parsing, statements
from downtime.statements import SqlSyntaxError, split


@pytest.mark.parametrize(("sql", "relations", "index"), [
    ("CREATE INDEX CONCURRENTLY ix ON app.t (a)", ("app.t",), "ix"),
    ('CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS "Ix" ON ONLY "My schema"."T" (a)', ('"My schema"."T"',), '"Ix"'),
    ("CREATE INDEX CONCURRENTLY ON t (a)", ("t",), ""),
    ("DROP INDEX CONCURRENTLY IF EXISTS app.ix", ("app.ix",), ""),
    ("REINDEX TABLE CONCURRENTLY t", ("t",), ""),
    ("REINDEX (VERBOSE, CONCURRENTLY) INDEX app.ix", ("app.ix",), ""),
    ("REINDEX SCHEMA CONCURRENTLY app", (), ""),
    ("VACUUM", (), ""),
    ("VACUUM (FULL) a, ONLY app.b (c)", ("a", "app.b"), ""),
    ("CLUSTER", (), ""),
    ("ALTER TABLE app.p DETACH PARTITION app.p1 CONCURRENTLY", ("app.p", "app.p1"), ""),
    ("ALTER SYSTEM SET work_mem = '8MB'", (), ""),
    ('REINDEX TABLE CONCURRENTLY "select"', ('"select"',), ""),
    ('REINDEX TABLE CONCURRENTLY "a""b"', ('"a""b"',), ""),
    ("REINDEX TABLE CONCURRENTLY Größe", ('"größe"',), ""),
])
def test_relations_of_a_statement_outside_transactions_are_named_as_sql_wants_them(
        sql: str, relations: tuple[str, ...], index: str) -> None:
    """What it locks or has left behind cannot be seen from inside its own transaction: it is looked up by these."""
    (statement,) = split(sql)

    assert not statement.transactional
    assert (statement.relations, statement.index) == (relations, index)


@pytest.mark.parametrize("sql", [
    "CREATE INDEX ix ON t (a)", "DROP INDEX ix", "ANALYZE t", "ALTER TABLE p DETACH PARTITION p1", "CLUSTER t USING i"])
def test_relations_of_other_statements_are_left_to_their_locks(sql: str) -> None:
    """A transaction sees what it has locked, also through functions and triggers; the text would tell less."""
    (statement,) = split(sql)

    assert (statement.relations, statement.index) == ((), "")


def test_relation_of_an_index_too_deep_to_be_read_is_known() -> None:
    """An expression of eighty `||` hides nothing else."""
    (statement,) = split(f'CREATE INDEX CONCURRENTLY "Ix" ON app.t (({"||".join("a" * 80)}))')

    assert (statement.relations, statement.index) == (("app.t",), '"Ix"')


@pytest.mark.parametrize(("sql", "same"), [
    ("CREATE INDEX CONCURRENTLY IF NOT EXISTS ix ON app.t (a)", "CREATE INDEX twin ON pg_temp.copy USING btree (a)"),
    ("CREATE INDEX CONCURRENTLY ON t USING gin (a)", "CREATE INDEX twin ON pg_temp.copy USING gin (a)"),
    ("CREATE UNIQUE INDEX CONCURRENTLY ix ON t (a, (t.b + app.t.c)) INCLUDE (c) NULLS NOT DISTINCT WHERE t.d > 0",
     "CREATE UNIQUE INDEX twin ON pg_temp.copy USING btree (a, (b + c)) INCLUDE (c) NULLS NOT DISTINCT WHERE d > 0"),
    ("CREATE INDEX ix ON t (lower(a) COLLATE \"C\" text_pattern_ops DESC NULLS LAST) WITH (fillfactor = 70)",
     "CREATE INDEX twin ON pg_temp.copy USING btree (lower(a) COLLATE \"C\" text_pattern_ops DESC NULLS LAST) "
     "WITH (fillfactor=70)"),
])
def test_the_same_index_is_written_for_another_relation(sql: str, same: str) -> None:
    """Built on an empty copy of the table, it shows what an index that is there already should look like."""
    (statement,) = split(sql)

    assert statements.index_on(statement, "pg_temp.copy", index="twin") == same


def test_names_for_the_same_index_may_need_quotes() -> None:
    """They are given as SQL has them."""
    (statement,) = split("CREATE INDEX ix ON t (a)")

    assert statements.index_on(statement, '"My schema"."T"', index='"I x"') == (
        'CREATE INDEX "I x" ON "My schema"."T" USING btree (a)')


def test_index_too_deep_to_be_written_again_is_refused() -> None:
    """A part of it must not pass for the whole."""
    (statement,) = split(f"CREATE INDEX ix ON t (({'||'.join('a' * 80)}))")

    with pytest.raises(SqlSyntaxError) as raised:
        statements.index_on(statement, "copy", index="twin")

    assert raised.value.reason == parsing.TOO_DEEP_TO_WRITE


def test_only_an_index_is_written_again() -> None:
    """Another statement is a mistake of the caller."""

    with pytest.raises(ValueError, match="no CREATE INDEX"):
        statements.index_on(split("SELECT 1")[0], "copy", index="twin")

"""Comparing the index that is there with the one that a statement would make."""

from __future__ import annotations

import pytest

from downtime import indexes
from downtime.standalone import is_about
from downtime.statements import split
from tests.builders import a_node
from tests.databases import Database

WANTED = "CREATE INDEX i ON pg_temp_3.t USING btree (a)"


def an_invalid_index(name: str) -> indexes.Invalid:
    return indexes.Invalid(index=name, table="t", name=name, qualified=f"public.{name}", oid=1, within_reach=True)


@pytest.mark.parametrize(("there", "same"), [
    ("CREATE INDEX i ON public.t USING btree (a)", True),
    ("CREATE UNIQUE INDEX i ON public.t USING btree (a)", False),
    ("CREATE INDEX i ON public.t USING hash (a)", False),
    ("CREATE INDEX i ON public.t USING btree (a DESC)", False),
    ("CREATE INDEX i ON public.t USING btree (a) WHERE (a > 1)", False),
    ("", False),
])
def test_definitions_are_compared_behind_their_names(there: str, same: bool) -> None:
    """The schema is that of an empty copy; all else counts."""
    assert indexes.alike(there, WANTED) is same


@pytest.mark.parametrize("columns", [
    "(name)", "(lower(name) text_pattern_ops DESC NULLS LAST)", "USING hash (name)", "(name) INCLUDE (id)",
    "(name) WITH (fillfactor=70) WHERE id > 3", '(name COLLATE "C")',
    "((coalesce(account.name, '')))"])
async def test_an_index_is_like_the_one_its_own_statement_would_make(each_database: Database, columns: str) -> None:
    """As each server words it; and nothing of the comparison stays."""
    each_database.admin_sql(f"SET ROLE patcher; CREATE INDEX account_name ON account {columns}")
    (statement,) = split(f"CREATE INDEX CONCURRENTLY account_name ON account {columns}")
    node = await a_node(each_database.target)
    try:
        where = await indexes.place(node, statement)
        assert where is not None
        wanted = await indexes.wanted(node, statement, where)
    finally:
        node.close()

    assert indexes.alike(where.definition, wanted), (where.definition, wanted)
    assert each_database.admin_sql("SELECT count(*) FROM pg_class WHERE relname = 'account'") == [(1,)]


@pytest.mark.parametrize(("sql", "name", "about"), [
    ("CREATE INDEX CONCURRENTLY Account_Name ON account (name)", "account_name", True),
    ('CREATE INDEX CONCURRENTLY "I.x" ON account (name)', "I.x", True),
    ("DROP INDEX CONCURRENTLY public.account_name", "account_name", True),
    ("REINDEX TABLE CONCURRENTLY account", "account_pkey_ccnew1", True),
    ("CREATE INDEX CONCURRENTLY other ON account (name)", "account_name", False),
    ("SELECT 1", "account_pkey_ccold", False),
])
def test_a_patch_may_put_an_invalid_index_right_by_itself(sql: str, name: str, about: bool) -> None:
    """Then it is no reason to refuse the patch."""
    (statement,) = split(sql)

    assert is_about(statement, an_invalid_index(name)) is about

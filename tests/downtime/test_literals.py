"""Passwords in clients' queries are in no log."""

from __future__ import annotations

import pytest

from downtime.literals import without_literals


@pytest.mark.parametrize(("query", "shown"), [
    ("SELECT 1", "SELECT 1"),
    ("ALTER ROLE app PASSWORD 'secret'", "ALTER ROLE app PASSWORD '...'"),
    ("SELECT 'a', 'b' FROM t", "SELECT '...', '...' FROM t"),
    ("SELECT 'it''s secret', 1", "SELECT '...', 1"),
    ("SELECT ''", "SELECT '...'"),
    ("ALTER ROLE app PASSWORD 'secr", "ALTER ROLE app PASSWORD '..."),
    (r"SELECT E'it\'s secret', 1", "SELECT E'...', 1"),
    (r"SELECT e'a\\', 1, 'secret'", "SELECT e'...', 1, '...'"),
    ("SELECT U&'secret', N'secret', B'01'", "SELECT U&'...', N'...', B'...'"),
    ("DO $$ secret 'x' $$; SELECT 1", "DO $$...$$; SELECT 1"),
    ("DO $a$ $$secret$$ $b$ $a$ LANGUAGE sql", "DO $a$...$a$ LANGUAGE sql"),
    ("DO $a$ secret $", "DO $a$..."),
    ("SELECT $1, $2", "SELECT $1, $2"),
    ("SELECT a$b$c FROM d$b$e", "SELECT a$b$c FROM d$b$e"),
    ('SELECT "it\'s a name", \'secret\'', 'SELECT "it\'s a name", \'...\''),
    ('SELECT "cut off\' here', 'SELECT "cut off\' here'),
    ("SELECT 1 -- it's\n, 'secret'", "SELECT 1 -- it's\n, '...'"),
    ("/* it's /* nested */ isn't */ SELECT 'secret'", "/* it's /* nested */ isn't */ SELECT '...'"),
    ("/* it's cut", "/* it's cut"),
    (r"SELECT 'c:\temp', 1", "SELECT '...', 1"),
    ("", ""),
])
def test_literals_are_blanked_and_nothing_else(query: str, shown: str) -> None:
    """Quoted, escaped, dollar-quoted, cut off; not names, comments and parameters."""

    assert without_literals(query) == shown


@pytest.mark.parametrize("query", [
    r"SELECT 'a\'; secret', 'b'",    # with standard_conforming_strings off
    r"SELECT 'a\', 'secret', 'b'",   # with it on
])
def test_where_the_end_is_not_known_all_the_rest_is_blanked(query: str) -> None:
    """Whether a backslash escapes a quote is a setting of the session that wrote it."""

    assert "secret" not in without_literals(query)


def test_a_long_query_is_no_work() -> None:
    """What clients write may be made to take long."""

    assert without_literals("'" + "''" * 100_000).count(".") == 3

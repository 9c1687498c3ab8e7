"""The SQL a DBA runs once."""

from __future__ import annotations

from downtime import install
from tests.databases import Database


def test_the_installation_may_be_run_again(each_database: Database) -> None:
    """With either gate; what was recorded stays."""
    each_database.admin_sql("INSERT INTO fastdowntime.ledger (id, sha256, lane, commit, started_at, seconds)"
                            " VALUES ('p', repeat('a', 64), 'cold', '', now(), 1)")
    each_database.install("hold")
    each_database.install("refuse")

    assert each_database.admin_sql("SELECT id FROM fastdowntime.ledger") == [("p",)]


def test_names_are_quoted() -> None:
    """A database or role may be called anything."""
    script = install.script('my "db"', "o'role")

    assert 'ALTER DATABASE "my ""db""" OWNER TO "o\'role"' in script
    assert "rolname = 'o''role'" in script

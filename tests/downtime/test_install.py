"""The SQL a DBA runs once."""

from __future__ import annotations

import contextlib

import psycopg2

from demo.servers import Server
from downtime import install
from tests.builders import a_node
from tests.databases import Database, MakeDatabase


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


async def test_patches_wait_for_an_autovacuum_no_longer_than_a_moment(each_database: Database) -> None:
    """The server's deadlock_timeout would be a second of outage; a patch's RESET ALL does not bring it back."""
    node = await a_node(each_database.target)
    try:
        await node.execute("RESET ALL")
        found = (await node.execute("SHOW deadlock_timeout")).scalar
    finally:
        node.close()

    assert found == "10ms"


def test_an_administrator_who_is_no_superuser_may_install(server: Server, make_database: MakeDatabase) -> None:
    """On a managed service there is none; what needs one is left out, with a notice."""
    database = make_database(server, gate=None)
    server.admin_sql("CREATE ROLE administrator LOGIN CREATEROLE CREATEDB PASSWORD 'secret' IN ROLE patcher;"
                     " GRANT pg_monitor, pg_signal_backend TO administrator WITH ADMIN OPTION")
    try:
        connection = psycopg2.connect(server.dsn(user="administrator", database=database.name, password="secret"))
        with contextlib.closing(connection):
            connection.autocommit = True
            connection.cursor().execute("SET ROLE patcher; GRANT CREATE ON DATABASE "
                                        f"{database.name} TO administrator; RESET ROLE")
            connection.cursor().execute(install.script(database.name, "patcher", "refuse"))
            notices = "".join(connection.notices)
    finally:
        database.admin_sql("DROP OWNED BY administrator CASCADE; DROP ROLE administrator")

    assert "deadlock_timeout of role patcher stays as it is: permission denied" in notices

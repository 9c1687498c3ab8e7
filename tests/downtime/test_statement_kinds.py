"""What we say of statements is what PostgreSQL says: the same lists are asked of the parser and of real servers."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import pytest

from demo.servers import Server
from downtime import sqlstates, statements
from tests.databases import MakeDatabase

SCHEMA = """
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE INDEX i ON t (v);
CREATE TABLE parted (id int) PARTITION BY RANGE (id);
CREATE TABLE part PARTITION OF parted FOR VALUES FROM (1) TO (2);
CREATE MATERIALIZED VIEW m AS SELECT 1 AS id;
CREATE UNIQUE INDEX ON m (id);
CREATE TYPE mood AS ENUM ('sad');
"""

SUBSCRIPTION = "CREATE SUBSCRIPTION s CONNECTION 'dbname=none' PUBLICATION p WITH (connect = false)"
ENABLED = f"{SUBSCRIPTION}; ALTER SUBSCRIPTION s ENABLE"

# statement: what has to be there before, in the same transaction
ALONE = {
    "CREATE INDEX CONCURRENTLY j ON t (v)": "",
    "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS j ON t (v)": "",
    "DROP INDEX CONCURRENTLY i": "",
    "REINDEX INDEX CONCURRENTLY i": "",
    "REINDEX (VERBOSE, CONCURRENTLY) TABLE t": "",
    "REINDEX (CONCURRENTLY ON) TABLE t": "",
    "REINDEX SCHEMA public": "",
    "REINDEX DATABASE d": "",
    "VACUUM": "",
    "VACUUM (ANALYZE) t": "",
    "CLUSTER": "",
    "CREATE DATABASE d": "",
    "DROP DATABASE IF EXISTS d": "",
    "ALTER DATABASE template1 SET TABLESPACE pg_default": "",
    "CREATE TABLESPACE ts LOCATION '/nowhere'": "",
    "DROP TABLESPACE IF EXISTS ts": "",
    "ALTER SYSTEM SET work_mem = '8MB'": "",
    "ALTER TABLE parted DETACH PARTITION part CONCURRENTLY": "",
    "DISCARD ALL": "",
    "CREATE SUBSCRIPTION s CONNECTION 'dbname=none' PUBLICATION p": "",
    "DROP SUBSCRIPTION s": SUBSCRIPTION,
    "ALTER SUBSCRIPTION s REFRESH PUBLICATION": ENABLED,
    "ALTER SUBSCRIPTION s SET PUBLICATION q": ENABLED,
    "ALTER SUBSCRIPTION s ADD PUBLICATION q WITH (copy_data = false)": ENABLED,
}

IN_A_TRANSACTION = {
    "CREATE INDEX j ON t (v)": "",
    "DROP INDEX i": "",
    "REINDEX TABLE t": "",
    "REINDEX (CONCURRENTLY FALSE) INDEX i": "",
    "REINDEX (CONCURRENTLY 0) INDEX i": "",
    "REFRESH MATERIALIZED VIEW CONCURRENTLY m": "",
    "ALTER TYPE mood ADD VALUE 'happy'": "",
    "ALTER TABLE parted DETACH PARTITION part": "",
    "ALTER TABLE parted DETACH PARTITION part FINALIZE": "",
    "ANALYZE t": "",
    "CLUSTER t USING i": "",
    "ALTER DATABASE template1 CONNECTION LIMIT 5": "",
    "DISCARD PLANS": "",
    "CHECKPOINT": "",
    SUBSCRIPTION: "",
    "CREATE SUBSCRIPTION s CONNECTION 'dbname=none' PUBLICATION p WITH (connect = 0, create_slot = off)": "",
    "ALTER SUBSCRIPTION s SET PUBLICATION q WITH (refresh = false)": SUBSCRIPTION,
    "ALTER SUBSCRIPTION s CONNECTION 'dbname=other'": SUBSCRIPTION,
}


@pytest.mark.parametrize("sql", ALONE)
def test_statement_that_runs_alone_is_known(sql: str) -> None:
    """In a cold patch it would fail at the worst moment."""
    (statement,) = statements.split(sql)

    assert not statement.transactional


@pytest.mark.parametrize("sql", IN_A_TRANSACTION)
def test_statement_that_runs_in_a_transaction_is_not_refused(sql: str) -> None:
    """What looks like the others and is not: a needless refusal costs a landing."""
    (statement,) = statements.split(sql)

    assert statement.transactional


def test_servers_agree_on_what_runs_alone(each_server: Server, make_database: MakeDatabase) -> None:
    """Every version refuses exactly our list inside a transaction."""
    database = make_database(each_server, gate=None)
    database.admin_sql(SCHEMA)
    with closing(psycopg2.connect(database.superuser_dsn)) as connection:
        answers = {sql: _answer(connection, before, sql) for sql, before in (ALONE | IN_A_TRANSACTION).items()}

    assert {sql for sql, answer in answers.items() if answer == sqlstates.ACTIVE_SQL_TRANSACTION} == set(ALONE)


def _answer(connection: psycopg2.extensions.connection, before: str, sql: str) -> str | None:
    try:
        with connection.cursor() as cursor:
            if before:
                cursor.execute(before)
            cursor.execute("SELECT 1")  # the transaction has begun, whatever comes
            cursor.execute(sql)
    except psycopg2.Error as error:
        return error.pgcode
    finally:
        connection.rollback()
    return None


@pytest.mark.parametrize(("sql", "kind"), [
    ("CREATE UNIQUE INDEX CONCURRENTLY j ON t (v)", "CREATE INDEX CONCURRENTLY"),
    ("CREATE TEMP TABLE x ()", "CREATE TABLE"),
    ("CREATE TABLE x AS SELECT 1", "CREATE TABLE AS"),
    ("CREATE MATERIALIZED VIEW x AS SELECT 1", "CREATE MATERIALIZED VIEW"),
    ("CREATE OR REPLACE VIEW x AS SELECT 1", "CREATE VIEW"),
    ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE FUNCTION"),
    ("CREATE PROCEDURE p() LANGUAGE sql AS 'SELECT 1'", "CREATE PROCEDURE"),
    ("CREATE AGGREGATE a(int) (sfunc = f, stype = int)", "CREATE AGGREGATE"),
    ("CREATE TYPE c AS (a int)", "CREATE TYPE"),
    ("CREATE EXTENSION e", "CREATE EXTENSION"),
    ("CREATE SCHEMA s", "CREATE SCHEMA"),
    ("ALTER TABLE t ADD COLUMN c int", "ALTER TABLE"),
    ("ALTER TABLE t RENAME COLUMN a TO b", "ALTER TABLE"),
    ("ALTER TABLE t RENAME TO u", "ALTER TABLE"),
    ("ALTER TABLE t SET SCHEMA s", "ALTER TABLE"),
    ("ALTER INDEX i RENAME TO j", "ALTER INDEX"),
    ("ALTER FUNCTION f() OWNER TO o", "ALTER FUNCTION"),
    ("ALTER FUNCTION f() STABLE", "ALTER FUNCTION"),
    ("ALTER SEQUENCE s RESTART", "ALTER SEQUENCE"),
    ("ALTER TABLE parted DETACH PARTITION part CONCURRENTLY", "ALTER TABLE DETACH PARTITION CONCURRENTLY"),
    ("DROP TABLE t", "DROP TABLE"),
    ("DROP MATERIALIZED VIEW m", "DROP MATERIALIZED VIEW"),
    ("DROP INDEX CONCURRENTLY i", "DROP INDEX CONCURRENTLY"),
    ("REINDEX (CONCURRENTLY) SCHEMA s", "REINDEX SCHEMA CONCURRENTLY"),
    ("WITH x AS (SELECT 1) UPDATE t SET v = 1", "UPDATE"),
    ("VALUES (1)", "SELECT"),
    ("GRANT SELECT ON t TO app", "GRANT"),
    ("REVOKE SELECT ON t FROM app", "REVOKE"),
    ("REVOKE a FROM b", "REVOKE"),
    ("SET search_path = s", "SET"),
    ("DO $$ BEGIN END $$", "DO"),
    ("COPY t TO STDOUT", "COPY TO STDOUT"),
    ("COPY t FROM '/tmp/file'", "COPY FROM"),
    ("END", "COMMIT"),
    ("ABORT", "ROLLBACK"),
])
def test_kind_is_what_people_say(sql: str, kind: str) -> None:
    """It stands in step logs and in objections."""
    (statement,) = statements.split(sql)

    assert statement.kind == kind

"""Where a server is, read from a DSN."""

from __future__ import annotations

import pytest

from downtime.target import Target


def test_label_is_what_an_operator_would_type() -> None:
    """Messages name host, port and database, and fill in libpq's default port."""

    assert Target(dsn="postgresql://patcher@db2/app").label == "db2:5432/app"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_spellings_of_loopback_are_one_server(host: str) -> None:
    """Two environments on one server are found however they name it."""

    assert Target(dsn=f"postgresql://patcher@{host}:5433/app").server == "localhost:5433"


def test_other_database_keeps_server_user_and_password() -> None:
    """The maintenance database is reached the way the patched one is."""

    patched = Target(dsn="postgresql://patcher@db2:5433/app?sslmode=verify-full", password="s3cret")
    other = patched.with_database("postgres")
    assert other.parameters == {
        "user": "patcher", "host": "db2", "port": "5433", "dbname": "postgres", "sslmode": "verify-full"}
    assert other.password == "s3cret"
    assert "s3cret" not in repr(other)

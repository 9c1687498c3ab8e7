"""The databases of the settings: connections, passwords, warnings, times, commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from downtime.settings import Settings

LoadWith = Callable[..., Settings]
ProblemsWith = Callable[[dict[str, Any]], tuple[str, ...]]

PRODUCTION = "environments.production"


def a_password_file(folder: Path, content: bytes = b"from-file\n", mode: int = 0o600) -> str:
    path = folder / "production-password"
    path.write_bytes(content)
    path.chmod(mode)
    return path.name


def test_password_comes_from_the_file_beside_the_settings(load_with: LoadWith, tmp_path: Path) -> None:
    """The path is relative to the settings, the trailing newline is no part of the password, the file goes first."""

    settings = load_with({f"{PRODUCTION}.password_file": a_password_file(tmp_path)},
                         {"FASTDOWNTIME_PRODUCTION_PASSWORD": "from-environment"})
    assert settings.environment("production").target.password == "from-file"
    assert settings.warnings == ()


def test_password_comes_from_the_variable_of_its_environment(load_with: LoadWith) -> None:
    """Each environment has a variable of its own; staging does not get production's password."""

    settings = load_with(environ={"FASTDOWNTIME_PRODUCTION_PASSWORD": "from-environment"})
    assert settings.environment("production").target.password == "from-environment"
    assert settings.environment("staging").target.password is None


def test_password_in_clear_works_with_a_warning(load_with: LoadWith) -> None:
    """It is used and taken out of the DSN, and the warning names both better places."""

    settings = load_with({f"{PRODUCTION}.database": "postgresql://patcher:clear%40@localhost:5433/app"})
    target = settings.environment("production").target
    assert target.password == "clear@"
    assert "clear" not in target.dsn
    assert settings.warnings == (
        f"{PRODUCTION}.database: password in clear; move it to a file named by password_file, or to "
        "FASTDOWNTIME_PRODUCTION_PASSWORD.",)


def test_no_representation_shows_a_password(load_with: LoadWith, tmp_path: Path) -> None:
    """However the settings are printed, logged or dumped, and wherever the password came from."""

    settings = load_with({
        "environments.staging.database": "host=localhost dbname=app user=patcher password=s3cret",
        f"{PRODUCTION}.password_file": a_password_file(tmp_path, b"s3cret"),
        f"{PRODUCTION}.poolers": ["postgresql://pgbouncer:s3cret@localhost:6432/pgbouncer"],
    }, {"FASTDOWNTIME_PRODUCTION_PASSWORD": "s3cret"})
    target = settings.environment("production").target
    assert "s3cret" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()} {target!r}"


@pytest.mark.parametrize(("content", "problem"), [
    (b"\n", "is empty; write the secret into it."),
    (b"one\ntwo\n", "should hold one line, the secret."),
    (b"\xff", "is not UTF-8 text."),
])
def test_password_file_without_a_password_is_a_problem(
    content: bytes, problem: str, problems_with: ProblemsWith, tmp_path: Path,
) -> None:
    """The key and the path are named; the content is not."""

    name = a_password_file(tmp_path, content)
    assert problems_with({f"{PRODUCTION}.password_file": name}) == (
        f"{PRODUCTION}.password_file: {tmp_path / name} {problem}",)


@pytest.mark.parametrize(("name", "reason"), [("none", "No such file or directory"), (".", "Is a directory")])
def test_password_file_that_cannot_be_read_is_a_problem(
    name: str, reason: str, problems_with: ProblemsWith, tmp_path: Path,
) -> None:
    """A password that is not there is told before anything connects."""

    (problem,) = problems_with({f"{PRODUCTION}.password_file": name})
    assert problem == f"{PRODUCTION}.password_file: cannot read {Path(tmp_path, name)}: {reason}."


def test_password_file_open_to_others_is_warned_of(load_with: LoadWith, tmp_path: Path) -> None:
    """The warning is the command that puts it right."""

    settings = load_with({f"{PRODUCTION}.password_file": a_password_file(tmp_path, mode=0o640)})
    (warning,) = settings.warnings
    assert warning.endswith(f"chmod 600 {tmp_path / 'production-password'}.")


@pytest.mark.parametrize(("dsn", "problem"), [
    ("postgresql://patcher:pa%zz@db/app", "libpq cannot read this connection string"),
    ("just words", "libpq cannot read this connection string"),
    ("postgresql://patcher:p@ss@db/app", "percent-encode special characters"),
    ("postgresql://patcher:12/34@db/app", "percent-encode special characters"),
    ("postgresql://db/app", "names no user; write"),
    ("host=db", "names no database and no user; write"),
    ("postgresql://patcher@db/app?sslpassword=x", "use a client key without a passphrase"),
    (5432, "should be a connection string"),
])
def test_connection_that_libpq_would_misread_is_a_problem(
    dsn: object, problem: str, problems_with: ProblemsWith,
) -> None:
    """What libpq cannot read, or reads as another host than was meant, is refused without being quoted."""

    (told,) = problems_with({f"{PRODUCTION}.database": dsn})
    assert problem in told
    assert "p@ss" not in told
    assert "12/34" not in told


@pytest.mark.parametrize("dsn", [
    "postgresql://patcher@127.0.0.1/app", "postgresql://patcher@[::1]/app", "user=patcher dbname=app",
    "host=/run/postgresql user=patcher dbname=app",
    "postgresql://patcher@db.example.org/app?sslmode=verify-full",
])
def test_local_or_verified_connection_is_not_warned_of(dsn: str, load_with: LoadWith) -> None:
    """A way that stays on the machine, or ends at a proven server, needs no remark."""

    assert load_with({f"{PRODUCTION}.database": dsn}).warnings == ()


@pytest.mark.parametrize("dsn", [
    "postgresql://patcher@db.example.org/app", "postgresql://patcher@db.example.org/app?sslmode=require",
    "postgresql://patcher@localhost,db.example.org/app", "host=localhost hostaddr=192.0.2.1 user=patcher dbname=app",
])
def test_unverified_connection_to_another_host_is_warned_of(dsn: str, load_with: LoadWith) -> None:
    """Somebody between here and there could read the patch and answer for the server."""

    (warning,) = load_with({f"{PRODUCTION}.database": dsn}).warnings
    assert warning.startswith(f"{PRODUCTION}.database: connects to another host without sslmode=verify-full")



def test_staging_and_production_are_never_the_same_database(problems_with: ProblemsWith) -> None:
    """However the two are written, a rehearsal must not be a deployment."""

    (problem,) = problems_with({"environments.staging.database": "host=127.0.0.1 port=5433 dbname=app user=owner"})
    assert problem.startswith("environments.production: is the same database as environments.staging")


def test_closing_gate_on_a_shared_server_is_warned_of(load_with: LoadWith) -> None:
    """Gate hold closes the whole server, so each rehearsal would be an outage of production."""

    same_server = {"environments.staging.database": "postgresql://patcher@localhost:5433/staging"}
    (warning,) = load_with(same_server).warnings
    assert warning.startswith("environments.staging.gate: hold closes the whole server")
    assert load_with({**same_server, "environments.staging.gate": "refuse"}).warnings == ()


@pytest.mark.parametrize(("key", "value", "problem"), [
    ("windows.cron", ["30 8 * * mon-fri", "61 8 * * *"], "windows.cron[1]: should be five cron fields"),
    ("windows.cron", ["0 0 30 2 *"], "windows.cron[0]: should be five cron fields"),
    ("windows.cron", ["0 0 8 * * mon"], "windows.cron[0]: should be five cron fields"),
    ("windows.timezone", "Mars/Olympus", "windows.timezone: is no known time zone"),
    ("windows.timezone", "../UTC", "windows.timezone: is no known time zone"),
    ("windows.minutes", 0, "windows.minutes: Input should be greater than 0"),
    ("drain_seconds", -1, "drain_seconds: Input should be greater than or equal to 0"),
])
def test_times_are_judged(key: str, value: object, problem: str, problems_with: ProblemsWith) -> None:
    """A window that never comes is told when the master starts, not at half past eight."""

    changes = {f"{PRODUCTION}.windows": {"cron": ["30 8 * * mon-fri"], "minutes": 30}, f"{PRODUCTION}.{key}": value}
    (told,) = problems_with(changes)
    assert told.startswith(f"{PRODUCTION}.{problem}")

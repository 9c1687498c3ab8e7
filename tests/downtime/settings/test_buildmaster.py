"""The web side of the settings: addresses and sign-in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from downtime.settings import Settings

LoadWith = Callable[..., Settings]
ProblemsWith = Callable[[dict[str, Any]], tuple[str, ...]]

PROXY = {"proxy_header": {"username": "X-Forwarded-User"}}


@pytest.mark.parametrize("auth", [{}, {"users_file": "users", **PROXY}])
def test_there_is_exactly_one_way_to_sign_in(auth: dict[str, Any], problems_with: ProblemsWith) -> None:
    """Two ways would let in whoever passes the weaker one."""

    (problem,) = problems_with({"buildmaster.auth": auth})
    assert problem.startswith("buildmaster.auth: should have exactly one of users_file, github, gitlab, google")


@pytest.mark.parametrize("listen", ["tcp:8010", "tcp:8010:interface=0.0.0.0", "tcp:8010:interface=db.example.org"])
def test_proxy_header_is_refused_where_anybody_could_send_it(listen: str, problems_with: ProblemsWith) -> None:
    """The header is proof only if nobody but the proxy reaches the port."""

    (problem,) = problems_with({"buildmaster.auth": PROXY, "buildmaster.listen": listen})
    assert problem.startswith("buildmaster.auth: proxy_header needs buildmaster.listen on loopback")


@pytest.mark.parametrize("listen", [
    "tcp:8010:interface=127.0.0.1", "tcp:8010:interface=localhost", r"tcp:8010:interface=\:\:1", "unix:web.socket",
])
def test_proxy_header_is_accepted_on_loopback(listen: str, load_with: LoadWith) -> None:
    """A proxy on the same machine may vouch for people."""

    settings = load_with({"buildmaster.auth": PROXY, "buildmaster.listen": listen})
    assert settings.buildmaster.auth.proxy_header is not None


def test_client_secret_is_read_and_never_shown(load_with: LoadWith, tmp_path: Path) -> None:
    """The secret of the sign-in service comes from a file, as passwords do."""

    (tmp_path / "client-secret").write_text("s3cret\n", encoding="utf-8")
    (tmp_path / "client-secret").chmod(0o644)
    settings = load_with({"buildmaster.auth": {"github": {"client_id": "1", "client_secret_file": "client-secret"}}})
    github = settings.buildmaster.auth.github
    assert github is not None
    assert github.client_secret_file.secret == "s3cret"
    assert "s3cret" not in f"{settings!r} {settings.model_dump()}"
    assert settings.warnings[0].startswith("buildmaster.auth.github.client_secret_file: ")


def test_google_knows_people_by_address_alone(problems_with: ProblemsWith, tmp_path: Path) -> None:
    """`operator` would be anybody with an address that starts so, at any domain."""

    (tmp_path / "client-secret").write_text("s3cret", encoding="utf-8")
    auth = {"google": {"client_id": "1", "client_secret_file": "client-secret"}}
    (problem,) = problems_with({"buildmaster.auth": auth, "people.operators": ["operator", "developer@example.org"]})
    assert problem.startswith("people: operator: write the e-mail address")


@pytest.mark.parametrize(("key", "value", "problem"), [
    ("url", "localhost:8010", "should start with http:// or https://"),
    ("listen", "8010", "should be an endpoint"),
    ("auth", {"proxy_header": {"username": "X User"}}, "should be the name of an HTTP header"),
])
def test_web_addresses_are_judged(key: str, value: object, problem: str, problems_with: ProblemsWith) -> None:
    """A wrong address is told with an example of a right one."""

    (told,) = problems_with({f"buildmaster.{key}": value})
    assert told.startswith(f"buildmaster.{key}")
    assert problem in told


def test_address_ends_with_a_slash(load_with: LoadWith) -> None:
    """Buildbot makes its links by appending to it."""

    assert load_with({"buildmaster.url": "https://example.org/bb"}).buildmaster.url == "https://example.org/bb/"


def test_the_state_is_kept_where_no_gate_closes(problems_with: ProblemsWith) -> None:
    """In an outage Buildbot could open no connection to its own state: with gate hold nowhere on that server."""

    (problem,) = problems_with({
        "buildmaster.state": "postgresql+psycopg2://buildbot@127.0.0.1:5433/buildbot",
        "environments.production.database": "postgresql://patcher@localhost:5433/app"})
    assert problem.startswith("buildmaster.state: is on a server that environments.production closes")


def test_another_database_of_a_server_is_enough_for_gate_refuse(load_with: LoadWith) -> None:
    """It closes one database alone."""

    settings = load_with({
        "buildmaster.state": "postgresql+psycopg2://buildbot@127.0.0.1:5433/buildbot",
        "environments.production": {"database": "postgresql://patcher@localhost:5433/app", "gate": "refuse"}})
    assert settings.buildmaster.state_target is not None


@pytest.mark.parametrize("url", ["postgresql://buildbot@db.example.org/buildbot", "postgres://db.example.org/buildbot"])
def test_the_state_names_the_driver_that_is_installed(url: str, problems_with: ProblemsWith) -> None:
    """Without its name SQLAlchemy looks for psycopg 3, and Buildbot would end with an import error."""

    (problem,) = problems_with({"buildmaster.state": url})
    assert problem.startswith("buildmaster.state: should begin with postgresql+psycopg2://")


def test_a_password_spilt_into_the_address_of_the_state_is_not_shown(problems_with: ProblemsWith) -> None:
    """As everywhere else."""

    (problem,) = problems_with({"buildmaster.state": "postgresql+psycopg2://buildbot:a/s3cret@db.example.org/buildbot"})
    assert problem.startswith("buildmaster.state: host, port and database cannot be told apart")
    assert "s3cret" not in problem


def test_several_buildmasters_share_a_server(problems_with: ProblemsWith) -> None:
    """A file has no lease, and no other machine reaches it."""

    (problem,) = problems_with({"buildmaster.multi_master": {"router": "ws://127.0.0.1:8080/ws"}})
    assert problem.startswith("buildmaster.multi_master: needs buildmaster.state on a PostgreSQL server")


def test_a_router_is_known_by_a_web_socket(problems_with: ProblemsWith) -> None:
    """Buildbot itself would try for ever."""

    (problem,) = problems_with({
        "buildmaster.state": "postgresql+psycopg2://buildbot@db.example.org/buildbot",
        "buildmaster.multi_master": {"router": "http://127.0.0.1:8080/ws"}})
    assert problem.startswith("buildmaster.multi_master.router: should start with ws:// or wss://")

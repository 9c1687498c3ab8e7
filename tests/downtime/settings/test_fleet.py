"""Several databases in one environment: what each member is, and which lists are mistakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from downtime.settings import Gate, Settings

LoadWith = Callable[..., Settings]
ProblemsWith = Callable[[dict[str, Any]], tuple[str, ...]]

PRODUCTION = "environments.production"
DATABASES = f"{PRODUCTION}.fleet.databases"


def a_member(name: str, **keys: Any) -> dict[str, Any]:
    return {"name": name, "database": f"postgresql://patcher@localhost:5433/{name}", **keys}


def test_members_are_environments_with_the_rules_of_theirs(load_with: LoadWith) -> None:
    """Gate, kick and the like are those of the environment; database, poolers and replicas are each one's own."""

    production = load_with({f"{PRODUCTION}.gate": "refuse", f"{PRODUCTION}.drain_seconds": 3, DATABASES: [
        a_member("tenant-1", replicas=["postgresql://patcher@localhost:5434/tenant-1"]), a_member("tenant-2")],
        f"{PRODUCTION}.replicas": ["postgresql://patcher@localhost:5434/app"]}).environment("production")
    canary, first, second = production.members()

    assert [each.member for each in (canary, first, second)] == ["canary", "tenant-1", "tenant-2"]
    assert [each.title for each in (production, canary, first)] == [
        "production", "production canary", "production tenant-1"]
    assert [each.target.database for each in (canary, first, second)] == ["app", "tenant-1", "tenant-2"]
    assert {(each.name, each.gate, each.drain_seconds) for each in production.members()} == {
        ("production", Gate.REFUSE, 3)}
    assert [len(each.replicas.targets) for each in (canary, first, second)] == [1, 1, 0]
    assert [len(each.members()) for each in (canary, first, second)] == [1, 1, 1]


def test_an_environment_with_one_database_is_its_own_only_member(load_with: LoadWith) -> None:
    """What goes through all members works for those who have one database as well."""

    production = load_with().environment("production")

    assert (production.members(), production.title) == ((production,), "production")


def test_members_take_the_password_of_the_environment_unless_they_have_one(load_with: LoadWith, tmp_path: Path) -> None:
    """From their own file, or from their connection, which is warned of; replicas follow their member."""
    (tmp_path / "own").write_text("from-file")
    (tmp_path / "own").chmod(0o600)

    settings = load_with({DATABASES: [
        a_member("plain", replicas=["postgresql://patcher@localhost:5434/plain"]),
        a_member("filed", password_file="own", replicas=["postgresql://patcher@localhost:5434/filed"]),
        {"name": "clear", "database": "postgresql://patcher:in-clear@localhost:5433/clear"}]},
        {"FASTDOWNTIME_PRODUCTION_PASSWORD": "shared"})
    members = settings.environment("production").members()

    assert [each.target.password for each in members] == ["shared", "shared", "from-file", "in-clear"]
    assert [target.password for each in members for target in each.replicas.targets] == ["shared", "from-file"]
    assert settings.warnings == (
        f"{DATABASES}[2].database: password in clear; move it to a file named by password_file.",)
    assert "in-clear" not in f"{settings!r} {members!r}"


@pytest.mark.parametrize(("databases", "problem"), [
    ([a_member("one"), a_member("one")], "has the name one more than once"),
    ([a_member("canary")], "has the name canary more than once"),
    ([a_member("one"), {"name": "two", "database": "host=127.0.0.1 port=5433 dbname=one user=other"}],
     "has the database localhost:5433/one more than once"),
    ([{"name": "one", "database": "host=127.0.0.1 port=5433 dbname=app user=other"}], "which is the canary"),
    ([{"name": "one", "database": "host=127.0.0.1 port=5431 dbname=app user=other"}], "a rehearsal would be"),
    ([a_member("a name")], "should match"),
])
def test_a_list_that_cannot_be_meant_is_a_mistake(databases: list[dict[str, Any]], problem: str,
                                                  problems_with: ProblemsWith) -> None:
    """However a database is written, it is deployed to once; and staging is never among them."""

    (said,) = problems_with({DATABASES: databases})
    assert problem in said
    assert said.startswith(PRODUCTION)


def test_a_member_beside_staging_is_warned_of_where_staging_closes_the_server(load_with: LoadWith) -> None:
    """Every rehearsal would be an outage of that tenant."""

    (warning,) = load_with({DATABASES: [
        {"name": "one", "database": "postgresql://patcher@127.0.0.1:5431/one"}]}).warnings
    assert "every rehearsal is an outage there" in warning

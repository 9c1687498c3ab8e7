"""What stands around a database in the settings: poolers, replicas, and other databases like it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from downtime.settings import Settings
from downtime.settings.cluster import SessionPools

LoadWith = Callable[..., Settings]
ProblemsWith = Callable[[dict[str, Any]], tuple[str, ...]]

PRODUCTION = "environments.production"
CONSOLE = "postgresql://operator@localhost:6432/pgbouncer"
STANDBY = "postgresql://patcher@localhost:5434/app"
TENANT = {"name": "tenant-1", "database": "postgresql://patcher@localhost:5435/app"}


def test_a_pooler_may_be_its_console_alone(load_with: LoadWith) -> None:
    """Defaults that are safe: a few seconds for its transactions, and no session pool is ended unasked."""

    (pooler,) = load_with({f"{PRODUCTION}.poolers": [CONSOLE]}).environment("production").poolers
    assert pooler.target.dsn == load_with({f"{PRODUCTION}.poolers": [{"console": CONSOLE}]}).environment(
        "production").poolers[0].console.dsn
    assert (pooler.databases, pooler.pause_seconds, pooler.session_pools) == ((), 5, SessionPools.REFUSE)


def test_a_console_has_a_password_of_its_own(load_with: LoadWith, tmp_path: Path) -> None:
    """It is another role than the one that patches; what is written in clear is warned of."""

    (tmp_path / "console").write_text("of-the-console\n")
    (tmp_path / "console").chmod(0o600)
    settings = load_with({f"{PRODUCTION}.poolers": [{"console": CONSOLE, "password_file": "console"}]},
                         {"FASTDOWNTIME_PRODUCTION_PASSWORD": "of-the-patcher"})
    assert settings.environment("production").poolers[0].target.password == "of-the-console"

    clear = load_with({f"{PRODUCTION}.poolers": [CONSOLE.replace("operator", "operator:clear")]})
    assert clear.warnings == (
        f"{PRODUCTION}.poolers[0].console: password in clear; move it to a file named by password_file.",)
    assert "clear" not in repr(clear)


def test_replicas_may_be_a_list_and_have_the_password_of_the_environment(load_with: LoadWith) -> None:
    """The role is the same there; what the other keys say has defaults."""

    environ = {"FASTDOWNTIME_PRODUCTION_PASSWORD": "of-the-patcher"}
    replicas = load_with({f"{PRODUCTION}.replicas": [STANDBY]}, environ).environment("production").replicas
    (standby,) = replicas.targets
    assert (standby.label, standby.password) == ("localhost:5434/app", "of-the-patcher")
    assert not replicas.serve_reads
    assert load_with({f"{PRODUCTION}.replicas": {"servers": [STANDBY], "serve_reads": True}}, environ).environment(
        "production").replicas.serve_reads


def test_none_of_them_need_be_given(load_with: LoadWith) -> None:
    """A server that stands alone says nothing of them."""

    production = load_with().environment("production")
    assert (production.poolers, production.replicas.targets, production.fleet.databases) == ((), (), ())


@pytest.mark.parametrize(("changes", "problem"), [
    ({f"{PRODUCTION}.poolers": CONSOLE}, f"{PRODUCTION}.poolers: should be a list"),
    ({f"{PRODUCTION}.poolers": [{"console": CONSOLE, "pause_seconds": 0}]}, f"{PRODUCTION}.poolers[0].pause_seconds"),
    ({f"{PRODUCTION}.poolers": [{"console": CONSOLE, "session_pools": "kill"}]},
     f"{PRODUCTION}.poolers[0].session_pools"),
    ({f"{PRODUCTION}.replicas": {"servers": [STANDBY], "lag": 3}}, f"{PRODUCTION}.replicas.lag"),
    ({f"{PRODUCTION}.replicas": STANDBY}, f"{PRODUCTION}.replicas: should be a list"),
    ({f"{PRODUCTION}.replicas": [STANDBY, STANDBY.replace("localhost", "127.0.0.1")]},
     "has the server localhost:5434 more than once"),
    ({f"{PRODUCTION}.poolers": [CONSOLE, {"console": CONSOLE.replace("localhost", "127.0.0.1")}]},
     "has the pooler localhost:6432 more than once"),
    ({f"{PRODUCTION}.replicas": {"serve_reads": True}}, "has serve_reads, and no servers"),
    ({f"{PRODUCTION}.replicas": [STANDBY.replace("/app", "/orders")]},
     "replicas.servers[0] names the database orders; a standby is asked about the database of its primary: write app"),
    ({f"{PRODUCTION}.replicas": [STANDBY.replace("patcher", "reader")]}, "names the user reader"),
    ({f"{PRODUCTION}.fleet": {"databases": [{**TENANT, "replicas": [STANDBY.replace("/app", "/orders")]}]}},
     f"{PRODUCTION}.fleet.databases[0]: replicas.servers[0] names the database orders"),
    ({f"{PRODUCTION}.fleet": {"databases": [TENANT, TENANT]}}, "has the name tenant-1 more than once"),
    ({f"{PRODUCTION}.fleet": {"databases": [TENANT], "at_once": 0}}, f"{PRODUCTION}.fleet.at_once"),
    ({f"{PRODUCTION}.fleet": {"databases": [{**TENANT, "name": "tenant 1"}]}}, f"{PRODUCTION}.fleet.databases[0].name"),
], ids=["no list", "no time", "no such way", "no such key", "no list of standbys", "a standby twice",
        "a pooler twice", "nobody serves reads",
        "another database", "another user", "another database of a tenant", "twice", "none at once",
        "a name with a space"])
def test_a_mistake_is_named_with_its_place(problems_with: ProblemsWith, changes: dict[str, Any], problem: str) -> None:
    """Whoever corrects the file finds the line."""

    (found,) = problems_with(changes)
    assert problem in found

"""The whole configuration, as `buildbot checkconfig` reads it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from buildbot.config.errors import ConfigErrors
from buildbot.config.master import MasterConfig, loadConfigDict
from buildbot.db.enginestrategy import create_engine
from buildbot.plugins import schedulers, util, worker
from buildbot.process.factory import BuildFactory
from buildbot.warnings import ConfigWarning
from sqlalchemy import event, text

from master import leadership
from master.assembly import configuration, extend
from master.schedulers import all_schedulers, change_sources, touches_patches
from steps.shared.names import LANDINGS, BuilderName, ServiceName
from tests.master.settings_for_tests import a_settings, write_settings

ROOT = Path(__file__).resolve().parent.parent.parent


def a_foreign_configuration() -> dict[str, Any]:
    """What somebody has built with Buildbot before we come: two builders, rules, a sign-in."""
    factory = BuildFactory()
    return {
        "title": "Theirs", "buildbotNetUsageData": None, "protocols": {"pb": {"port": "tcp:0:interface=127.0.0.1"}},
        "workers": [worker.LocalWorker("their-worker")],
        "builders": [util.BuilderConfig(name="unit", workernames=["their-worker"], factory=factory)],
        "schedulers": [schedulers.ForceScheduler(name="their-force", builderNames=["unit"])],
        "www": {"port": 0, "auth": util.UserPasswordAuth({"them": "secret"}),
                "authz": util.Authz(allowRules=[util.ForceBuildEndpointMatcher(builder="unit", role="their-admins")],
                                    roleMatchers=[util.RolesFromUsername(["their-admins"], ["them"])])},
    }


def test_the_settings_alone_make_a_master(tmp_path: Path) -> None:
    """Buildbot accepts what we make of them; no port is opened for workers."""

    config = MasterConfig.loadFromDict(configuration(tmp_path, write_settings(tmp_path)), "master.cfg")
    assert [builder.name for builder in config.builders] == [builder.value for builder in BuilderName]
    assert config.protocols == {"null": {}}
    assert {service.name for service in config.services.values()} >= {name.value for name in ServiceName}


def test_the_state_is_not_opened_anew_for_each_query(tmp_path: Path) -> None:
    """Buildbot does so with SQLite where it is not told otherwise."""
    state = configuration(tmp_path, write_settings(tmp_path))["db"]
    engine = create_engine(state["db_url"], basedir=str(tmp_path), **state["engine_kwargs"])
    opened = []
    event.listen(engine, "connect", lambda connection, _: opened.append(connection))
    for _ in range(3):
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    engine.dispose()

    assert len(opened) <= 1  # none, where the one of Buildbot's own setting up is used


def test_every_mistake_in_the_settings_is_a_configuration_error(tmp_path: Path) -> None:
    """`buildbot checkconfig` names each with its path, and does not start a half of it."""

    path = write_settings(tmp_path, budget={"limit_seconds": 1, "typo": 2})
    with pytest.raises(ConfigErrors) as caught:
        configuration(tmp_path, path)
    assert len(caught.value.errors) >= 2
    assert all(str(path) in error for error in caught.value.errors)


def test_what_should_not_stay_so_is_warned_of(tmp_path: Path) -> None:
    """A password in clear works; `buildbot checkconfig` says that it is one."""

    path = write_settings(tmp_path, environments={
        "staging": {"database": "postgresql://patcher:secret@localhost:1/app"},
        "production": {"database": "postgresql://patcher@localhost:2/app"}})
    with pytest.warns(ConfigWarning, match=r"environments\.staging\.database: password in clear"):
        configuration(tmp_path, path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """With what to do about it."""

    with pytest.raises(ConfigErrors, match=r"settings\.yaml.*no such file"):
        configuration(tmp_path, tmp_path / "settings.yaml")


def test_master_cfg_loads_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link to it in Buildbot's base folder is enough."""

    monkeypatch.setenv("FASTDOWNTIME_SETTINGS", str(write_settings(tmp_path)))
    (tmp_path / "master.cfg").symlink_to(ROOT / "master.cfg")
    _, config = loadConfigDict(str(tmp_path), "master.cfg")
    assert {builder.name for builder in config["builders"]} == {builder.value for builder in BuilderName}


def test_a_foreign_configuration_keeps_what_it_has(tmp_path: Path) -> None:
    """Builders, sign-in, title and worker port stay; ours are added."""

    theirs = a_foreign_configuration()
    auth = theirs["www"]["auth"]
    config = extend(theirs, a_settings(tmp_path))
    loaded = MasterConfig.loadFromDict(config, "master.cfg")
    assert [builder.name for builder in loaded.builders] == ["unit", *(builder.value for builder in BuilderName)]
    assert config["www"]["auth"] is auth
    assert loaded.title == "Theirs"
    assert set(loaded.protocols) == {"pb", "null"}


def test_extending_leaves_the_lists_of_the_foreign_configuration_alone(tmp_path: Path) -> None:
    """A configuration may build its dictionary from module-level lists that live through a reconfig."""

    theirs = a_foreign_configuration()
    builders = theirs["builders"]
    extend(theirs, a_settings(tmp_path))
    assert len(builders) == 1


def test_a_single_change_source_is_kept(tmp_path: Path) -> None:
    """Buildbot takes one as well as a list of them."""

    theirs = a_foreign_configuration()
    source = theirs["change_source"] = object()
    assert extend(theirs, a_settings(tmp_path))["change_source"][0] is source


def test_a_landing_matters_when_it_touches_a_patch(tmp_path: Path) -> None:
    """Added, changed or removed; code alone makes no build."""

    class AChange:
        def __init__(self, *files: str) -> None:
            self.files = files

    matters = touches_patches(a_settings(tmp_path))
    assert matters(AChange("app/x.py", "database/schema/patch-1.sql"))
    assert not matters(AChange("app/x.py", "database/schema/notes.txt"))


def test_buildbot_is_given_the_password_of_the_repository_apart(tmp_path: Path) -> None:
    """It shows the URL with every change, to everybody; and the landings have to be found by what it shows."""

    settings = a_settings(tmp_path, repository={"url": "https://builder:pass%40word@git.example.org/app.git"})
    (poller,) = change_sources(settings)
    landings = next(each for each in all_schedulers(settings) if each.name == LANDINGS)
    change = SimpleNamespace(repository="https://git.example.org/app.git", branch="devel", project="", category=None,
                             codebase="", properties={})
    given = poller.getConfigDict()
    assert given["args"] == ("https://git.example.org/app.git",)
    assert given["kwargs"]["auth_credentials"] == ("builder", "pass@word")
    assert landings.getConfigDict()["kwargs"]["change_filter"].filter_change(change)


def test_one_of_several_buildmasters_is_told_so(tmp_path: Path) -> None:
    """Buildbot talks to the others through the router, and a service of ours finds out which of them works."""

    several = configuration(tmp_path, write_settings(tmp_path, buildmaster={
        "listen": "tcp:0:interface=127.0.0.1", "state": "postgresql+psycopg2://buildbot@state.example.org/buildbot",
        "multi_master": {"router": "ws://127.0.0.1:8080/ws", "realm": "deployments"}}))
    loaded = MasterConfig.loadFromDict(several, "master.cfg")
    alone = MasterConfig.loadFromDict(configuration(tmp_path, write_settings(tmp_path)), "master.cfg")
    assert loaded.multiMaster
    assert loaded.mq == {"type": "wamp", "router_url": "ws://127.0.0.1:8080/ws", "realm": "deployments"}
    assert leadership.NAME in loaded.services
    assert not alone.multiMaster
    assert leadership.NAME not in alone.services


@pytest.mark.parametrize("database", [{}, {"db_url": "sqlite:///state.sqlite"}, {"db": {"db_url": "mysql://db/state"}}])
def test_several_buildmasters_of_a_foreign_configuration_need_a_lease(tmp_path: Path, database: dict[str, Any]) -> None:
    """Without one each of them would deploy what the other is deploying."""

    with pytest.raises(ConfigErrors) as caught:
        extend({**a_foreign_configuration(), **database, "multiMaster": True}, a_settings(tmp_path))
    assert "several buildmasters need their state on a PostgreSQL server" in caught.value.errors[0]


@pytest.mark.parametrize("key", ["db_url", "db"])
def test_the_state_of_a_foreign_configuration_has_the_lease(tmp_path: Path, key: str) -> None:
    """Buildbot knows two ways of writing it down."""

    url = "postgresql+psycopg2://buildbot@state.example.org/buildbot"
    database = {key: url if key == "db_url" else {"db_url": url}}
    config = extend({**a_foreign_configuration(), **database, "multiMaster": True}, a_settings(tmp_path))
    assert leadership.NAME in {service.name for service in config["services"]}

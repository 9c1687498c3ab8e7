"""How the buildmaster is put together: alone from the settings, or added to a configuration that exists already."""

from __future__ import annotations

import os
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from buildbot.config.errors import ConfigErrors
from buildbot.warnings import ConfigWarning
from sqlalchemy.pool import QueuePool
from twisted.internet import reactor

from downtime import git
from downtime.errors import SettingsError
from downtime.repository import without_credentials
from downtime.settings import Settings, find, load
from downtime.settings.buildmaster import POSTGRESQL, target_of_state
from master.announcer import Announcer
from master.approvals import Approvals
from master.branch import Branch
from master.builders import builders, workers
from master.evidence_store import EvidenceStore
from master.half_starts import HalfStarts
from master.journal import Journal
from master.leadership import Leadership
from master.loose_ends import LooseEnds
from master.outages import Outages
from master.page_service import Pages
from master.probes import Probes
from master.quiescence import Quiescence
from master.recovery import Recovery
from master.schedulers import all_schedulers, change_sources
from master.turns import Turns
from master.visitors import Visitors
from master.web import add_web

TITLE = "Fast downtime"
REACH_SECONDS = 10.0   # for a git server to answer `buildbot checkconfig`
# Kept: left alone, Buildbot opens SQLite for each query, a third of a busy buildmaster's processor time. And looked at
# before each use: a state server may be restarted.
CONNECTIONS_TO_STATE = {"poolclass": QueuePool, "pool_pre_ping": True}
GIT_NO_SUCH_REF = 2    # exit status of `git ls-remote --exit-code` where nothing matches


def configuration(folder: Path, path: Path | None = None) -> dict[str, Any]:
    """The whole `BuildmasterConfig` from the settings file: `path`, or FASTDOWNTIME_SETTINGS, or beside master.cfg.

    What is wrong with the settings becomes Buildbot's own configuration errors, all of them at once.
    """
    settings = read_settings(path or find(None, os.environ, folder))
    about = settings.buildmaster
    return extend({
        "title": TITLE, "titleURL": about.url, "buildbotURL": about.url, "buildbotNetUsageData": None,
        "db": {"db_url": about.state, "engine_kwargs": CONNECTIONS_TO_STATE},
        "protocols": {"null": {}}, **_several(settings)}, settings)


def extend(config: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Add everything of ours to a configuration that may have its own builders, people and rules; returns it.

    Its rules go on to hold for what is its own, ours decide about what is ours. Its `www.auth` is kept.
    """
    try:
        add_web(config, settings)
    except SettingsError as problem:
        raise _configuration_errors(problem) from None
    config.setdefault("protocols", {}).setdefault("null", {})
    for warning in (*settings.warnings, *_reach(settings)):
        warnings.warn(f"settings: {warning}", category=ConfigWarning, stacklevel=1)
    services = [
        HalfStarts(), Outages(), Journal(), Approvals(settings=settings), Turns(), Probes(), EvidenceStore(),
        Quiescence(), Visitors(), Branch(settings=settings), Recovery(settings=settings), Announcer(settings=settings),
        Pages(settings=settings), LooseEnds(), *_leadership(config)]
    for key, ours in (("workers", workers()), ("builders", builders(settings)),
                      ("schedulers", all_schedulers(settings)), ("services", services)):
        config[key] = [*config.get(key, ()), *ours]
    config["change_source"] = [*_as_list(config.get("change_source")), *change_sources(settings)]
    return config


def _several(settings: Settings) -> dict[str, Any]:
    """What Buildbot wants to know where there are several buildmasters."""
    several = settings.buildmaster.multi_master
    if several is None:
        return {}
    return {"multiMaster": True, "mq": {"type": "wamp", "router_url": several.router, "realm": several.realm}}


def _leadership(config: dict[str, Any]) -> list[Leadership]:
    """Nothing where there is one buildmaster. Of several one alone must work: they need a database that tells which."""
    if not config.get("multiMaster"):
        return []
    url = str(config.get("db", {}).get("db_url") or config.get("db_url", ""))
    try:
        state = target_of_state(url)
    except ValueError as error:
        raise ConfigErrors([f"the db_url of the buildmaster {error}"]) from None
    if state is None:
        raise ConfigErrors([f"several buildmasters need their state on a PostgreSQL server: a db_url that begins with "
                            f"{POSTGRESQL}"])
    return [Leadership(state=state)]


def read_settings(path: Path) -> Settings:
    """The settings of a file. Raises ConfigErrors; `buildbot checkconfig` prints errors and warnings."""
    try:
        settings = load(path)
    except SettingsError as problem:
        raise _configuration_errors(problem) from None
    return settings


def _reach(settings: Settings) -> Iterator[str]:
    """What is wrong with the way to the repository, for `buildbot checkconfig`.

    A running master finds out by polling: it must not stand still for a git server, perhaps in the middle of an
    outage, nor refuse to start without one.
    """
    if cast(Any, reactor).running:
        return
    about = settings.repository
    where = git.address(about.url)
    try:
        asked = subprocess.run(
            ["git", *where.options, "ls-remote", "--exit-code", "--", where.url, f"refs/heads/{about.branch}"],
            capture_output=True, text=True, timeout=REACH_SECONDS, check=False, stdin=subprocess.DEVNULL,
            env=git.environment(os.environ, where.login))
    except (OSError, subprocess.TimeoutExpired) as failure:
        yield without_credentials(f"repository.url: {failure}")
        return
    if asked.returncode == GIT_NO_SUCH_REF:
        yield without_credentials(f"repository.branch: {about.url} has no branch {about.branch}")
    elif asked.returncode != 0:
        yield without_credentials(f"repository.url: git cannot read {about.url}: {asked.stderr.strip()}")


def _configuration_errors(problem: SettingsError) -> ConfigErrors:
    return ConfigErrors([f"{problem.facts['place']}: {sentence}" for sentence in problem.problems])


def _as_list(sources: Any) -> list[Any]:
    """Buildbot takes one change source as well as a list of them."""
    if sources is None:
        return []
    return list(sources) if isinstance(sources, (list, tuple)) else [sources]

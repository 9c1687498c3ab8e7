"""A project for the command line: a repository, two databases, a settings file; and the real command on it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo import application
from demo.gitrepo import Repository
from demo.servers import Server
from tests.databases import Database, MakeDatabase

ROOT = Path(__file__).resolve().parents[3]
DIRECTORY = "database/schema"
DEADLINE_SECONDS = 40.0

MakeProject = Callable[..., "Project"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as the one JSON object it has to be."""
        return json.loads(self.out)


@dataclass(frozen=True, kw_only=True)
class Project:
    """What a team has that uses the product."""

    folder: Path
    repository: Repository
    staging: Database
    production: Database

    def land(self, **patches: str) -> str:
        """Land patches on devel (`patch_1="-- apply: cold…"` is patch-1.sql); the commit."""
        files = {f"{DIRECTORY}/{name.replace('_', '-')}.sql": sql for name, sql in patches.items()}
        return self.repository.land(files, "land")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return start(self.folder, *arguments)

    def run(self, *arguments: str) -> Answer:
        return ended(self.start(*arguments))


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command with the settings of a folder as a process of its own, its standard input no terminal."""
    return subprocess.Popen(
        [sys.executable, "-m", "downtime", "--settings", str(folder / "settings.yaml"), *arguments], cwd=ROOT,
        text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def ended(process: subprocess.Popen[str]) -> Answer:
    """Await the end of a command; kills one that does not come to it."""
    try:
        out, err = process.communicate(timeout=DEADLINE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return Answer(status=process.returncode, out=out, err=err)


def write_settings(folder: Path, *, repository_url: str = "file:///srv/git/app.git",
                   staging: str = "postgresql://patcher@localhost:1/app",
                   production: str = "postgresql://patcher@localhost:2/app", gate: str = "hold",
                   budget: Mapping[str, float] | None = None, **sections: Mapping[str, Any]) -> None:
    """The settings file and the password file beside it; by default nothing in them can be reached.

    `sections` are those that are not written else, such as `lint`.
    """
    password = folder / "password"
    password.touch(mode=0o600)
    password.write_text(application.password_of(application.PATCHER))
    (folder / "settings.yaml").write_text(yaml.safe_dump({
        "repository": {"url": repository_url, "branch": "devel"},
        "patches": {"directory": DIRECTORY},
        "landing": {"code": ["**/*.py"]},
        "users": {"fragile": [application.FRAGILE], "spared": [application.SPARED]},
        "budget": dict(budget or {}),
        "environments": {name: {"database": dsn, "password_file": "password", "gate": gate}
                         for name, dsn in (("staging", staging), ("production", production))},
        **sections}))


@pytest.fixture
def make_project(tmp_path: Path, server: Server, make_database: MakeDatabase) -> MakeProject:
    """Makes the project; `gate` is that of both databases, the others are sections of the settings."""

    def make(*, gate: str = "hold", budget: Mapping[str, float] | None = None, **sections: Mapping[str, Any]
             ) -> Project:
        staging, production = make_database(server, gate=gate), make_database(server, gate=gate)
        repository = Repository.create(tmp_path / "git")
        write_settings(tmp_path, repository_url=repository.url, staging=staging.target.dsn,
                       production=production.target.dsn, gate=gate, budget=budget, **sections)
        return Project(folder=tmp_path, repository=repository, staging=staging, production=production)

    return make


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    return make_project()

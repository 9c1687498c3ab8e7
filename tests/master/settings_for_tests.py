"""Settings with harmless defaults, for tests of the Buildbot side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from demo.gitrepo import Repository
from downtime.settings import Settings, load

PEOPLE = {"developers": ["developer"], "operators": ["operator@example.org"], "approvers": ["approver"],
          "signoff": ["architect"]}


def write_settings(folder: Path, **sections: Any) -> Path:
    """Write a settings file into the folder; a section given replaces the harmless one."""
    document: dict[str, Any] = {
        "repository": sections.get("repository") or {"url": _a_repository(folder / "repository")},
        "patches": {"directory": "database/schema"},
        "people": PEOPLE,
        "environments": {
            "staging": {"database": "postgresql://patcher@localhost:1/app"},
            "production": {"database": "postgresql://patcher@localhost:2/app"},
        },
        "buildmaster": {"listen": "tcp:0:interface=127.0.0.1"},
        **sections,
    }
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def _a_repository(folder: Path) -> str:
    """The URL of one with the branch; checking a configuration asks for it."""
    if folder.exists():
        return Repository(folder).url
    repository = Repository.create(folder)
    repository.land({"README": "sample\n"}, "begin")
    return repository.url


def a_settings(folder: Path, **sections: Any) -> Settings:
    return load(write_settings(folder, **sections), {})


def user(name: str) -> dict[str, Any]:
    """What Buildbot knows of somebody who has signed in; `anonymous` has not."""
    if name == "anonymous":
        return {"anonymous": True}
    return {"username": name, "email": f"{name}@example.org", "full_name": name.title()}

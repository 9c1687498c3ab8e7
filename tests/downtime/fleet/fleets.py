"""Environments of several databases for tests: made of real databases, or of names alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from downtime.settings import Environment, Settings, load
from tests.databases import Database


def a_fleet(count: int, *, servers: int = 1, gate: str = "refuse", at_once: int = 2,
            replicas: Mapping[int, Any] | None = None) -> Environment:
    """A canary and `count` others that nobody connects to, `tenant-1` on, in turn on so many servers.

    `replicas` by the number of the tenant.
    """
    databases = [{"name": f"tenant-{number}",
                  "database": f"postgresql://patcher@db{number % servers}.example:5432/tenant{number}",
                  "replicas": (replicas or {}).get(number, [])}
                 for number in range(1, count + 1)]
    return Settings.model_validate({
        "repository": {"url": "file:///srv/git/app.git"}, "patches": {"directory": "db"},
        "environments": {
            "staging": {"database": "postgresql://patcher@staging.example/app"},
            "production": {"database": "postgresql://patcher@db0.example:5432/app", "gate": gate,
                           "fleet": {"databases": databases, "at_once": at_once}}},
    }).environment("production")


def with_others(folder: Path, others: Sequence[Database], **fleet: Any) -> Settings:
    """Puts databases into the settings file of a project, as `tenant-1`, `tenant-2`, … of production."""
    path = folder / "settings.yaml"
    document = yaml.safe_load(path.read_text())
    document["environments"]["production"]["fleet"] = {"databases": [
        {"name": f"tenant-{number}", "database": database.target.dsn}
        for number, database in enumerate(others, start=1)], **fleet}
    path.write_text(yaml.safe_dump(document))
    return load(path, {})

"""A harmless settings file, to be changed in one place per test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from downtime.errors import SettingsError
from downtime.settings import Settings, load

Changes = Mapping[str, Any]
LoadWith = Callable[..., Settings]
ProblemsWith = Callable[..., tuple[str, ...]]


def changed(changes: Changes) -> dict[str, Any]:
    """The harmless settings with the values at these dotted paths put in."""
    document: dict[str, Any] = {
        "repository": {"url": "file:///srv/git/app.git"},
        "patches": {"directory": "database/schema"},
        "environments": {
            "staging": {"database": "postgresql://patcher@localhost:5431/app"},
            "production": {"database": "postgresql://patcher@localhost:5433/app"},
        },
    }
    for path, value in changes.items():
        *outer, last = path.split(".")
        section = document
        for key in outer:
            section = section.setdefault(key, {})
        section[last] = value
    return document


@pytest.fixture
def load_with(tmp_path: Path) -> LoadWith:
    """Loads the harmless settings with some values changed."""

    def load_changed(changes: Changes | None = None, environ: Mapping[str, str] | None = None) -> Settings:
        path = tmp_path / "settings.yaml"
        path.write_text(yaml.safe_dump(changed(changes or {})), encoding="utf-8")
        return load(path, environ or {})

    return load_changed


@pytest.fixture
def problems_with(load_with: LoadWith) -> ProblemsWith:
    """The problems that the harmless settings have once some values are changed; at least one."""

    def problems(changes: Changes) -> tuple[str, ...]:
        with pytest.raises(SettingsError) as caught:
            load_with(changes)
        return caught.value.problems

    return problems


@pytest.fixture
def problems_of(tmp_path: Path) -> Callable[[bytes], tuple[str, ...]]:
    """The problems of a file with these bytes."""

    def problems(content: bytes) -> tuple[str, ...]:
        path = tmp_path / "settings.yaml"
        path.write_bytes(content)
        with pytest.raises(SettingsError) as caught:
            load(path, {})
        return caught.value.problems

    return problems

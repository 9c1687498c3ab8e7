"""Loads what Buildbot's test kit depends on before the kit, which makes errors of warnings when it is imported."""

from __future__ import annotations

from pathlib import Path

import pytest

import master.assembly  # noqa: F401 - with it Twisted's TLS and all that Buildbot imports of it
from tests.doomed import doomed as doomed


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trial's test cases make their folders in the current one."""
    monkeypatch.chdir(tmp_path)

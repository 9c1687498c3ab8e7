"""The web side of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import Flask

from master.web import DASHBOARDS, DEPLOYMENTS, with_pages
from tests.master.settings_for_tests import a_settings


def test_the_pages_are_in_the_menu(tmp_path: Path) -> None:
    """As Buildbot's plugin for such pages wants it."""

    (ours,) = with_pages({}, a_settings(tmp_path))[DASHBOARDS]
    assert isinstance(ours["app"], Flask)
    assert (ours["name"], ours["caption"], ours["order"]) == (DEPLOYMENTS, "Deployments", 1)


def test_plugins_and_dashboards_of_others_stay(tmp_path: Path) -> None:
    """And the dictionary that they stand in is left as it is."""

    theirs: dict[str, Any] = {"grid_view": {}, DASHBOARDS: [{"name": "theirs"}]}
    plugins = with_pages(theirs, a_settings(tmp_path))
    assert [each["name"] for each in plugins[DASHBOARDS]] == ["theirs", DEPLOYMENTS]
    assert plugins["grid_view"] == {}
    assert len(theirs[DASHBOARDS]) == 1


def test_a_configuration_that_is_extended_twice_has_them_once(tmp_path: Path) -> None:
    """Buildbot would serve the older one."""

    settings = a_settings(tmp_path)
    assert len(with_pages(with_pages({}, settings), settings)[DASHBOARDS]) == 1

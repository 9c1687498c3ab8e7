"""`python -m downtime install`."""

from __future__ import annotations

from pathlib import Path

from downtime import install
from tests.downtime.commands.conftest import ended, start, write_settings


def test_it_prints_the_script_of_the_environment_without_connecting(tmp_path: Path) -> None:
    """Ready for `psql -f`, with database and role of the settings, also where no server is up yet."""
    write_settings(tmp_path)

    answer = ended(start(tmp_path, "install", "--environment", "staging"))

    assert (answer.status, answer.out) == (0, install.script("app", "patcher", "hold"))


def test_as_json_the_script_is_one_value(tmp_path: Path) -> None:
    """With the names and the gate it was made for."""
    write_settings(tmp_path, gate="refuse")

    document = ended(start(tmp_path, "--json", "install")).document

    assert document == {"environment": "production", "database": "app", "role": "patcher", "gate": "refuse",
                        "sql": install.script("app", "patcher", "refuse")}


def test_a_connection_without_names_is_told_how_to_have_them(tmp_path: Path) -> None:
    """A service file is not read for the script."""
    write_settings(tmp_path, production="service=app")

    answer = ended(start(tmp_path, "install"))

    assert (answer.status, answer.out) == (2, "")
    assert "environments.production.database" in answer.err


def test_wrong_settings_exit_with_2_and_name_the_file(tmp_path: Path) -> None:
    """Also as JSON: kind, message, what was left and the exit status."""
    answer = ended(start(tmp_path, "install", "--json"))

    assert answer.status == 2
    assert str(tmp_path / "settings.yaml") in answer.err
    assert (answer.document["error"]["kind"], answer.document["error"]["exit_status"]) == ("SettingsError", 2)

"""Defaults, and the rules between keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from downtime.settings import People, Role, Settings

LoadWith = Callable[..., Settings]
ProblemsWith = Callable[[dict[str, Any]], tuple[str, ...]]


def test_smallest_file_has_the_documented_defaults(load_with: LoadWith, tmp_path: Path) -> None:
    """What is left out has the value the documentation gives."""

    settings = load_with()
    budget, production = settings.budget, settings.environment("production")
    assert (settings.repository.branch, settings.repository.poll_seconds) == ("devel", 5)
    assert (settings.patches.pattern, settings.patches.undeclared_lane) == ("patch-*.sql", "cold")
    assert (budget.target_seconds, budget.limit_seconds, budget.outage_limit_seconds) == (10, 15, 60)
    assert (production.name, production.gate, production.kick, production.drain_seconds) == (
        "production", "hold", "all", 0)
    assert (production.windows, production.quiesce.lead_minutes) == (None, 60)
    assert settings.buildmaster.auth.users_file == tmp_path / "users"
    assert settings.warnings == ()


def test_settings_know_the_folder_of_their_file(
    load_with: LoadWith, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Relative paths mean the same wherever the command is typed."""

    monkeypatch.chdir("/")
    settings = load_with({"buildmaster.auth.users_file": "secrets/../who"})
    assert settings.folder == tmp_path
    assert settings.buildmaster.auth.users_file == tmp_path / "who"


def test_settings_cannot_be_changed(load_with: LoadWith) -> None:
    """What was judged is what is used."""

    with pytest.raises(ValidationError):
        load_with().budget.limit_seconds = 3600


@pytest.mark.parametrize(("changes", "problem"), [
    ({"budget": {"target_seconds": 20}},
     "budget.limit_seconds: is 15, which is less than target_seconds (20)."),
    ({"budget": {"outage_limit_seconds": 1}},
     "budget.outage_limit_seconds: is 1, which is less than limit_seconds (15)."),
    ({"users": {"fragile": ["a", "b"], "spared": ["b"]}},
     "users.spared: b cannot be in users.fragile too; decide for one of the two lists."),
    ({"patches.directory": "../elsewhere"},
     "patches.directory: should be a path inside the repository, without a leading / or any `..`."),
    ({"repository.branch": "--upload-pack=x"},
     "repository.branch: should be the name of a branch, which never starts with -."),
])
def test_rules_between_keys_hold(changes: dict[str, Any], problem: str, problems_with: ProblemsWith) -> None:
    """Values that are right alone and wrong together are refused, against given values and defaults alike."""

    assert problems_with(changes) == (problem,)


def test_unknown_environment_is_a_key_error(load_with: LoadWith) -> None:
    """The names are fixed; a wrong one is the caller's mistake, never a silent default."""

    with pytest.raises(KeyError):
        load_with().environment("model_fields")


def test_somebody_has_the_roles_of_all_their_names() -> None:
    """A role may be given to the user name or to the e-mail address of one sign-in."""

    people = People(operators=("operator",), approvers=("Approver@example.org",), signoff=("architect",))
    assert people.roles_of("operator", "approver@EXAMPLE.org") == {Role.OPERATOR, Role.APPROVER}


@pytest.mark.parametrize("name", ["", "Operator", "operator ", "nobody"])
def test_names_not_listed_have_no_role(name: str) -> None:
    """User names are compared exactly, and the empty name of a sign-in without an address is nobody's."""

    assert People(operators=("operator",)).roles_of(name) == frozenset()


def test_passwords_in_urls_are_warned_of_and_not_shown(load_with: LoadWith) -> None:
    """The addresses of the repository and of Buildbot's state may hold a password; only their users see it."""

    url = "https://developer:s3cret@example.org/app.git"
    settings = load_with({"repository.url": url,
                          "buildmaster.state": "postgresql+psycopg2://buildbot:s3cret@localhost/state"})
    assert settings.repository.url == url
    assert "s3cret" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert [warning.split(":")[0] for warning in settings.warnings] == ["repository.url", "buildmaster.state"]

"""The settings file as text: finding, reading, judging as a whole."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from downtime.errors import ExitStatus, SettingsError
from downtime.settings import find, load

ProblemsOf = Callable[[bytes], tuple[str, ...]]
ProblemsWith = Callable[[dict[str, Any]], tuple[str, ...]]


def test_option_goes_before_variable_goes_before_default(tmp_path: Path) -> None:
    """The nearest word wins: command line, environment, settings.yaml beside master.cfg."""

    environ = {"FASTDOWNTIME_SETTINGS": "from-environment.yaml"}
    assert find("option.yaml", environ, tmp_path) == Path("option.yaml")
    assert find(None, environ, tmp_path) == Path("from-environment.yaml")
    assert find(None, {"FASTDOWNTIME_SETTINGS": ""}, tmp_path) == tmp_path / "settings.yaml"


def test_missing_file_says_how_to_name_another(tmp_path: Path) -> None:
    """Somebody in the wrong folder learns both ways to name the file; it is wrong usage, exit 2."""

    with pytest.raises(SettingsError) as caught:
        load(tmp_path / "none.yaml", {})
    assert str(tmp_path / "none.yaml") in str(caught.value)
    assert "--settings or FASTDOWNTIME_SETTINGS" in caught.value.problems[0]
    assert caught.value.exit_status == ExitStatus.USAGE


def test_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    """A folder is answered by the file to name in it."""

    with pytest.raises(SettingsError, match=r"is a folder; name the file in it, for example .*settings\.yaml"):
        load(tmp_path, {})


@pytest.mark.parametrize(("content", "problem"), [
    (b"a: [1\nb: 2\n", "line 2, column 2: not YAML: expected ',' or ']', but got ':'."),
    (b"a: 1\nb: caf\xe9\n", "line 2: not UTF-8 text; save the file as UTF-8."),
    (b"a: 1\nb: \x07\n", "line 2: a control character, which YAML does not allow; remove it."),
    (b"", "is empty; it should have keys like repository: and environments:."),
    (b"- a\n", "is not a mapping; it should have keys like repository: and environments:."),
    (b"a: 2024-99-99\n", "a value looks like a date but is none; put it in quotes."),
    (b"a: *nowhere\n", "line 1, column 4: not YAML: found undefined alias 'nowhere'."),
    (b"? [a, b]\n: 1\n", "line 1, column 3: only plain values are allowed, no tags and no lists or mappings as keys."),
])
def test_text_that_is_no_settings_file_is_told_with_its_line(
    content: bytes, problem: str, problems_of: ProblemsOf,
) -> None:
    """Whatever is in the file, the answer is one sentence that says where."""

    assert problems_of(content) == (problem,)


def test_python_tags_are_never_executed(problems_of: ProblemsOf, tmp_path: Path) -> None:
    """A settings file cannot run code."""

    trace = tmp_path / "executed"
    (problem,) = problems_of(f"a: !!python/object/apply:os.mkdir ['{trace}']\n".encode())
    assert "no tags" in problem
    assert not trace.exists()


def test_key_given_twice_is_told_with_both_lines(problems_of: ProblemsOf) -> None:
    """YAML would silently keep the last one, which may be the one the reader did not see."""

    content = b"budget:\n  limit_seconds: 15\n  limit_seconds: 60\nbudget: {}\n"
    assert problems_of(content) == (
        "budget.limit_seconds: given twice, in lines 2 and 3; keep one.",
        "budget: given twice, in lines 1 and 4; keep one.",
    )


def test_merged_key_may_be_overridden(tmp_path: Path) -> None:
    """Production may share staging's keys by a YAML merge and differ in some of them."""

    path = tmp_path / "settings.yaml"
    path.write_text(
        "repository: {url: 'file:///srv/git/app.git'}\n"
        "patches: {directory: database}\n"
        "environments:\n"
        "  staging: &both {database: 'postgresql://patcher@localhost/app', kick: transactions}\n"
        "  production: {<<: *both, database: 'postgresql://patcher@localhost/live'}\n", encoding="utf-8")
    production = load(path, {}).environment("production")
    assert (production.kick, production.database.database) == ("transactions", "live")


def test_alias_of_what_contains_it_is_a_mistake_and_no_crash(problems_of: ProblemsOf) -> None:
    """A document that contains itself is refused like any other wrong one."""

    assert any(problem.startswith("loop: unknown key") for problem in problems_of(b"loop: &a {b: *a}\n"))


def test_every_mistake_is_told_at_once(problems_with: ProblemsWith) -> None:
    """Wrong types, unknown keys and broken rules of several sections come in one list, each with its path."""

    problems = problems_with({
        "environments.production.gate": "closed",
        "environments.production.poolrs": [],
        "environments.staging.database": "nonsense",
        "environments.staging.password_file": "nowhere",
        "budget.limit_seconds": 5,
        "users": {"fragile": ["importer"], "spared": ["importer"]},
        "people": None,
    })
    assert [problem.split(": ")[0] for problem in problems] == [
        "people", "budget.limit_seconds", "users.spared", "environments.staging.database",
        "environments.staging.password_file", "environments.production.gate", "environments.production.poolrs"]
    assert "environments.production.gate: Input should be 'hold' or 'refuse'." in problems
    assert "environments.production.poolrs: unknown key; did you mean `poolers`?" in problems


def test_unlike_unknown_key_is_answered_by_the_known_ones(problems_with: ProblemsWith) -> None:
    """Where nothing is near, the keys of that section are listed."""

    assert problems_with({"repository.zzz": 1}) == (
        "repository.zzz: unknown key; known here: url, branch, poll_seconds.",)


def test_required_sections_are_named(problems_of: ProblemsOf) -> None:
    """A nearly empty file is answered by what is required."""

    assert problems_of(b"users: {}\n") == (
        "repository: is required.", "patches: is required.", "environments: is required.")


@pytest.mark.parametrize(("changes", "problem"), [
    ({"users": {"fragile": "importer"}}, "users.fragile: should be a list; write [one, two] or a line with a dash "
                                         "for each."),
    ({"users": ["importer"]}, "users: should be a mapping: keys, each with its value."),
    ({"users": {"fragile": ["importer", None]}}, "users.fragile[1]: is empty; give a value, or leave the key out."),
    ({"budget": {"limit_seconds": True}}, "budget.limit_seconds: Input should be a valid number."),
])
def test_wrong_shapes_are_told_in_the_words_of_yaml(
    changes: dict[str, Any], problem: str, problems_with: ProblemsWith,
) -> None:
    """Lists, mappings and numbers, not tuples, models and floats."""

    assert problems_with(changes) == (problem,)


def test_no_error_shows_a_password(tmp_path: Path) -> None:
    """Neither the message nor the traceback quotes a connection string, however wrong the file is."""

    path = tmp_path / "settings.yaml"
    path.write_text(
        "environments:\n"
        "  staging: {database: 'postgresql://patcher:s3cr%zz@localhost/app', gate: nonsense}\n"
        "  production: {database: 'postgresql://patcher:s3cr/et@localhost/app', s3cr: 1, gate: [s3cr]}\n",
        encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load(path, {})
    shown = "".join(traceback.format_exception(caught.value))
    assert "s3cr" not in shown.replace("production.s3cr", "")
    assert "percent-encode" in shown

"""The background tasks of the settings: their kinds, their times, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from downtime.settings import Settings
from downtime.settings.quiesce import Quiesce

LoadWith = Callable[..., Settings]
ProblemsWith = Callable[[dict[str, Any]], tuple[str, ...]]

QUIESCE = "environments.production.quiesce"
COMMAND = {"stop": "true", "resume": "true"}
HTTP = {"stop": {"url": "https://example.org/stop"}, "resume": {"url": "https://example.org/start"}}


def quiesce_of(load_with: LoadWith, *tasks: dict[str, Any], **section: Any) -> Quiesce:
    return load_with({QUIESCE: {**section, "tasks": list(tasks)}}).environment("production").quiesce


def a_secret(folder: Path, mode: int = 0o600) -> str:
    path = folder / "secret"
    path.write_text("Bearer xyz\n")
    path.chmod(mode)
    return path.name


def test_command_is_a_string_or_a_list_of_words(load_with: LoadWith) -> None:
    """Either way it comes out as the shell reads it."""

    (task,) = quiesce_of(load_with, {
        "name": "import", "command": {"stop": "systemctl stop 'import'", "resume": ["touch", "a b"]}}).tasks
    assert task.command is not None
    assert (task.command.stop, task.command.resume) == ("systemctl stop 'import'", "touch 'a b'")


def test_a_task_has_its_own_lead_or_the_sections(load_with: LoadWith) -> None:
    """The first is stopped so long before as the longest of them says; without tasks nothing is waited for."""

    tasks = [{"name": name, "command": COMMAND, **lead} for name, lead in (
        ("usual", {}), ("none", {"lead_minutes": 0}), ("long", {"lead_minutes": 90}))]
    quiesce = quiesce_of(load_with, *tasks, lead_minutes=30)
    assert [quiesce.lead_minutes_of(task) for task in quiesce.tasks] == [30, 0, 90]
    assert quiesce.lead_seconds == 90 * 60
    assert quiesce_of(load_with, lead_minutes=30).lead_seconds == 0


@pytest.mark.parametrize(("task", "problem"), [
    ({"name": "a"}, ": is of no kind; give one of command, systemd"),
    ({"name": "a", "command": COMMAND, "rq": {"url": "redis://h/0"}}, ": is of 2 kinds (command, rq)"),
    ({"name": "a", "comand": COMMAND}, ".comand: unknown key; did you mean `command`?"),
    ({"command": COMMAND}, ".name: is required"),
    ({"name": "-a", "command": COMMAND}, ".name: String should match"),
    ({"name": "a" * 31, "command": COMMAND}, ".name: String should match"),
    ({"name": "a", "command": COMMAND, "users": "importer"}, ".users: should be a list"),
    ({"name": "a", "command": COMMAND, "stop_seconds": 0}, ".stop_seconds: Input should be greater than 0"),
    ({"name": "a", "command": COMMAND, "lead_minutes": -1}, ".lead_minutes: Input should be greater than or equal"),
    ({"name": "a", "command": {"stop": ["sleep", 5], "resume": "true"}}, ".command.stop: should be a command"),
    ({"name": "a", "command": {"stop": "true"}}, ".command.resume: is required"),
    ({"name": "a", "systemd": {}}, ".systemd: should have either unit or timer"),
    ({"name": "a", "systemd": {"unit": "a", "timer": "a.timer"}}, ".systemd: should have either unit or timer"),
    ({"name": "a", "systemd": {"unit": "--now"}}, ".systemd.unit: String should match"),
    ({"name": "a", "systemd": {"timer": "a"}}, ".systemd.timer: should end in .timer; write a.timer"),
    ({"name": "a", "crontab": {"block": "x\ny"}}, ".crontab.block: String should match"),
    ({"name": "a", "crontab": {"block": "x", "user": "-r"}}, ".crontab.user: String should match"),
    ({"name": "a", "celery": {"app": "shop", "queues": []}}, ".celery.queues: is an empty list"),
    ({"name": "a", "celery": {"app": "-x", "queues": ["q"]}}, ".celery.app: String should match"),
    ({"name": "a", "rq": {"url": "http://h"}}, ".rq.url: should start with redis:// or rediss:// and name a host"),
    ({"name": "a", "rq": {"url": "redis://:geheim@h/0"}}, ".rq.url: has a user name or a password in it"),
    ({"name": "a", "http": {**HTTP, "stop": {"url": "ftp://h/"}}}, ".http.stop.url: should start with http://"),
    ({"name": "a", "http": {**HTTP, "resume": {"url": "https://u:p@h/"}}}, ".http.resume.url: has a user name"),
    ({"name": "a", "http": {**HTTP, "stop": {"url": "https://h/", "status": [99]}}}, ".http.stop.status[0]: Input"),
    ({"name": "a", "http": {**HTTP, "header": "Authorization"}}, ".http: header and secret_file belong together"),
])
def test_what_is_wrong_with_a_task_is_told_with_its_place(
        task: dict[str, Any], problem: str, problems_with: ProblemsWith) -> None:
    """When the master starts, not an hour before a downtime; and no message repeats a password."""

    (told,) = problems_with({f"{QUIESCE}.tasks": [{"name": "good", "command": COMMAND}, task]})
    assert told.startswith(f"{QUIESCE}.tasks[1]{problem}")
    assert "geheim" not in told


def test_all_mistakes_are_told_at_once(problems_with: ProblemsWith) -> None:
    """Nobody starts the master once for each of them."""

    told = problems_with({QUIESCE: {"lead_minutes": -1, "tasks": [{"name": "a"}, {"command": COMMAND}]}})
    assert [problem.partition(": ")[0] for problem in told] == [
        f"{QUIESCE}.lead_minutes", f"{QUIESCE}.tasks[0]", f"{QUIESCE}.tasks[1].name"]


def test_names_are_given_once(problems_with: ProblemsWith) -> None:
    """A log that says which task still has work must mean one."""

    (told,) = problems_with({f"{QUIESCE}.tasks": [{"name": "a", "command": COMMAND}] * 2})
    assert told == f"{QUIESCE}.tasks: has the name a more than once."


def test_a_secret_that_others_can_read_is_warned_of(load_with: LoadWith, tmp_path: Path) -> None:
    """By its file, or on its way to another host in clear."""

    http = {**HTTP, "stop": {"url": "http://example.org/"}, "stopped": {"url": "http://localhost/"},
            "header": "Authorization", "secret_file": a_secret(tmp_path, 0o644)}
    warnings = load_with({f"{QUIESCE}.tasks": [{"name": "a", "http": http}]}).warnings
    assert [warning.partition(": ")[0] for warning in warnings] == [
        f"{QUIESCE}.tasks[0].http.secret_file", f"{QUIESCE}.tasks[0].http.stop.url"]
    assert "sends a secret to another host in clear" in warnings[1]
    assert "xyz" not in repr(load_with({f"{QUIESCE}.tasks": [{"name": "a", "http": http}]}))

"""No password of the sandbox shows anywhere: not in a log file, not on a page, not in the list of processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo import application
from demo.sandbox import PEOPLE, Sandbox
from demo.stage import Stage

ROLES = (application.PATCHER, application.APPLICATION, application.FRAGILE, application.SPARED)
RESOURCES = ("builds?property=*", "buildsets", "buildrequests", "changes", "workers", "schedulers",
             "forceschedulers", "builders", "masters")


def _passwords(sandbox: Sandbox) -> list[str]:
    known = [application.password_of(name) for name in (*ROLES, *PEOPLE)]
    return known + [server.superuser_password for server in sandbox.servers.values()]


def _leaks(sandbox: Sandbox, texts: Iterator[tuple[str, bytes]]) -> list[str]:
    """Where a password shows: the places alone, so that a failure does not repeat it."""
    secrets = [password.encode() for password in _passwords(sandbox)]
    return [place for place, text in texts if any(secret in text for secret in secrets)]


def _files(sandbox: Sandbox) -> Iterator[tuple[str, bytes]]:
    logs = [server.log for server in sandbox.servers.values()]
    for path in [*logs, *(path for path in sandbox.master.rglob("*") if path.is_file())]:
        yield str(path), path.read_bytes()


def _answers(stage: Stage) -> Iterator[tuple[str, bytes]]:
    developer = stage.as_("developer")
    for resource in RESOURCES:
        yield resource, developer.text(f"api/v2/{resource}").encode()
    for log in _all_logs(developer):
        yield f"log {log['name']} ({log['logid']})", developer.text(f"api/v2/logs/{log['logid']}/raw_inline").encode()


def _all_logs(developer: Any) -> list[dict[str, Any]]:
    builds = developer.get("builds")["builds"]
    steps = [step for build in builds for step in developer.get(f"builds/{build['buildid']}/steps")["steps"]]
    return [log for step in steps for log in developer.get(f"steps/{step['stepid']}/logs")["logs"]]


def _command_lines() -> Iterator[tuple[str, bytes]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield f"process {entry.name}", (entry / "cmdline").read_bytes()
            except OSError:
                continue  # it has ended meanwhile


def test_no_log_file_has_a_password(told: Stage) -> None:
    """Neither Buildbot's files, its state database among them, nor PostgreSQL's logs."""
    read = list(_files(told.sandbox))

    assert any("twistd.log" in place for place, _ in read)
    assert _leaks(told.sandbox, iter(read)) == []


def test_no_answer_of_the_web_pages_has_a_password(told: Stage) -> None:
    """Neither builds with their properties, nor any log of any step."""
    read = list(_answers(told))

    assert len(read) > len(RESOURCES) + 20
    assert _leaks(told.sandbox, iter(read)) == []


def test_no_command_line_has_a_password(stage: Stage) -> None:
    """Everybody on the machine can read the list of processes."""
    assert _leaks(stage.sandbox, _command_lines()) == []


def test_a_leak_would_be_found(stage: Stage) -> None:
    """The search itself works."""
    text = f"postgresql://patcher:{application.password_of('patcher')}@db".encode()

    assert _leaks(stage.sandbox, iter([("a log", text)])) == ["a log"]


@pytest.mark.parametrize("path", ["secrets/staging", "secrets/production", "users", "master/state.sqlite"])
def test_what_holds_secrets_is_readable_by_its_owner_only(stage: Stage, path: str) -> None:
    """Other users of the machine get none of them."""
    assert (stage.sandbox.folder / path).stat().st_mode & 0o077 == 0

"""No password of the sandbox shows anywhere: not in a log file, not on a page, not in the list of processes, not in
what is said when something goes wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from demo import application
from demo.processes import without_postgres_variables
from demo.sandbox import ROOT
from demo.stage import Stage
from tests.end_to_end import leaks

SECRET = "a-secret-of-the-settings"
NOWHERE = "127.0.0.1:1"


def test_no_log_file_has_a_password(told: Stage) -> None:
    """Neither Buildbot's files, its state database among them, nor PostgreSQL's logs."""
    read = list(leaks.files(told.sandbox))

    assert any("twistd.log" in place for place, _ in read)
    assert leaks.among(leaks.passwords(told.sandbox), read) == []


def test_no_answer_of_the_web_pages_has_a_password(told: Stage) -> None:
    """Neither builds with their properties nor what the pages are told."""
    read = list(leaks.answers(told))

    assert len(read) > len(leaks.RESOURCES)
    assert leaks.among(leaks.passwords(told.sandbox), read) == []


def test_no_log_of_any_step_has_a_password(told: Stage) -> None:
    """Whatever the server, git or a client said."""
    read = list(leaks.logs(told.sandbox))

    assert any(b"kicked" in text for _, text in read)
    assert leaks.among(leaks.passwords(told.sandbox), read) == []


def test_no_command_line_has_a_password(stage: Stage) -> None:
    """Everybody on the machine can read the list of processes."""
    assert leaks.among(leaks.passwords(stage.sandbox), leaks.command_lines()) == []


def test_a_leak_would_be_found(stage: Stage) -> None:
    """The search itself works."""
    text = f"postgresql://patcher:{application.password_of('patcher')}@db".encode()

    assert leaks.among(leaks.passwords(stage.sandbox), [("a log", text)]) == ["a log"]


@pytest.mark.parametrize("path", ["secrets/staging", "secrets/production", "users", "master/state.sqlite"])
def test_what_holds_secrets_is_readable_by_its_owner_only(stage: Stage, path: str) -> None:
    """Other users of the machine get none of them."""
    assert (stage.sandbox.folder / path).stat().st_mode & 0o077 == 0


def wrong_settings(stage: Stage, folder: Path, what: str) -> Path:
    """The sandbox's settings with one thing wrong, and a secret beside it."""
    document = yaml.safe_load(stage.sandbox.settings.read_text())
    production = document["environments"]["production"]
    port = stage.sandbox.servers["production"].port
    del production["password_file"]
    production["database"] = {
        "nobody there": f"postgresql://patcher:{SECRET}@{NOWHERE}/app",
        "wrong password": f"postgresql://patcher:{SECRET}@127.0.0.1:{port}/app",
        "no such database": f"postgresql://patcher:{SECRET}@127.0.0.1:{port}/missing",
        "no address": f"postgresql://patcher:{SECRET}@127.0.0.1:port/app",
        "no option": f"postgresql://patcher:{SECRET}@127.0.0.1:{port}/app?no_such_option=1",
    }.get(what, f"postgresql://patcher:{application.password_of('patcher')}@127.0.0.1:{port}/app")
    if what == "no repository":
        document["repository"]["url"] = f"http://deployer:{SECRET}@{NOWHERE}/app.git"
    if what == "no such setting":
        production["passwrd"] = SECRET
    document["environments"]["staging"]["password_file"] = str(stage.sandbox.folder / "secrets" / "staging")
    document["buildmaster"]["auth"] = {"users_file": str(stage.sandbox.folder / "users")}
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(document))
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("what", ["nobody there", "wrong password", "no such database", "no address", "no option",
                                  "no repository", "no such setting"])
def test_no_explanation_has_a_password(stage: Stage, tmp_path: Path, what: str) -> None:
    """Messages are pasted into tickets and chats; a plan reads settings, repository and database."""
    settings = wrong_settings(stage, tmp_path, what)
    done = subprocess.run(
        [sys.executable, "-m", "downtime", "--settings", str(settings), "plan", "--environment", "production"],
        cwd=ROOT, text=True, capture_output=True, check=False, env=without_postgres_variables())
    said = done.stdout + done.stderr

    assert done.returncode != 0
    assert "Traceback" not in said
    assert SECRET not in said
    assert application.password_of("patcher") not in said

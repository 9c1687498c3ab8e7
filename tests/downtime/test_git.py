from __future__ import annotations

import os
from pathlib import Path

import pytest

from downtime import git
from downtime.git import RepositoryError


@pytest.fixture
def only_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The `git` that is found on PATH; the test writes it."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.defpath}")
    program = tmp_path / "git"
    program.touch(mode=0o755)
    return program


async def run(*arguments: str, stdin: bytes = b"", deadline_seconds: float = 10.0) -> git.Finished:
    return await git.run(arguments, repository="the repository", stdin=stdin, deadline_seconds=deadline_seconds)


async def test_output_complaint_and_status_are_kept_apart(only_program: Path) -> None:
    """How git ended is for the caller to judge."""
    only_program.write_text("#!/bin/sh\ncat\necho oh >&2\nexit 3\n")

    assert await run(stdin=b"in\xff" * 100_000) == git.Finished(
        status=3, output=b"in\xff" * 100_000, complaint="oh")


async def test_words_of_the_arguments_reach_no_shell(only_program: Path) -> None:
    """Each argument arrives as one."""
    only_program.write_text('#!/bin/sh\nprintf "[%s]" "$@"\n')

    assert (await run("a b", "$(touch x)", "*")).output == b"[a b][$(touch x)][*]"


async def test_hook_of_another_repository_has_no_say(only_program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git tells hooks their repository in the environment; we name ours, and nobody can answer a prompt."""
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    only_program.write_text('#!/bin/sh\necho "$GIT_DIR,$GIT_TERMINAL_PROMPT,$LC_ALL"\n')

    assert (await run()).output == b",0,C\n"


async def test_deadline_ends_git_and_what_it_started(only_program: Path, tmp_path: Path) -> None:
    """A child that holds the pipes open does not hold us up."""
    pid_file = tmp_path / "pid"
    only_program.write_text(f"#!/bin/sh\nsleep 60 &\necho $! > {pid_file}\nwait\n")

    with pytest.raises(RepositoryError, match="git fetch was not done within"):
        await run("--git-dir=x", "fetch", deadline_seconds=0.3)

    os.kill(int(pid_file.read_text()), 9)  # git's own children end with their pipes; this one does not care


async def test_git_that_ignores_the_polite_request_is_killed(
        only_program: Path, tmp_path: Path) -> None:
    """The caller waits a little longer, and no process is left."""
    pid_file = tmp_path / "pid"
    only_program.write_text(f"#!/bin/sh\ntrap '' TERM\necho $$ > {pid_file}\nexec sleep 60\n")

    with pytest.raises(RepositoryError):
        await run("fetch", deadline_seconds=0.3)

    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


async def test_missing_git_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Together with what to do."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(RepositoryError) as raised:
        await run("fetch")

    assert str(raised.value) == "the repository: git is not installed, or not on PATH"
    assert raised.value.advice == "install git for the user that runs this"

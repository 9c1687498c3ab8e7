"""The demo's git repository."""

from __future__ import annotations

import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from demo.gitrepo import GitError, Repository

PATCH = "database/schema/patch-1.sql"


def _ask(repository: Repository, *arguments: str) -> str:
    return subprocess.run(["git", "-C", repository.bare, *arguments], capture_output=True, text=True,
                          check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "git")


def test_a_landing_is_the_tip_of_devel(repository: Repository) -> None:
    """What a developer lands is what the buildmaster finds."""
    repository.land({"README": "first\n"}, "start")
    commit = repository.land({PATCH: "SELECT 1;\n"}, "a patch", author="architect")

    assert _ask(repository, "rev-parse", "devel") == commit
    assert _ask(repository, "show", f"{commit}:{PATCH}") == "SELECT 1;"
    assert _ask(repository, "log", "-1", "--format=%an: %s", "devel") == "architect: a patch"


def test_a_reverted_landing_is_gone_from_devel(repository: Repository) -> None:
    """A landing can be taken back without rewriting the branch."""
    repository.land({"README": "first\n"}, "start")
    commit = repository.land({PATCH: "SELECT 1;\n"}, "a patch")
    repository.revert(commit)

    assert _ask(repository, "ls-tree", "-r", "--name-only", "devel") == "README"


def test_a_landing_without_a_change_is_an_error(repository: Repository) -> None:
    """Git's own words come with the command that failed."""
    repository.land({"README": "first\n"}, "start")

    with pytest.raises(GitError, match=r"(?s)git commit .*: .*nothing to commit"):
        repository.land({"README": "first\n"}, "again")


class _Listener(BaseHTTPRequestHandler):
    received: list[dict[str, list[str]]]

    def do_POST(self) -> None:
        self.received.append(parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_push_tells_the_buildmaster(repository: Repository) -> None:
    """The hook posts the commit and the branch of each push."""
    listener = type("Listener", (_Listener,), {"received": []})
    with HTTPServer(("127.0.0.1", 0), listener) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        repository.tell(f"http://127.0.0.1:{server.server_port}/hook")
        commit = repository.land({"README": "first\n"}, "start")

    assert [(each["new"], each["ref"]) for each in listener.received] == [([commit], ["refs/heads/devel"])]


def test_a_silent_buildmaster_does_not_stop_a_push(repository: Repository) -> None:
    """Developers land whether or not the buildmaster is up."""
    repository.tell("http://127.0.0.1:1/hook")
    commit = repository.land({"README": "first\n"}, "start")

    assert _ask(repository, "rev-parse", "devel") == commit


def test_a_landing_may_hold_any_bytes_and_take_files_away(repository: Repository) -> None:
    """A file that is no text reaches the branch as it is, and one landing may replace another's file."""
    repository.land({PATCH: b"\xff\0\n"}, "no text")
    bytes_of_it = subprocess.run(["git", "-C", repository.bare, "show", f"devel:{PATCH}"], capture_output=True,
                                 check=True).stdout
    repository.land({PATCH: None, "README": "instead\n"}, "replaced")

    assert bytes_of_it == b"\xff\0\n"
    assert _ask(repository, "ls-tree", "-r", "--name-only", "devel") == "README"

"""Signing in to a git server with the password of a URL: a real git, a real HTTP server that asks for Basic auth."""

from __future__ import annotations

import base64
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest

from demo.gitrepo import Repository as Pushed
from downtime import git
from downtime.repository import Repository, RepositoryError

NAME, PASSWORD = "deployer", "p4ss w@rd/$HOME'\"%"
EXPECTED = "Basic " + base64.b64encode(f"{NAME}:{PASSWORD}".encode()).decode()


class GitServer(ThreadingHTTPServer):
    """Serves a folder to whoever signs in, and notes what everybody on the machine could read meanwhile."""

    def __init__(self, folder: Path, sent_on_to: str = "") -> None:
        self.sent_on_to = sent_on_to
        self.command_lines: set[bytes] = set()
        self.logins: list[str | None] = []
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def end(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(SimpleHTTPRequestHandler):
    server: GitServer

    def do_GET(self) -> None:
        self.server.command_lines |= set(_command_lines())
        self.server.logins.append(self.headers["Authorization"])
        if self.server.sent_on_to:
            self._answer(302, "Location", f"http://{self.server.sent_on_to}{self.path}")
        elif self.headers["Authorization"] == EXPECTED:
            super().do_GET()
        else:
            self._answer(401, "WWW-Authenticate", 'Basic realm="git"')

    def _answer(self, status: int, header: str, value: str) -> None:
        self.send_response(status)
        self.send_header(header, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Tests say what is wrong themselves."""


def _command_lines() -> Iterator[bytes]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield (entry / "cmdline").read_bytes()
            except OSError:
                continue  # it has ended meanwhile


@pytest.fixture
def pushed(tmp_path: Path) -> Pushed:
    """A repository with one commit, as a plain file server can offer it."""
    repository = Pushed.create(tmp_path / "pushed")
    repository.land({"README": "the application"}, "begin")
    subprocess.run(["git", "update-server-info"], cwd=repository.bare, check=True)
    return repository


@pytest.fixture
def served(pushed: Pushed) -> Iterator[GitServer]:
    server = GitServer(pushed.bare.parent)
    yield server
    server.end()


def a_repository(host: str, folder: Path, password: str = PASSWORD) -> Repository:
    return Repository(f"http://{NAME}:{quote(password, safe='')}@{host}/app.git", "devel", folder / "cache")


async def test_password_signs_in_and_is_in_no_command_line(served: GitServer, tmp_path: Path) -> None:
    """`git fetch https://user:password@host/` shows the password to everybody who lists the processes."""

    commit = await a_repository(served.host, tmp_path).fetch()

    assert len(commit) == 40
    assert EXPECTED in served.logins
    fetching = [line for line in served.command_lines if b"fetch" in line and served.host.encode() in line]
    assert fetching, "the processes were looked at while git was at work"
    shown = [line for line in served.command_lines if PASSWORD.encode() in line or quote(PASSWORD).encode() in line
             or quote(PASSWORD, safe="").encode() in line]
    assert shown == []


async def test_password_is_for_its_host_alone(pushed: Pushed, served: GitServer, tmp_path: Path) -> None:
    """A server that sends us on to another one does not make us tell that one."""
    first = GitServer(pushed.bare.parent, sent_on_to=served.host)
    try:
        with pytest.raises(RepositoryError):
            await a_repository(first.host, tmp_path).fetch()
    finally:
        first.end()

    assert served.logins, "git has followed"
    assert set(served.logins) == {None}


async def test_wrong_password_says_so_and_does_not_show_it(served: GitServer, tmp_path: Path) -> None:
    """With what to do next."""
    with pytest.raises(RepositoryError) as raised:
        await a_repository(served.host, tmp_path, "guessed").fetch()

    assert "guessed" not in f"{raised.value.explain()}{raised.value!r}{raised.value.__cause__!r}"
    assert "Authentication failed" in str(raised.value)


@pytest.mark.parametrize(("url", "shown"), [
    ("https://u:p4ss@host:8443/a.git", "https://host:8443/a.git"), ("https://token:@host/a", "https://host/a"),
    ("ssh://git:p4ss@host/a", "ssh://git@host/a"), ("https://user@host/a", "https://user@host/a"),
    ("git@host:a/b.git", "git@host:a/b.git"), ("file:///srv/git/a.git", "file:///srv/git/a.git")])
def test_what_of_a_url_reaches_the_command_line(url: str, shown: str) -> None:
    """A user's name stays where a key or a helper of theirs is looked up by it."""
    address = git.address(url)

    assert address.url == shown
    assert "p4ss" not in repr(address)
    assert "p4ss" not in " ".join(address.options)

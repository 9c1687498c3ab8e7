"""HTTP calls that stop a service, ask whether it is quiet, and resume it: against a real server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.downtime.quiescing.tasks import commands, shell

SECRET = "Bearer very secret"


@dataclass
class Service:
    """What it was asked, and what it answers by path."""

    url: str = ""
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)  # method, path, header
    answers: dict[str, int] = field(default_factory=dict)


@pytest.fixture
def service() -> Iterator[Service]:
    told = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_any(self) -> None:
            told.asked.append((self.command, self.path, self.headers.get("Authorization")))
            status = told.answers.get(self.path, 200)
            text = f"this is \x1b[31m {self.path}".encode()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", f"{told.url}/elsewhere")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_DELETE = do_any

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield told
    server.shutdown()
    server.server_close()
    thread.join()


def test_each_is_one_request_with_the_secret_in_its_header(service: Service, tmp_path: Path) -> None:
    """The secret is in no command line and in nothing that is printed."""

    (tmp_path / "secret").write_text(f"{SECRET}\n")
    service.answers["/busy"] = 204
    task = commands(tmp_path, http={
        "stop": {"url": f"{service.url}/stop"}, "stopped": {"url": f"{service.url}/busy"},
        "resume": {"url": f"{service.url}/stop", "method": "DELETE"},
        "header": "Authorization", "secret_file": "secret"})
    assert task.stopped is not None
    answers = [shell(command) for command in (task.stop, task.stopped, task.resume)]
    assert [status for status, _ in answers] == [0, 0, 0]
    assert service.asked == [("POST", "/stop", SECRET), ("GET", "/busy", SECRET), ("DELETE", "/stop", SECRET)]
    assert "very secret" not in "".join([task.stop, task.stopped, task.resume, *(said for _, said in answers)])
    assert answers[0][1] == f"POST {service.url}/stop: 200\nthis is \\x1b[31m /stop\n"


def test_only_the_expected_answer_is_a_success(service: Service, tmp_path: Path) -> None:
    """Without a word on it any from 200 to 299; a redirection is none, and the secret does not go there."""

    service.answers |= {"/failed": 500, "/moved": 302, "/conflict": 409}
    (tmp_path / "secret").write_text(SECRET)

    def status_of(path: str, *expected: int) -> int:
        request = {"url": f"{service.url}{path}", "status": list(expected)}
        return shell(commands(tmp_path, http={"stop": request, "resume": request, "header": "Authorization",
                                              "secret_file": "secret"}).stop)[0]
    assert [status_of("/"), status_of("/failed"), status_of("/moved")] == [0, 1, 1]
    assert [status_of("/", 409), status_of("/conflict", 200, 409)] == [1, 0]
    assert all(path != "/elsewhere" for _, path, _ in service.asked)


@pytest.mark.parametrize("secret", [f"{SECRET}\nX: y", f"{SECRET}\x07", f"{SECRET} \u20ac"])
def test_a_secret_that_is_no_header_is_not_shown(service: Service, tmp_path: Path, secret: str) -> None:
    """The file was changed after the settings were read; the traceback in the step's log had the secret in it."""

    file, request = tmp_path / "secret", {"url": f"{service.url}/stop"}
    file.write_text(SECRET)
    task = commands(tmp_path, http={"stop": request, "resume": request, "header": "X-Key", "secret_file": "secret"})
    file.write_text(secret)
    assert shell(task.stop) == (1, f"{file} should hold one line of Latin-1 text, the secret\n")
    assert service.asked == []


def test_a_service_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The deployment is refused with the reason."""

    request = {"url": "http://127.0.0.1:1/stop"}
    status, said = shell(commands(tmp_path, http={"stop": request, "resume": request}).stop)
    assert (status, said) == (1, "POST http://127.0.0.1:1/stop: [Errno 111] Connection refused\n")

"""What a person does in the web pages, done by a program: sign in, press a button, read a build and its logs.

Blocking and over Buildbot's own HTTP interface, so that it passes the same doors as a browser.
"""

from __future__ import annotations

import base64
import http.client
import http.cookiejar
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlencode

T = TypeVar("T")

ANSWER_SECONDS = 20.0
LOOK_SECONDS = 0.15  # how often a build is looked at; each look costs the master some milliseconds

NOT_FOUND = 404
WORKER_PREPARATION = "worker_preparation"

SUCCESS, WARNINGS, FAILURE, SKIPPED, EXCEPTION, RETRY, CANCELLED = range(7)
OUTCOMES = ("success", "warnings", "failure", "skipped", "exception", "retry", "cancelled")


class WebError(RuntimeError):
    """The buildmaster said no, or nothing; `status` is the HTTP status, 0 where there was no answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a build as the page shows it."""

    id: int
    name: str
    state: str          # the sentence beside the name
    results: int | None
    complete: bool

    @property
    def outcome(self) -> str:
        return OUTCOMES[self.results] if self.results is not None else "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One build as the page shows it."""

    id: int
    number: int
    builder: str
    state: str
    results: int | None
    complete: bool
    properties: dict[str, Any]

    @property
    def outcome(self) -> str:
        return OUTCOMES[self.results] if self.results is not None else "running"

    @property
    def good(self) -> bool:
        return self.results in (SUCCESS, WARNINGS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back, whatever it was."""

    status: int
    headers: Mapping[str, str]
    text: str


class Web:
    """One person's session at a buildmaster."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/") + "/"
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        directly = urllib.request.ProxyHandler({})  # a proxy of the environment has no business on loopback
        self._opener = urllib.request.build_opener(cookies, directly)
        self._as_it_is = urllib.request.build_opener(cookies, directly, _NotSentOn())

    @classmethod
    def signed_in(cls, address: str, name: str, password: str) -> Self:
        """A session of somebody who has signed in. Raises WebError (401 for a wrong password)."""
        web = cls(address)
        pair = base64.b64encode(f"{name}:{password}".encode()).decode()
        web.text("auth/login", headers={"Authorization": f"Basic {pair}"})
        return web

    def text(self, path: str, *, body: bytes | None = None, headers: dict[str, str] | None = None) -> str:
        """The answer to GET, or to POST where there is a body. Raises WebError."""
        request = urllib.request.Request(self.address + path, data=body, headers=headers or {})
        try:
            with self._opener.open(request, timeout=ANSWER_SECONDS) as answer:
                return str(answer.read().decode())
        except http.client.IncompleteRead as error:
            if body is not None:
                raise WebError(0, f"{self.address} has not finished its answer") from error
            return self.text(path, headers=headers)  # Buildbot writes from two threads, and a busy one loses some
        except urllib.error.HTTPError as error:
            raise WebError(error.code, _message(error.read().decode(errors="replace"))) from error
        except OSError as error:
            raise WebError(0, f"{self.address} does not answer: {error}") from error

    def ask(self, path: str, *, method: str = "GET", body: bytes | None = None,
            headers: dict[str, str] | None = None) -> Answer:
        """The answer to any question, a refusal or a redirection as it is. Raises WebError where there is none."""
        request = urllib.request.Request(self.address + path, data=body, headers=headers or {}, method=method)
        try:
            with self._as_it_is.open(request, timeout=ANSWER_SECONDS) as answer:
                return Answer(status=answer.status, headers=dict(answer.headers), text=answer.read().decode())
        except urllib.error.HTTPError as error:
            return Answer(status=error.code, headers=dict(error.headers), text=error.read().decode(errors="replace"))
        except OSError as error:
            raise WebError(0, f"{self.address} does not answer: {error}") from error

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """A resource of the data API. Raises WebError."""
        question = f"?{urlencode(parameters, doseq=True)}" if parameters else ""
        return dict(json.loads(self.text(f"api/v2/{path}{question}")))

    def call(self, path: str, method: str, /, **fields: Any) -> Any:
        """What a button of the pages does. Raises WebError with the reason (403 for somebody who may not)."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": fields}).encode()
        headers = {"Content-Type": "application/json", "Origin": self.address.rstrip("/")}
        return json.loads(self.text(f"api/v2/{path}", body=body, headers=headers)).get("result")

    def force(self, scheduler: str, /, **fields: Any) -> int:
        """Press a scheduler's button; the id of the build request. Raises WebError."""
        _, requests = self.call(f"forceschedulers/{quote(scheduler)}", "force", **fields)
        return int(next(iter(requests.values())))

    def stop(self, build: Build, reason: str) -> None:
        """The Stop button of a build. Raises WebError."""
        self.call(f"builds/{build.id}", "stop", reason=reason)

    def builds(self, builder: str, limit: int = 5) -> list[Build]:
        """The builder's latest builds, latest first."""
        found = self.get(f"builders/{quote(builder)}/builds", order="-number", limit=limit, property="*")
        return [_build(builder, each) for each in found["builds"]]

    def build(self, build: Build) -> Build:
        """The build as it is now."""
        (found,) = self.get(f"builds/{build.id}", property="*")["builds"]
        return _build(build.builder, found)

    def build_of(self, builder: str, request: int, seconds: float) -> Build:
        """The build of a request; of several the latest. Raises WebError when there is none in time."""
        def look() -> Build | None:
            found = self.get(f"buildrequests/{request}/builds", order="-number", property="*")["builds"]
            return _build(builder, found[0]) if found else None
        return wait(look, seconds, f"a build of {builder} to start")

    def ended(self, build: Build, seconds: float) -> Build:
        """The build when it has ended. Raises WebError when it does not in time."""
        def look() -> Build | None:
            now = self.build(build)
            return now if now.complete else None
        return wait(look, seconds, f"build {build.number} of {build.builder} to end")

    def steps(self, build: Build) -> list[Step]:
        """The build's steps in running order, without Buildbot's own first one."""
        found = [each for each in self.get(f"builds/{build.id}/steps", order="number")["steps"]
                 if each["name"] != WORKER_PREPARATION]
        return [Step(id=each["stepid"], name=each["name"], state=each["state_string"], results=each["results"],
                     complete=each["complete"]) for each in found]

    def logs(self, step: Step) -> dict[str, str]:
        """Every log of a step, by name."""
        found = self.get(f"steps/{step.id}/logs")["logs"]
        return {log["name"]: self.text(f"api/v2/logs/{log['logid']}/raw_inline") for log in found}

    def data(self, build: Build, name: str) -> dict[str, Any]:
        """What a build has left for other programs; empty where it has not."""
        try:
            return dict(json.loads(self.text(f"api/v2/builds/{build.id}/data/{quote(name)}/value")))
        except WebError as error:
            if error.status != NOT_FOUND:
                raise
            return {}

    def story_of(self, build: Build) -> str:
        """A build's steps, a line each, and the logs of those that went wrong: for messages."""
        lines = [f"build {build.number} of {build.builder}: {build.outcome}, {build.state}"]
        for step in self.steps(build):
            lines.append(f"  {step.outcome:9} {step.name}: {step.state}")
            if step.results in (FAILURE, EXCEPTION):
                lines += [f"      {line}" for text in self.logs(step).values() for line in text.splitlines()[:30]]
        return "\n".join(lines)


class _NotSentOn(urllib.request.HTTPRedirectHandler):
    """Takes a redirection for the answer that it is."""

    def redirect_request(self, *_: Any) -> None:
        return None


def wait(look: Callable[[], T | None], seconds: float, what: str) -> T:
    """Look until there is something. Raises WebError naming what was waited for."""
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise WebError(0, f"waited {seconds:g} s in vain for {what}")
        time.sleep(LOOK_SECONDS)
    return found


def _build(builder: str, found: dict[str, Any]) -> Build:
    properties = {name: value[0] for name, value in (found.get("properties") or {}).items()}
    return Build(id=found["buildid"], number=found["number"], builder=builder, state=found["state_string"],
                 results=found["results"], complete=found["complete"], properties=properties)


def _message(text: str) -> str:
    """What an answer of Buildbot says, out of its JSON."""
    try:
        error = json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        return text.strip()
    message = error.get("message", error) if isinstance(error, dict) else error
    return message if isinstance(message, str) else json.dumps(message)

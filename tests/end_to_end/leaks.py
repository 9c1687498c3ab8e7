"""Where a secret shows: searched for after every run, in files, in whatever the web server says, among the processes.

What is found is named by its place alone, so that a failure does not repeat the secret.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from buildbot.db.logs import LogsConnectorComponent

from demo import application
from demo.sandbox import PEOPLE, Sandbox
from demo.stage import Stage
from demo.web import Web

ROLES = (application.PATCHER, application.APPLICATION, application.FRAGILE, application.SPARED)
RESOURCES = ("builds?property=*", "buildsets", "buildrequests?property=*", "changes", "workers", "schedulers",
             "forceschedulers", "builders", "masters", "sourcestamps", "changesources")
PAGES = ("", "config", "auth/logout", "avatar?email=x", "change_hook/poller")

Places = Iterator[tuple[str, bytes]]  # a place and what can be read there


def left_in(sandbox: Sandbox) -> list[str]:
    """Every place that a run has left where a password shows."""
    return among(passwords(sandbox), [*files(sandbox), *logs(sandbox), *command_lines()])


def passwords(sandbox: Sandbox) -> list[str]:
    """Of everybody and everything in the sandbox."""
    known = [application.password_of(name) for name in (*ROLES, *PEOPLE)]
    return [*known, *(server.superuser_password for server in sandbox.servers.values()),
            *sandbox.surroundings.passwords]


def among(secrets: Iterable[str], places: Iterable[tuple[str, bytes]]) -> list[str]:
    """The places where one of the secrets shows."""
    sought = [secret.encode() for secret in secrets]
    return [place for place, text in places if any(secret in text for secret in sought)]


def files(sandbox: Sandbox) -> Places:
    """What Buildbot and PostgreSQL have written, Buildbot's state database among it."""
    logs = [each.log for each in (*sandbox.servers.values(), *sandbox.surroundings.named.values())]
    for path in [*logs, *(path for path in sandbox.master.rglob("*") if path.is_file())]:
        try:
            yield str(path), path.read_bytes()
        except FileNotFoundError:
            continue  # a running master has its journals and locks


def logs(sandbox: Sandbox) -> Places:
    """Every log of every step as the state database keeps it: compressed, so that no search of the file finds it."""
    with contextlib.closing(sqlite3.connect(sandbox.master / "state.sqlite")) as database:
        rows = database.execute("SELECT logid, first_line, compressed, content FROM logchunks").fetchall()
    for log, line, method, content in rows:
        yield f"log {log}, line {line}", LogsConnectorComponent.COMPRESSION_BYID[method].read(content)


def answers(stage: Stage) -> Places:
    """What a developer gets to read, and a stranger: the pages and every resource; the logs are in `logs`."""
    developer = stage.as_("developer")
    for resource in RESOURCES:
        yield resource, developer.text(f"api/v2/{resource}").encode()
    for page in PAGES:
        for who, session in (("a stranger", Web(stage.sandbox.address)), ("a developer", developer)):
            if page != "auth/logout" or who == "a stranger":
                answer = session.ask(page)
                yield f"/{page} for {who}", f"{answer.headers}{answer.text}".encode()


def command_lines() -> Places:
    """Everybody on the machine can read the list of processes."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield f"process {entry.name}", (entry / "cmdline").read_bytes()
            except OSError:
                continue  # it has ended meanwhile

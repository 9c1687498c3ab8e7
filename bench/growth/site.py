"""A sandbox with a buildmaster, and those who work with it: they land, approve and wait.

Buttons are pressed over HTTP. What becomes of it is read in Buildbot's state database, which is a file: however often
it is looked at costs the master nothing.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from demo.buildmaster import Buildmaster
from demo.sandbox import SCHEMA, Sandbox, clear
from demo.web import OUTCOMES, SUCCESS, WARNINGS, Web, WebError
from downtime.history.events import Asked, Event, from_json
from steps.shared.names import FORCED_BY, BuilderName, Property, ServiceName

T = TypeVar("T")

PATIENCE_SECONDS = 180.0  # for anything that is waited for; some seconds are usual
LOOK_SECONDS = 0.02       # between two looks: the resolution of whatever is waited for
COLD = "-- apply: cold\n"
HARMLESS = f"{COLD}COMMENT ON TABLE account IS '{{name}}';\n"
STATE = "state.sqlite"
NEWEST = 400              # events: those of more patches than are on their way at once

BUILDS = """
SELECT builds.id, builds.number, state_string, results, complete_at
FROM builds JOIN builders ON builders.id = builds.builderid
JOIN build_properties AS about ON about.buildid = builds.id AND about.name = ? AND about.value = ?
WHERE builders.name = ? ORDER BY builds.id DESC LIMIT 1
"""
EVENTS = """
SELECT value_json FROM object_state JOIN objects ON objects.id = objectid
WHERE objects.name = ? ORDER BY object_state.name DESC LIMIT ?
"""
LOG_LINES = """
SELECT sum(num_lines) FROM logs JOIN steps ON steps.id = stepid
WHERE buildid = ? AND steps.name = ? AND steps.complete_at IS NOT NULL
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A build as the state database has it."""

    id: int
    number: int
    state: str
    results: int | None
    complete: bool

    @property
    def good(self) -> bool:
        return self.results in (SUCCESS, WARNINGS)


class Site:
    """Keep it as long as its master should live; made by `a_site`."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.master = Buildmaster(sandbox)
        self.state = sandbox.master / STATE
        self._approver: Web | None = None

    def start(self) -> None:
        """A new master, at which nobody is signed in. Raises MasterError."""
        self._approver = None
        self.master.start()

    def land(self, texts: Mapping[str, str]) -> str:
        """Push these patches in one landing, by name; the commit."""
        return self.sandbox.repository.land(
            {f"{SCHEMA}/{name}.sql": text for name, text in texts.items()}, f"land {len(texts)} patches")

    def judged(self, commit: str) -> Seen:
        """The build of staging that has judged this landing, when it has ended well. Raises WebError."""
        return self._good(until(lambda: self._complete(BuilderName.STAGING, "revision", commit),
                                f"staging to judge commit {commit[:8]}"))

    def waiting(self, name: str, *, beyond: int = 0) -> Asked:
        """The question of the build that waits for the approval of a patch. Raises WebError.

        `beyond`: builds up to this one are those of a master that is no more.
        """
        def look() -> Asked | None:
            asked = self.events(name).get("asked")
            return asked if isinstance(asked, Asked) and asked.build_id > beyond else None
        return until(look, f"{name} to wait for its approval")

    def approve(self, asked: Asked) -> None:
        """Press the button. Raises WebError."""
        if self._approver is None:
            sandbox = self.sandbox
            self._approver = Web.signed_in(sandbox.address, "approver", sandbox.passwords["approver"])
        self._approver.force(FORCED_BY[BuilderName.APPROVE], build=str(asked.build_id), digest=asked.digest,
                             decision="approve", reason="")

    def deployed(self, name: str) -> Seen:
        """The build of production that has deployed a patch, when it has ended well. Raises WebError."""
        return self._good(until(lambda: self._complete(BuilderName.PRODUCTION, Property.PATCH, name),
                                f"{name} to be deployed"))

    def deploy(self, texts: Mapping[str, str]) -> None:
        """See these patches, landed together, through to production. Raises WebError."""
        self.judged(self.land(texts))
        for asked in [self.waiting(name) for name in texts]:
            self.approve(asked)
        for name in texts:
            self.deployed(name)

    def data(self, build_id: int, name: str) -> dict[str, Any]:
        """What a build has left for other programs."""
        ((value,),) = self._rows("SELECT value FROM build_data WHERE buildid = ? AND name = ?", build_id, name)
        return dict(json.loads(value))

    def events(self, patch: str) -> dict[str, Event]:
        """The newest event of each kind that the journal has of a patch of late."""
        found = [from_json(json.loads(value)) for (value,) in self._rows(EVENTS, ServiceName.JOURNAL.value, NEWEST)
                 if patch in value]
        return {event.kind: event for event in reversed(found) if event.patch_id == patch}

    def log_lines(self, build_id: int, step: str) -> int | None:
        """The lines in the logs of a step, when it has ended."""
        ((lines,),) = self._rows(LOG_LINES, build_id, step)
        return int(lines) if lines is not None else None

    def _complete(self, builder: BuilderName, about: str, value: str) -> Seen | None:
        found = self._build(builder, about, value)
        return found if found is not None and found.complete else None

    def _build(self, builder: BuilderName, about: str, value: str) -> Seen | None:
        """The newest build of a builder that has a property of this value."""
        for build_id, number, state, results, completed in self._rows(BUILDS, about, json.dumps(value), builder.value):
            return Seen(id=build_id, number=number, state=state, results=results, complete=completed is not None)
        return None

    def _good(self, build: Seen) -> Seen:
        if not build.good:
            raise WebError(0, f"build {build.number}: {OUTCOMES[build.results or 0]}: {build.state}")
        return build

    def _rows(self, statement: str, *parameters: Any) -> Sequence[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.state)) as database:
            return database.execute(statement, parameters).fetchall()


@contextlib.contextmanager
def a_site(folder: Path) -> Iterator[Site]:
    """With its ledgers begun and its master's state made, but not started; taken down afterwards, whatever happens."""
    place = folder / "demo"
    try:
        site = Site(Sandbox.create(place))
        make_plain(site.sandbox.settings)
        with ThreadPoolExecutor() as beside:  # both are programs that take their time to start
            making = beside.submit(site.master.create)
            site.sandbox.record_baseline()
            making.result()
        try:
            yield site
        finally:
            site.master.kill()
    finally:
        clear(place)  # of half a sandbox, too


def make_plain(path: Path) -> None:
    """Without prober and background tasks: programs of their own beside a deployment, and not the master's cost."""
    settings = yaml.safe_load(path.read_text())
    production = settings["environments"]["production"]
    production["probe"] = False
    del production["quiesce"]
    path.write_text(yaml.safe_dump(settings))


def until(look: Callable[[], T | None], what: str) -> T:
    """Look until there is something. Raises WebError naming what was waited for."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise WebError(0, f"waited {PATIENCE_SECONDS:g} s in vain for {what}")
        time.sleep(LOOK_SECONDS)
    return found


def keep(source: Path, target: Path) -> None:
    """Copy a state database whose master does not run, however that has ended."""
    for rest in (f"{target.name}-wal", f"{target.name}-shm"):
        target.with_name(rest).unlink(missing_ok=True)
    target.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(source)) as database, contextlib.closing(sqlite3.connect(target)) as copy:
        database.backup(copy)
    target.chmod(0o600)

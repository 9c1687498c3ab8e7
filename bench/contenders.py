"""What a contest is about, and who takes part: each contender deploys a patch in its own way, with clients at work.

A contender says when it begins: `arena.begins()`, as late as it can before anybody is kept out, so that the start of
its programs is in nobody's figures. From then on until it returns the arena looks at what clients see.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import yaml

from demo import application
from demo.processes import shown, without_postgres_variables
from demo.sandbox import DATABASE, ROOT, SCHEMA, Sandbox
from demo.servers import LOOPBACK, SUPERUSER

PEERS = Path(__file__).with_name("peers")
MIGRATION_TOOL = "migration_tool"
ENDS_SECONDS = 60
NOTHING_SECONDS = 2.0  # a longer look sees rarer gaps
BEGINS = "new connections"  # in the line that the command line says before it connects
CONNECTED = "connected"     # so do peers that are Python programs

# A lock that nobody else may have, on the table that everybody uses; rewrites nothing.
TEXT = "-- apply: cold\nALTER TABLE account ALTER COLUMN balance SET DEFAULT {number};\n"
SLEEP = "SELECT pg_sleep({seconds:g});\n"

REVISION = """\
from alembic import op

revision, down_revision = {revision!r}, {previous!r}


def upgrade() -> None:
    op.execute({text!r})
"""


class ContestError(RuntimeError):
    """A contender failed, or the clients did not come to rest; the message has what was said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """One patch; every deployment has one of its own."""

    number: int                  # of the deployment, from 1: their order in the repository
    sleeps_seconds: float = 0.0  # how long it holds its lock; 0: a trivial one

    @property
    def id(self) -> str:
        return f"patch-9000-{self.number:04}-0"

    @property
    def text(self) -> str:
        sleep = SLEEP.format(seconds=self.sleeps_seconds) if self.sleeps_seconds else ""
        return TEXT.format(number=self.number) + sleep

    def land(self, sandbox: Sandbox) -> str:
        """Put it into the repository; the commit's id."""
        return sandbox.repository.land({f"{SCHEMA}/{self.id}.sql": self.text}, self.id)

    def write(self, folder: Path) -> Path:
        """As a file, for whoever has no repository."""
        path = folder / f"{self.id}.sql"
        path.write_text(self.text)
        return path


class Arena(Protocol):
    """What a contender finds: servers, and somebody who looks at them from outside."""

    @property
    def sandbox(self) -> Sandbox: ...

    def begins(self) -> None:
        """From here on what clients see is the contender's doing."""


class Contender(Protocol):
    """One way to deploy a patch to production."""

    @property
    def name(self) -> str:
        """As a table has it."""

    def deploy(self, arena: Arena, patch: Patch) -> None:
        """Deploy; returns when it is done, open connections included. Raises ContestError."""


class Nobody:
    """No deployment: what the prober sees where nothing happens."""

    name = "no deployment"

    def deploy(self, arena: Arena, patch: Patch) -> None:
        arena.begins()
        time.sleep(patch.sleeps_seconds or NOTHING_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A shell script of `peers/`: SCRIPT DATABASE PATCH FRAGILE_USER, as superuser."""

    name: str
    file: str

    def deploy(self, arena: Arena, patch: Patch) -> None:
        sandbox = arena.sandbox
        command = ["sh", str(PEERS / self.file), DATABASE, str(patch.write(sandbox.folder)), application.FRAGILE]
        arena.begins()
        with running(command, as_superuser(sandbox)) as process:
            finish(process)


class MigrationTool:
    """Alembic as its documentation sets it up: one revision a patch, applied by `alembic upgrade head`."""

    def __init__(self, *, name: str) -> None:
        self.name = name
        self._last: str | None = None

    def deploy(self, arena: Arena, patch: Patch) -> None:
        command = [sys.executable, "-m", "alembic", "--config", str(self._revised(arena.sandbox, patch)), "upgrade",
                   "head"]
        with running(command, as_patcher(arena.sandbox)) as process:
            await_words(process, process.stdout, CONNECTED)
            arena.begins()
            finish(process, say="go\n")

    def _revised(self, sandbox: Sandbox, patch: Patch) -> Path:
        """Its configuration, with a revision for the patch."""
        place = sandbox.folder / MIGRATION_TOOL
        if self._last is None:
            shutil.copytree(PEERS / MIGRATION_TOOL, place)
            (place / "versions").mkdir()
        revision = f"r{patch.number}"
        (place / "versions" / f"{revision}.py").write_text(
            REVISION.format(revision=revision, previous=self._last, text=patch.text))
        self._last = revision
        return place / "alembic.ini"


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The statements of ours in one round trip: what does the same can hardly be faster."""

    name: str

    def deploy(self, arena: Arena, patch: Patch) -> None:
        commit, file = patch.land(arena.sandbox), patch.write(arena.sandbox.folder)
        command = [sys.executable, str(PEERS / "floor.py"), patch.id, str(file), commit, application.FRAGILE,
                   application.SPARED]
        with running(command, as_patcher(arena.sandbox)) as process:
            await_words(process, process.stdout, CONNECTED)
            arena.begins()
            finish(process, say="go\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """`python -m downtime apply`, as the patching role, which is no superuser."""

    gate: str  # hold | refuse
    kick: str  # all | transactions

    @property
    def name(self) -> str:
        return f"fast downtime, `{self.gate}`, `{self.kick}`"

    def deploy(self, arena: Arena, patch: Patch) -> None:
        patch.land(arena.sandbox)
        command = [sys.executable, "-m", "downtime", "--settings", str(self._settings(arena.sandbox)), "apply",
                   patch.id, "--environment", "production", "--yes", "--no-probe"]
        with running(command, without_postgres_variables()) as process:
            await_words(process, process.stderr, BEGINS)
            arena.begins()
            finish(process)

    def _settings(self, sandbox: Sandbox) -> Path:
        """The sandbox's own but for gate and kick, beside them: what they name is found from there."""
        settings = yaml.safe_load(sandbox.settings.read_text())
        settings["environments"]["production"].update(gate=self.gate, kick=self.kick)
        path = sandbox.settings.with_name(f"settings-{self.gate}-{self.kick}.yaml")
        path.write_text(yaml.safe_dump(settings))
        return path


def as_superuser(sandbox: Sandbox) -> dict[str, str]:
    """The environment of somebody at a terminal with psql."""
    server = sandbox.servers["production"]
    return without_postgres_variables(
        PGHOST=LOOPBACK, PGPORT=str(server.port), PGUSER=SUPERUSER, PGPASSWORD=server.superuser_password,
        PATH=f"{server.installation.bin}{os.pathsep}{os.environ['PATH']}")


def as_patcher(sandbox: Sandbox) -> dict[str, str]:
    """The environment of a program that connects as the patching role."""
    return without_postgres_variables(DATABASE_URL=sandbox.dsn(application.PATCHER))


@contextlib.contextmanager
def running(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A process in the product's folder; it is gone afterwards, and what it has started with it."""
    process = subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        with process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
    except BrokenPipeError:
        raise ContestError(f"{shown(command)} has ended too early") from None


def await_words(process: subprocess.Popen[str], output: IO[str] | None, words: str) -> None:
    """Until the process has said them. Raises ContestError where it ends, or the time, without."""
    assert output is not None
    said, deadline = "", time.monotonic() + ENDS_SECONDS
    while words not in said:
        if not select.select([output], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise ContestError(f"{_command(process)} has not said {words!r} within {ENDS_SECONDS} s: {said}")
        byte = os.read(output.fileno(), 1)  # what a buffer had read ahead would be missing in the message of `finish`
        if not byte:
            raise ContestError(f"{_command(process)} has not said {words!r}: {said}{''.join(process.communicate())}")
        said += byte.decode(errors="replace")


def finish(process: subprocess.Popen[str], *, say: str | None = None) -> str:
    """Let it come to its end; what it has said. Raises ContestError where it fails."""
    try:
        said, complaints = process.communicate(say, timeout=ENDS_SECONDS)
    except subprocess.TimeoutExpired:
        raise ContestError(f"{_command(process)} has not ended within {ENDS_SECONDS} s") from None
    if process.returncode != 0:
        raise ContestError(f"{_command(process)}: {complaints}{said}")
    return said


def _command(process: subprocess.Popen[str]) -> str:
    return shown(process.args) if isinstance(process.args, list) else str(process.args)

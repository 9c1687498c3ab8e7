"""The demo's processes, written down so that they can be found and ended again, and nobody else's with them.

A process is known by its id and the instant it started: an id alone may by now belong to another program.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

END_SECONDS = 20.0     # a buildmaster in the middle of an outage reopens first
KILLED_SECONDS = 5.0
LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process of ours. `started` is counted in the kernel's ticks since it booted."""

    name: str
    pid: int
    started: int

    @classmethod
    def of(cls, name: str, pid: int) -> Process:
        """The process of this id as it is now. Raises ProcessLookupError where there is none."""
        started = _started(pid)
        if started is None:
            raise ProcessLookupError(f"{name}: there is no process {pid}")
        return cls(name=name, pid=pid, started=started)

    @property
    def alive(self) -> bool:
        return _started(self.pid) == self.started

    def signal(self, number: signal.Signals) -> None:
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def end(self, seconds: float = END_SECONDS) -> bool:
        """Ask it to end and wait; when the time is up it is killed, and False is the answer."""
        self.signal(signal.SIGTERM)
        if self._gone_within(seconds):
            return True
        self.kill()
        return False

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self._gone_within(KILLED_SECONDS)

    def _gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.alive and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
        return not self.alive


class Register:
    """The file that remembers a sandbox's processes, by name."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, name: str, pid: int) -> Process:
        """Write a process down; one of the same name is forgotten."""
        process = Process.of(name, pid)
        self._write({**self.all(), name: process})
        return process

    def forget(self, name: str) -> None:
        self._write({known: process for known, process in self.all().items() if known != name})

    def find(self, name: str) -> Process | None:
        """The living process of that name."""
        process = self.all().get(name)
        return process if process is not None and process.alive else None

    def all(self) -> dict[str, Process]:
        """Everything written down, in the order of starting; dead ones too."""
        try:
            written = json.loads(self._path.read_text())
            return {each["name"]: Process(**each) for each in written}
        except (OSError, ValueError, TypeError, KeyError):
            return {}  # nothing was started, or a killed run left half a line

    def _write(self, processes: Mapping[str, Process]) -> None:
        temporary = self._path.with_suffix(".new")
        temporary.write_text(json.dumps([asdict(process) for process in processes.values()], indent=1))
        temporary.replace(self._path)


def end_with_us(pid: int) -> subprocess.Popen[bytes]:
    """A guard that ends a process as soon as ours is gone, however that dies. Kill the guard to call it off."""
    script = 'read -r _; kill -TERM "$0" 2>/dev/null'
    return subprocess.Popen(["sh", "-c", script, str(pid)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL, start_new_session=True)


def dismiss(guard: subprocess.Popen[bytes] | None) -> None:
    """Call off a guard."""
    if guard is not None:
        guard.kill()
        guard.communicate()


def without_postgres_variables(**more: str) -> dict[str, str]:
    """Our environment without libpq's variables, which would send a child to another server."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith("PG")}, **more}


def shown(arguments: Sequence[str | Path]) -> str:
    """A command as a message shows it."""
    return " ".join(map(str, arguments))


def _started(pid: int) -> int | None:
    """When the process started, in ticks since boot; None where there is none, or only its remains."""
    try:
        # the name in parentheses may hold anything, so count from its end
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[19]) if fields[0] != "Z" else None

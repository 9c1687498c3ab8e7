"""Processes beside the story that answer a line with a line: the prober, and the application's clients. Blocking."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from demo.processes import shown, without_postgres_variables
from downtime.probing import FIRST_SUCCESS_SECONDS, Report
from downtime.target import Target

ROOT = Path(__file__).resolve().parent.parent
ANSWER_SECONDS = 10.0
END_SECONDS = 5.0
KICKED = {"57P01", "08006"}  # what a connection sees that is ended; one that is refused sees something else


class CompanionError(RuntimeError):
    """A process beside the story does not answer; the message has its last words."""


class Companion:
    """A Python module that runs as a process of its own and ends with us, because its input then ends."""

    def __init__(self, module: str, *arguments: str, **environment: str) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=without_postgres_variables(**environment))
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, line: str) -> str:
        """Say a line and return the answer. Raises CompanionError."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except OSError as error:
            raise CompanionError(f"{shown(self._command)} has ended: {self._last_words()}") from error
        return self.listen(ANSWER_SECONDS)

    def listen(self, seconds: float) -> str:
        """The next line it says. Raises CompanionError."""
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            raise CompanionError(f"{shown(self._command)} said nothing for {seconds:g} s") from None
        if not line:
            raise CompanionError(f"{shown(self._command)} has ended: {self._last_words()}")
        return line

    def stop(self) -> None:
        """End it. Safe to call again."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put("")

    def _last_words(self) -> str:
        self._process.kill()
        said = self._process.stderr.read() if self._process.stderr is not None else ""
        return said.strip() or "it said nothing"


class Probe:
    """The outage as a client sees it: `downtime.probing`, which knows nothing of deployments."""

    def __init__(self, target: Target) -> None:
        """Returns when the first connection has succeeded. Raises CompanionError."""
        secret = {"PGPASSWORD": target.password} if target.password is not None else {}
        self._companion = Companion("downtime.probing", PROBER_DSN=target.dsn, **secret)
        self._companion.listen(FIRST_SUCCESS_SECONDS + ANSWER_SECONDS)

    @property
    def pid(self) -> int:
        return self._companion.pid

    def report(self) -> Report:
        """What a client saw since the last report. Raises CompanionError."""
        return Report.from_json(self._companion.ask("report"))

    def stop(self) -> None:
        self._companion.stop()


class Clients:
    """The application's clients: `demo.clients`, hundreds of them in one process."""

    def __init__(self, dsn: str, fragile_dsn: str, **numbers: int) -> None:
        """So many of each kind. The connection strings include the passwords; they travel in the environment."""
        self._companion = Companion("demo.clients", *client_arguments(**numbers), CLIENTS_DSN=dsn,
                                    FRAGILE_DSN=fragile_dsn)
        self.report()

    def begin(self) -> dict[str, Any]:
        """The fragile script begins a transaction and stays in it."""
        return self._ask("begin")

    def commit(self) -> dict[str, Any]:
        return self._ask("commit")

    def rest(self) -> dict[str, Any]:
        """From here on they keep what connections they have, and do nothing."""
        return self._ask("rest")

    def work(self) -> dict[str, Any]:
        """From here on they work, as they do from the start."""
        return self._ask("work")

    def report(self) -> dict[str, Any]:
        return self._ask("report")

    def stop(self) -> None:
        self._companion.stop()

    def _ask(self, line: str) -> dict[str, Any]:
        return dict(json.loads(self._companion.ask(line)))


def client_arguments(**numbers: int) -> Sequence[str]:
    """By the kinds of `demo.clients`: `client_arguments(idle=10, writing=2)`."""
    return [word for kind, number in numbers.items() for word in (f"--{kind}", str(number))]

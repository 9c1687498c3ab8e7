"""The demo's buildmaster: a real Buildbot master in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sysconfig
import time
from pathlib import Path

from demo.processes import Process, dismiss, end_with_us, without_postgres_variables
from demo.sandbox import Sandbox
from demo.web import Web, WebError

NAME = "buildmaster"
START_SECONDS = 60.0  # 3 s on a quiet machine
LOOK_SECONDS = 0.05
LOG_TAIL_LINES = 30
PROGRAMS = Path(sysconfig.get_path("scripts"))


class MasterError(RuntimeError):
    """The buildmaster did not start; the message has the end of its log."""


class Buildmaster:
    """The buildmaster of a sandbox; perhaps started by another process. Keep it as long as the master should live."""

    def __init__(self, sandbox: Sandbox, *, name: str = NAME) -> None:
        self.sandbox = sandbox
        self._name = name
        self._child: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> Process | None:
        """The living process, whoever started it."""
        return self.sandbox.register.find(self._name)

    @property
    def log(self) -> Path:
        return self.sandbox.master / "twistd.log"

    def create(self) -> None:
        """Make its state database. Raises MasterError with what Buildbot said, a mistake in the settings for one."""
        self._buildbot("upgrade-master", "--quiet", str(self.sandbox.master))

    def copy_state(self, url: str) -> None:
        """Copy its state into an empty database, while it does not run. Raises MasterError."""
        self._buildbot("copy-db", "--quiet", url, str(self.sandbox.master))

    def start(self, *, outlives_us: bool = False) -> None:
        """Start and return when its pages answer. Raises MasterError."""
        arguments = [str(PROGRAMS / "twistd"), "--nodaemon", "--no_save", "--pidfile=", "--logfile=twistd.log",
                     "--python=buildbot.tac"]
        output = os.open(self.sandbox.master / "output.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._child = subprocess.Popen(
                arguments, cwd=self.sandbox.master, env=self._environment(), stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, start_new_session=True, umask=0o077)
        finally:
            os.close(output)
        self.sandbox.register.add(self._name, self._child.pid)
        if not outlives_us:
            self._guard = end_with_us(self._child.pid)
        self._await_pages()

    def stop(self) -> bool:
        """Ask it to end and wait; False where it had to be killed, or was not running."""
        process = self.process
        ended = process is not None and process.end()
        self._reap()
        return ended

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        if (process := self.process) is not None:
            process.signal(signal.SIGKILL)
        self._reap()

    @property
    def resident_bytes(self) -> int:
        """Its memory as the kernel counts it. Raises MasterError where it does not run."""
        if (process := self.process) is None:
            raise MasterError("the buildmaster is not running")
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def _reap(self) -> None:
        dismiss(self._guard)
        self._guard = None
        if self._child is not None:
            self._child.wait()
            self._child = None
        self.sandbox.register.forget(self._name)

    def _await_pages(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                # pages answer before the configuration has taken effect: without builders nobody can ask for anything
                if Web(self.sandbox.address).get("builders")["builders"]:
                    return
            except WebError:
                pass
            if self.process is None or time.monotonic() > deadline:
                raise MasterError(f"the buildmaster did not start:\n{self.log_tail}")
            time.sleep(LOOK_SECONDS)

    @property
    def log_tail(self) -> str:
        """The last lines of what it said, for messages."""
        said = [path.read_text(errors="replace").splitlines() for path in (self.log, self.log.with_name("output.log"))
                if path.exists()]
        return "\n".join(line for lines in said for line in lines[-LOG_TAIL_LINES:])

    def _buildbot(self, command: str, *arguments: str) -> None:
        done = subprocess.run([PROGRAMS / "buildbot", command, *arguments], cwd=self.sandbox.master,
                              env=self._environment(), capture_output=True, text=True, check=False, umask=0o077)
        if done.returncode != 0:
            raise MasterError(f"buildbot {command} failed:\n{done.stdout}{done.stderr}")

    def _environment(self) -> dict[str, str]:
        return without_postgres_variables(FASTDOWNTIME_SETTINGS=str(self.sandbox.settings))

"""A worker of another machine, which can be lost: ours run inside the master, but a foreign configuration may differ.

A master that was allowed to reads this configuration instead of master.cfg. It is the same, unless the worker was
started: then the builder `production` runs its builds there.
"""

from __future__ import annotations

import subprocess
import sysconfig
import time
from pathlib import Path
from typing import Any

from buildbot.plugins import worker

import master
from demo import application
from demo.processes import without_postgres_variables
from demo.sandbox import ROOT, SAMPLES, Sandbox
from demo.servers import LOOPBACK, free_port
from demo.web import Web, WebError
from steps.shared.names import BuilderName

NAME = "elsewhere"
PASSWORD = application.password_of(NAME)
PROGRAMS = Path(sysconfig.get_path("scripts"))
ATTACHED_SECONDS = 20.0
LOOK_SECONDS = 0.05

CONFIGURATION = """\
# Written by the demo: what master.cfg does, and a worker elsewhere where there is one.
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from demo.faults import remote_worker
BuildmasterConfig = remote_worker.configuration(Path({root!r}), Path({in_use!r}))
"""


def configuration(root: Path, in_use: Path) -> dict[str, Any]:
    """The `BuildmasterConfig` of master.cfg; with the worker while there is the file that says where it connects."""
    config: dict[str, Any] = master.configuration(root)
    if in_use.exists():
        config["protocols"]["pb"] = {"port": f"tcp:{in_use.read_text()}:interface={LOOPBACK}"}
        config["workers"].append(worker.Worker(NAME, PASSWORD))
        for builder in config["builders"]:
            if builder.name == BuilderName.PRODUCTION:
                builder.workernames = [NAME]
    return config


class RemoteWorker:
    """The worker of a sandbox. Keep it as long as the worker should live."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._folder = sandbox.folder / "worker"
        self._in_use = sandbox.folder / "worker-in-use"
        self._port = free_port()
        self._child: subprocess.Popen[bytes] | None = None

    def allow(self) -> None:
        """Let the master read this module's configuration from its next start on."""
        folder = self._sandbox.master
        configuration_file = folder / "with-worker.cfg"
        configuration_file.write_text(CONFIGURATION.format(root=str(ROOT), in_use=str(self._in_use)))
        (folder / "buildbot.tac").write_text((SAMPLES / "buildbot.tac").read_text().format(
            basedir=str(folder.resolve()), config=str(configuration_file)))

    def start(self) -> None:
        """Start it; a master that reads its configuration from now on runs deployments on it."""
        self._in_use.write_text(str(self._port))
        if not self._folder.exists():
            self._create()
        with (self._sandbox.folder / "worker.log").open("a") as log:
            self._child = subprocess.Popen(
                [PROGRAMS / "twistd", "--nodaemon", "--pidfile=", "--logfile=-", "--python=buildbot.tac"],
                cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=without_postgres_variables(),
                start_new_session=True)
        self._sandbox.register.add(NAME, self._child.pid)

    def await_attached(self, web: Web) -> None:
        """Returns when the master has it. Raises WebError."""
        deadline = time.monotonic() + ATTACHED_SECONDS
        while not any(each["connected_to"] for each in web.get("workers", name=NAME)["workers"]):
            if time.monotonic() > deadline:
                raise WebError(0, f"the worker has not connected within {ATTACHED_SECONDS:g} s")
            time.sleep(LOOK_SECONDS)

    def kill(self) -> None:
        """SIGKILL, as when its machine loses its power."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            self._sandbox.register.forget(NAME)

    def stop(self) -> bool:
        """End it, and let deployments run in the master again when that reads its configuration; False: as it was."""
        was_in_use = self._in_use.exists()
        self.kill()
        self._in_use.unlink(missing_ok=True)
        return was_in_use

    def _create(self) -> None:
        subprocess.run([PROGRAMS / "buildbot-worker", "create-worker", "--quiet", "--maxdelay=1", self._folder,
                        f"{LOOPBACK}:{self._port}", NAME, PASSWORD], check=True, capture_output=True,
                       env=without_postgres_variables())

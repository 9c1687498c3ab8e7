"""Two buildmasters on one state database: the second one's folder and settings, and the router between the two."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import yaml

from demo.buildmaster import Buildmaster
from demo.processes import Process, without_postgres_variables
from demo.sandbox import Sandbox
from demo.servers import LOOPBACK, free_port

SECOND = "buildmaster-2"
ROUTER = "router"
POLL_SECONDS = 5  # only one of them asks git, and the repository may knock at the other one
REALM = "buildbot"
START_SECONDS = 60.0  # 4 s on a quiet machine
LOOK_SECONDS = 0.1


class NoRouter(RuntimeError):
    """There is no crossbar on this machine; the message says how to get it."""


def crossbar() -> Path:
    """The program: what CROSSBAR names, or the one on PATH. Raises NoRouter."""
    found = os.environ.get("CROSSBAR") or shutil.which("crossbar")
    if not found:
        raise NoRouter("no crossbar on this machine (pip install crossbar, 380 MB, into an environment of its own; "
                       "CROSSBAR names the program)")
    return Path(found)


class Router:
    """A crossbar on loopback. Keep it as long as it should live."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"ws://{LOOPBACK}:{self.port}/ws"

    def start(self) -> None:
        """Start and return when it listens. Raises NoRouter."""
        program = crossbar()
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "config.json").write_text(json.dumps(_configuration(self.port)))
        with (self.folder / "log").open("ab") as log:
            self._child = subprocess.Popen(
                [program, "start", "--cbdir", self.folder, "--color", "false"], cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env=without_postgres_variables())
        deadline = time.monotonic() + START_SECONDS
        while not self._listens():
            if self._child.poll() is not None or time.monotonic() > deadline:
                raise NoRouter(f"crossbar did not start:\n{(self.folder / 'log').read_text()}")
            time.sleep(LOOK_SECONDS)

    def stop(self) -> None:
        """End it; its worker process ends with it."""
        child, self._child = self._child, None
        if child is not None:
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                Process.of(ROUTER, child.pid).end()
            child.wait()

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, self.port), timeout=1):
            return True
        return False


class SecondSeat(Sandbox):
    """The same world as another machine would see it that runs the second buildmaster."""

    @classmethod
    def beside(cls, first: Sandbox) -> Self:
        seat = cls(first.folder, first.servers, free_port())
        settings = yaml.safe_load(first.settings.read_text())
        settings["buildmaster"].update(url=seat.address, listen=f"tcp:{seat.port}:interface={LOOPBACK}")
        seat.settings.write_text(yaml.safe_dump(settings))
        seat._make_master()
        return seat

    @property
    def settings(self) -> Path:
        return self.folder / "settings-2.yaml"

    @property
    def master(self) -> Path:
        return self.folder / "master-2"


def join(sandbox: Sandbox, router: Router) -> None:
    """Let the settings of a sandbox say that its buildmaster is one of several."""
    settings = yaml.safe_load(sandbox.settings.read_text())
    settings["buildmaster"]["multi_master"] = {"router": router.address, "realm": REALM}
    settings["repository"]["poll_seconds"] = POLL_SECONDS
    sandbox.settings.write_text(yaml.safe_dump(settings))


def second_master(first: Sandbox) -> Buildmaster:
    """The second buildmaster, not started. Its settings are the first one's of now, but for its own address."""
    return Buildmaster(SecondSeat.beside(first), name=SECOND)


def _configuration(port: int) -> dict[str, Any]:
    """One realm in which everybody on this machine may talk; a site would ask for a ticket."""
    everything = {"uri": "", "match": "prefix",
                  "allow": {"call": True, "register": True, "publish": True, "subscribe": True}}
    return {"version": 2, "controller": {}, "workers": [{
        "type": "router",
        "realms": [{"name": REALM, "roles": [{"name": "anonymous", "permissions": [everything]}]}],
        "transports": [{"type": "websocket",
                        "endpoint": {"type": "tcp", "port": port, "interface": LOOPBACK}}]}]}

"""Keep a demo running: everything that `make up` starts outlives it, and `make down` ends it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from demo import application, history, story
from demo.buildmaster import NAME as BUILDMASTER
from demo.buildmaster import Buildmaster
from demo.companions import ROOT, client_arguments
from demo.processes import Register, without_postgres_variables
from demo.programme import table
from demo.sandbox import Sandbox, SandboxError
from demo.stage import CLIENTS, Stage, Tell
from demo.witnesses import AT_THE_STANDBY, BEHIND_THE_POOLER

CLIENTS_NAME = "clients"
FIRST_LOOK_SECONDS = 0.5  # a process that cannot start is dead by then

INVITATION = """\

The demo is up. Begin here:  {front_page}

  The page "Deployments" explains itself and shows how far seven patches have come.
  Sign in at its top right; the password of NAME is NAME-secret.

  approver     decides: approve {pending} on the page, and see it deployed
  architect    signs off what is over the limit: then {slow} can go
  operator     asks again for what was rejected, aborted or failed, and stops things
  developer    lands patches, and looks

Things to try:
  click on a patch: what staging measured, its SQL, its outage to scale, and who was kicked
  click on "Charts" and "Decisions"
  land a patch of your own in {repository} (branch devel, folder database/schema), after reverting
  the landing of {mixed}, which holds back whatever is behind it
  ask from a terminal:
    {python} -m downtime --settings {settings} status
  put the fragile script into a transaction, and out of it:
    echo begin > {pipe}
    echo commit > {pipe}

{around}
make down stops it all. All of it step by step: docs/deploying.md
"""


def up(folder: Path, tell: Tell) -> str:
    """Start everything and play a little history; what to try."""
    master = start(folder, tell, outlives_us=True)
    stage = Stage(master, tell)
    try:
        story.play(stage, history.CHAPTERS)
    finally:
        stage.close()
    tell("\n" + table(stage.attempts))
    keep_clients(master.sandbox)
    return invitation(master.sandbox)


def start(folder: Path, tell: Tell, *, outlives_us: bool = False) -> Buildmaster:
    """A running buildmaster in a sandbox of its own. Raises SandboxError, ServerError, MasterError."""
    tell("starting PostgreSQL servers, a PgBouncer, a git repository and a buildmaster …")
    sandbox = Sandbox.create(folder, outlives_us=outlives_us, surrounded=True)
    sandbox.record_baseline()
    for name, server in sandbox.servers.items():
        tell(f"  {name}: PostgreSQL {server.installation.release} on port {server.port}")
    for what, each in sandbox.surroundings.named.items():
        tell(f"  {what} on port {each.port}")
    master = Buildmaster(sandbox)
    master.create()
    master.start(outlives_us=outlives_us)
    tell(f"  buildmaster: {sandbox.address}")
    return master


def keep_clients(sandbox: Sandbox) -> list[subprocess.Popen[bytes]]:
    """Clients that stay; the fragile script obeys what is written into a pipe. Raises SandboxError."""
    application_dsn, around = sandbox.dsn(application.APPLICATION), sandbox.surroundings
    kept = [_keep(sandbox, CLIENTS_NAME, CLIENTS, fragile_pipe(sandbox), application_dsn,
                  sandbox.dsn(application.FRAGILE))]
    for name, numbers, dsn in (
            ("clients behind the pooler", BEHIND_THE_POOLER, around.pooled_dsn(application.APPLICATION)),
            ("readers at the standby", AT_THE_STANDBY, around.standby_dsn(application.APPLICATION))):
        if dsn is not None:
            kept.append(_keep(sandbox, name, numbers, sandbox.folder / name.replace(" ", "-"), dsn, dsn))
    return kept


def _keep(sandbox: Sandbox, name: str, numbers: dict[str, int], pipe: Path, dsn: str, fragile_dsn: str
          ) -> subprocess.Popen[bytes]:
    os.mkfifo(pipe, 0o600)
    both_ends = os.open(pipe, os.O_RDWR)  # a pipe that its reader may write to never ends
    try:
        with (sandbox.folder / "clients.log").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "demo.clients", *client_arguments(**numbers)], cwd=ROOT, stdin=both_ends,
                stdout=output, stderr=output, start_new_session=True,
                env=without_postgres_variables(CLIENTS_DSN=dsn, FRAGILE_DSN=fragile_dsn))
    finally:
        os.close(both_ends)
    sandbox.register.add(name, process.pid)
    time.sleep(FIRST_LOOK_SECONDS)
    if process.poll() is not None:
        raise SandboxError(f"the {name} did not start: {(sandbox.folder / 'clients.log').read_text()}")
    return process


def fragile_pipe(sandbox: Sandbox) -> Path:
    return sandbox.folder / "fragile-script"


def status(folder: Path) -> str:
    """What is running, as text. Raises SandboxError where there is no demo."""
    sandbox = Sandbox.open(folder)
    lines = [f"{name:<22} {'running' if each.running else 'not running'}, port {each.port}" for name, each in (
        *((f"PostgreSQL {name}", server) for name, server in sandbox.servers.items()),
        *sandbox.surroundings.named.items())]
    lines += [f"{name:<22} {'running' if process.alive else 'not running'}, process {process.pid}"
              for name, process in sandbox.register.all().items()]
    return "\n".join(lines) + invitation(sandbox)


def invitation(sandbox: Sandbox) -> str:
    """Where to begin, who can sign in, and what to try."""
    return INVITATION.format(
        front_page=sandbox.front_page, pending=history.PENDING, slow=history.SLOW, mixed=history.MIXED,
        python=sys.executable, repository=sandbox.repository.url, settings=sandbox.settings,
        pipe=fragile_pipe(sandbox), around=_around(sandbox))


def _around(sandbox: Sandbox) -> str:
    """Where the pooler and the standby are, for whoever wants to look on from there."""
    named = sandbox.surroundings.named
    if not named:
        return ""
    lines = [f"  {name} on port {each.port}" for name, each in named.items()]
    return "\n".join(["Around production, where clients see a downtime as a longer call and readers hardly at all:",
                      *lines, ""])


def refuse_if_up(folder: Path) -> None:
    """Raises SandboxError where a buildmaster of this folder is alive."""
    if Register(folder / "processes.json").find(BUILDMASTER) is not None:
        raise SandboxError(f"the demo is up already, at {Sandbox.open(folder).address}: make down stops it")

"""The demo's world in one folder: two PostgreSQL servers, a git repository, the settings, the buildmaster's folder.

    .demo/settings.yaml      what `--settings` and the buildmaster read
    .demo/secrets/, users    passwords of the databases; the demo's people
    .demo/git/app.git        the repository that developers push to
    .demo/staging, production  servers, or links to them where the server's user could not reach this folder
    .demo/pooler, standby  what stands around production, where it was asked for
    .demo/master             the buildmaster: its state, twistd.log
    .demo/processes.json     what to end when it is taken down

Everything listens on loopback, on free ports.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import yaml
from psycopg2 import sql as composed

from demo import application
from demo.gitrepo import Repository
from demo.installations import Installation, ServerError, installations
from demo.processes import Register, without_postgres_variables
from demo.servers import Server, free_port
from demo.surroundings import POOLER, STANDBY, Surroundings
from downtime import install
from downtime.target import Target
from master.people import add_user

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".demo"
SAMPLES = ROOT / "demo" / "samples"
SCHEMA = "database/schema"
DATABASE = "app"
ENVIRONMENTS = ("staging", "production")
PEOPLE = ("developer", "operator", "approver", "architect")
MARK = "made-by-the-demo"  # a file in every folder that is ours to remove
EVENTS = {"staging": 20_000, "production": 20_000}  # rows: enough that a rewrite takes a moment
USUAL_VERSION = 16       # of the servers where several are at hand
COMMAND_SECONDS = 60

# rows that came over the years; production has one that staging has not
EVENT_ROWS = """
INSERT INTO event (account, happened_at, what)
SELECT 1 + i % 10, now() - i * interval '1 minute', 'booking number ' || i FROM generate_series(1, {rows}) AS i
"""
OVERDRAWN = "UPDATE account SET balance = -50 WHERE name = 'account 10'"


class SandboxError(RuntimeError):
    """The sandbox could not be made or is not there; the message says what to do."""


class Sandbox:
    """One demo world. Make it with `Sandbox.create`, find it again with `Sandbox.open`."""

    def __init__(self, folder: Path, servers: dict[str, Server], port: int) -> None:
        self.folder = folder
        self.servers = servers
        self.port = port
        self.register = Register(folder / "processes.json")
        self.surroundings = Surroundings.open(folder, database=DATABASE)
        self.repository = Repository(folder / "git")

    @classmethod
    def create(cls, folder: Path = FOLDER, *, outlives_us: bool = False, surrounded: bool = False) -> Self:
        """Make it anew and start its servers; what a killed run left is removed. Raises SandboxError, ServerError.

        `surrounded`: with a pooler before production and a standby beside it.
        """
        clear(folder)
        take(folder)
        folder.chmod(0o711)  # the server's user must get through; what is secret below is 0600
        installation = chosen_installation()
        servers = {name: Server.create(folder / name, installation) for name in ENVIRONMENTS}
        sandbox = cls(folder, servers, free_port())
        (folder / "port").write_text(str(sandbox.port))
        for name, server in servers.items():
            server.start(outlives_us=outlives_us)
            sandbox._fill(name)
        if surrounded:
            sandbox.surroundings = Surroundings.create(folder, servers["production"], database=DATABASE,
                                                       outlives_us=outlives_us)
        sandbox._write_settings()
        sandbox._make_repository()
        sandbox._make_master()
        return sandbox

    @classmethod
    def open(cls, folder: Path = FOLDER) -> Self:
        """The sandbox in this folder. Raises SandboxError where there is none."""
        try:
            port = int((folder / "port").read_text())
            return cls(folder, {name: Server.open(folder / name) for name in ENVIRONMENTS}, port)
        except (OSError, ValueError, ServerError) as error:
            raise SandboxError(f"there is no demo in {folder}: make up starts one") from error

    def record_baseline(self) -> None:
        """What a DBA does once with a database that is older than its ledger."""
        last = sorted(path.stem for path in (SAMPLES / "baseline").glob("*.sql"))[-1]
        for name in ENVIRONMENTS:
            done = self.downtime("baseline", last, "--environment", name, "--yes")
            if done.returncode != 0:
                raise SandboxError(f"python -m downtime baseline {last} on {name} failed:\n{done.stderr}{done.stdout}")

    @property
    def settings(self) -> Path:
        return self.folder / "settings.yaml"

    @property
    def master(self) -> Path:
        """The buildmaster's base folder."""
        return self.folder / "master"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def front_page(self) -> str:
        """The address to begin at: the page "Deployments", inside Buildbot's own."""
        return f"{self.address}#/deployments"

    @property
    def passwords(self) -> dict[str, str]:
        """The demo's people and their passwords. No secret: it all listens on loopback and lives for a demo."""
        return {name: application.password_of(name) for name in PEOPLE}

    def target(self, user: str, environment: str = "production") -> Target:
        """Where a role connects."""
        return Target(dsn=self.servers[environment].dsn(user=user, database=DATABASE),
                      password=application.password_of(user))

    def dsn(self, user: str, environment: str = "production") -> str:
        """A connection string with the password in it: for a child's environment, never for a command line."""
        return self.servers[environment].dsn(user=user, database=DATABASE, password=application.password_of(user))

    def downtime(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m downtime` against this sandbox."""
        process = self.start_downtime(*arguments)
        output, said = process.communicate(timeout=COMMAND_SECONDS)
        return subprocess.CompletedProcess(process.args, process.returncode, output, said)

    def start_downtime(self, *arguments: str) -> subprocess.Popen[str]:
        """The same, running still."""
        return subprocess.Popen([sys.executable, "-m", "downtime", "--settings", str(self.settings), *arguments],
                                cwd=ROOT, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, env=without_postgres_variables())

    def take_down(self) -> list[str]:
        """End every process and remove everything; says what was ended."""
        return clear(self.folder)

    def _fill(self, name: str) -> None:
        """Roles, database, tables and rows, and what a DBA installs."""
        server = self.servers[name]
        server.admin_sql(application.ROLES)
        server.admin_sql(composed.SQL("CREATE DATABASE {} OWNER {}").format(
            composed.Identifier(DATABASE), composed.Identifier(application.PATCHER)))
        server.admin_sql(application.TABLES, database=DATABASE)
        events = (SAMPLES / "baseline" / "patch-2211-01-0.sql").read_text()
        server.admin_sql(f"SET ROLE {application.PATCHER};\n{events}GRANT SELECT ON event TO {application.APPLICATION}",
                         database=DATABASE)
        server.admin_sql(EVENT_ROWS.format(rows=EVENTS[name]), database=DATABASE)
        if name == "production":
            server.admin_sql(OVERDRAWN, database=DATABASE)
        server.admin_sql(install.script(DATABASE, application.PATCHER, "hold"), database=DATABASE)

    def _write_settings(self) -> None:
        secrets = self.folder / "secrets"
        secrets.mkdir(mode=0o700)
        for name in ENVIRONMENTS:
            (secrets / name).touch(mode=0o600)
            (secrets / name).write_text(application.password_of(application.PATCHER) + "\n")
        self.surroundings.write_secrets(secrets)
        around = self.surroundings.settings
        for name, password in self.passwords.items():
            add_user(self.folder / "users", name, f"{name}@example.org", password)
        self.settings.write_text((SAMPLES / "settings.yaml").read_text().format(
            repository=self.repository.url, fragile=application.FRAGILE, spared=application.SPARED,
            address=self.address, port=self.port,
            surroundings=textwrap.indent(yaml.safe_dump(around), "    ") if around else "",
            **{name: self.target(application.PATCHER, name).dsn for name in ENVIRONMENTS}))

    def _make_repository(self) -> None:
        self.repository = Repository.create(self.folder / "git")
        self.repository.land({"README.md": "The sample application.\n"}, "the beginning")
        for path in sorted((SAMPLES / "baseline").glob("*.sql")):
            self.repository.land({f"{SCHEMA}/{path.name}": path.read_text()}, path.read_text().splitlines()[0][3:])
        self.repository.tell(f"{self.address}change_hook/poller")

    def _make_master(self) -> None:
        self.master.mkdir(mode=0o700)
        tac = (SAMPLES / "buildbot.tac").read_text()
        (self.master / "buildbot.tac").write_text(tac.format(basedir=str(self.master.resolve()),
                                                             config=str(ROOT / "master.cfg")))


def chosen_installation() -> Installation:
    """PostgreSQL 16 where several are at hand, else the oldest. Raises ServerError where there is none."""
    found = installations()
    return next((each for each in found if each.version == USUAL_VERSION), found[0])


def refuse_what_is_not_ours(folder: Path) -> None:
    """Never remove a folder that no sandbox made. Raises SandboxError."""
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise SandboxError(f"{folder} holds something that is no demo: choose another folder, or remove it yourself")


def take(folder: Path) -> None:
    """Make the folder where there is none, and mark it as ours. Raises SandboxError."""
    refuse_what_is_not_ours(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()


def clear(folder: Path) -> list[str]:
    """End and remove whatever a sandbox in this folder consists of, also half a one; says what was ended.

    Raises SandboxError, and removes nothing, where no sandbox made the folder.
    """
    refuse_what_is_not_ours(folder)
    return list(_clear(folder)) if folder.exists() else []


def _clear(folder: Path) -> Iterator[str]:
    register = Register(folder / "processes.json")
    for process in reversed(list(register.all().values())):
        if process.alive:
            ended = process.end()
            yield f"{process.name} (process {process.pid}){'' if ended else ', killed: it did not end by itself'}"
    yield from Surroundings.open(folder, database=DATABASE).destroy()
    for name in ENVIRONMENTS:
        with contextlib.suppress(ServerError):
            server = Server.open(folder / name)
            if server.running:
                yield f"PostgreSQL {name} (port {server.port})"
            server.destroy()
    for name in (*ENVIRONMENTS, POOLER, STANDBY):  # a run that was killed while one was being made
        if (folder / name).is_symlink():
            shutil.rmtree((folder / name).resolve(), ignore_errors=True)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != MARK:
            path.unlink()
    shutil.rmtree(folder, ignore_errors=True)  # the mark goes last: a run killed in the middle can be cleared again

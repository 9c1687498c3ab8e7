"""The place where faults happen: a sandbox whose production is reached through a proxy, put right after each of them.

The patches of `sample` are rehearsed once; whatever a fault has left of one is taken back before the next fault.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psycopg2
import yaml

from demo import application, web
from demo.buildmaster import Buildmaster
from demo.faults import around
from demo.faults.people import ANSWER_SECONDS, People
from demo.faults.remote_worker import RemoteWorker
from demo.faults.sample import (
    COLUMN,
    FIRST_IS_DONE,
    LIVE_COLUMN,
    LIVE_PATCH,
    PACE,
    PATCH,
    PATCHES,
    TAKE_BACK,
    State,
)
from demo.proxy import Proxy
from demo.sandbox import DATABASE, SCHEMA, Sandbox
from demo.servers import LOOPBACK, Server
from demo.stage import Tell
from steps.shared.names import BuilderName

LIMIT_SECONDS = 8        # of an outage here: a statement that never ends is waited for
DRAIN_SECONDS = 20       # a client in a transaction holds a deployment behind its closed gate
OPEN_SECONDS = 30.0      # to wait for an open door before the fault counts as lost
REREAD, KEPT = "configuration update complete", "configuration update aborted"  # the buildmaster's log about SIGHUP
IS_SHUT = "is not currently accepting connections"  # said by a server that is up, of a database that is shut


@dataclass(slots=True)
class World(People):
    """Make it with `World.create`; `put_right()` after each fault, `close()` at the end. Blocking."""

    master: Buildmaster
    proxy: Proxy
    gate: str
    tell: Tell
    remote_worker: RemoteWorker = field(init=False)  # deployments run on it instead of in the master, once started
    obstacle: Any = field(default=None, init=False)  # a client whose transaction holds a deployment behind its gate
    _clients: list[Any] = field(default_factory=list, init=False)
    _frozen: set[int] = field(default_factory=set, init=False)
    _onlooker: Any = field(default=None, init=False)
    _usual_settings: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self.remote_worker = RemoteWorker(self.sandbox)

    @classmethod
    def create(cls, folder: Path, *, gate: str, tell: Tell, surrounded: bool = False) -> Self:
        """Start everything with this gate and rehearse the patches; `surrounded` by a pooler and a standby."""
        sandbox = Sandbox.create(folder, surrounded=surrounded)
        sandbox.record_baseline()
        proxy = Proxy(LOOPBACK, sandbox.servers["production"].port)
        world = cls(sandbox, Buildmaster(sandbox), proxy, gate, tell)
        try:
            for server in sandbox.servers.values():
                server.admin_sql(PACE, database=DATABASE)
            world.write_settings(gate=gate)
            world._usual_settings = sandbox.settings.read_text()
            world.remote_worker.allow()
            world.master.create()
            world.master.start()
            world._rehearse()
        except BaseException:
            world.close()
            raise
        return world

    @property
    def production(self) -> Server:
        return self.sandbox.servers["production"]

    @property
    def quiesced(self) -> Path:
        """A line for every time the background task was stopped or resumed."""
        return self.sandbox.folder / "background-task"

    @property
    def hold_quiescing(self) -> Path:
        """While this file is there, quiescing does not come to its end."""
        return self.sandbox.folder / "hold-quiescing"

    def write_settings(self, **production: Any) -> None:
        """Write the settings file anew; takes effect with the next start, or with `reconfigure`."""
        settings = yaml.safe_load(self.sandbox.settings.read_text())
        task = str(self.quiesced)
        settings["budget"] = {"target_seconds": 1, "limit_seconds": 2, "outage_limit_seconds": LIMIT_SECONDS}
        settings["environments"]["production"].update({
            "database": f"postgresql://{application.PATCHER}@{LOOPBACK}:{self.proxy.port}/{DATABASE}",
            "drain_seconds": DRAIN_SECONDS,
            "quiesce": {"lead_minutes": 0, "tasks": [{"name": "import", "command": {
                "stop": f"echo stopped >> '{task}'; while [ -e '{self.hold_quiescing}' ]; do sleep 0.02; done",
                "resume": f"echo resumed >> '{task}'"}}]},
            **production})
        self.sandbox.settings.write_text(yaml.safe_dump(settings))

    def keep_settings(self) -> None:
        """What the settings file says now is usual from here on: `put_right` leaves it."""
        self._usual_settings = self.sandbox.settings.read_text()

    def reconfigure(self) -> None:
        """SIGHUP: read the settings again. Not waited for."""
        if (process := self.master.process) is not None:
            process.signal(signal.SIGHUP)

    def reread(self) -> bool:
        """The same, waited for; whether the new settings have taken effect, or the old ones were kept."""
        before = [self.times_logged(words) for words in (REREAD, KEPT)]
        self.reconfigure()

        def look() -> bool | None:
            if self.master.process is None:
                return True  # the next start will read them
            now = [self.times_logged(words) for words in (REREAD, KEPT)]
            return None if now == before else now[1] == before[1]
        return web.wait(look, ANSWER_SECONDS, "the buildmaster to read its settings")

    def times_logged(self, words: str) -> int:
        """How often the buildmaster's log has these words."""
        return self.master.log.read_text(errors="replace").count(words)

    def strike_master(self, number: signal.Signals = signal.SIGKILL) -> float:
        """Send the master a signal; the instant (monotonic), before anything else takes its time."""
        process = self.master.process
        assert process is not None, "put_right() has started it"
        since = time.monotonic()
        process.signal(number)
        return since

    def end_master(self) -> bool:
        """Let a master end that perhaps was told to already; False where it had to be killed."""
        process = self.master.process
        ended = process is None or process.end()
        self.master.kill()  # its remains
        return ended

    def restart_master(self) -> None:
        """Start it again after its death."""
        self.master.kill()  # its remains
        self.master.start()

    def close(self) -> None:
        self._let_go()
        self.remote_worker.kill()
        self.master.kill()  # told to end it would wait 5 s for builds that wait for somebody
        self.proxy.close()
        self.sandbox.take_down()

    # -- what clients see --------------------------------------------------------------------------------------------

    def connect(self, user: str = application.APPLICATION, *, superuser: bool = False) -> Any:
        """A client of production, past the proxy, in autocommit; ended by `put_right`. Raises psycopg2.Error."""
        dsn = self.production.superuser_dsn(DATABASE) if superuser else self.sandbox.dsn(user)
        connection = psycopg2.connect(dsn, connect_timeout=10)
        connection.autocommit = True
        self._clients.append(connection)
        return connection

    def seconds_until_open(self, since: float) -> float:
        """Seconds from `since` (monotonic) until a new client gets in. Raises AssertionError after OPEN_SECONDS.

        With gate "hold" the client waits inside; with "refuse" it is refused and tries again at once.
        """
        deadline = since + OPEN_SECONDS
        while time.monotonic() < deadline:
            try:
                psycopg2.connect(self.sandbox.dsn(application.APPLICATION), connect_timeout=10).close()
            except psycopg2.OperationalError:
                time.sleep(0.002)
                continue
            return time.monotonic() - since
        raise AssertionError(f"production is still shut {OPEN_SECONDS:g} s after the fault")

    def seconds_shut_once_up(self) -> float:
        """For a server that starts: seconds from its first answer as a running one until a new client gets in."""
        deadline = time.monotonic() + OPEN_SECONDS
        up = None
        while (tried := time.monotonic()) < deadline:
            try:
                psycopg2.connect(self.sandbox.dsn(application.APPLICATION), connect_timeout=10).close()
            except psycopg2.OperationalError as error:
                if up is None and IS_SHUT in str(error):
                    up = time.monotonic()
                time.sleep(0.002)
                continue
            return time.monotonic() - (up or tried)
        raise AssertionError(f"production is still shut {OPEN_SECONDS:g} s after the start of its server")

    def state(self, patch: str = PATCH, *, on: Server | None = None) -> State:
        """How a patch stands in production, or on another server that has its database."""
        table, column = ("upload", LIVE_COLUMN) if patch == LIVE_PATCH else ("account", COLUMN)
        ((has_column, recorded, journalled),) = (on or self.production).admin_sql(
            "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = %s::regclass AND attname = %s"
            " AND NOT attisdropped), EXISTS (SELECT FROM fastdowntime.ledger WHERE id = %s),"
            " EXISTS (SELECT FROM fastdowntime.live_journal WHERE id = %s)", (table, column, patch, patch),
            database=DATABASE)
        return State(column=has_column, recorded=recorded, journalled=journalled)

    # -- what holds a deployment -------------------------------------------------------------------------------------

    def skip_first_patch(self) -> None:
        """As if the cold patch had been there before the ledger."""
        self.production.admin_sql(FIRST_IS_DONE, database=DATABASE)

    def set_pace(self, seconds: float) -> None:
        """How long the patches sleep in production."""
        self.production.admin_sql("UPDATE pace SET seconds = %s", (seconds,), database=DATABASE)

    def watch(self) -> None:
        """Open the session of `onlooker_sees`: before a gate closes, as a user nobody kicks."""
        self._onlooker = self.connect(application.SPARED)

    def onlooker_sees(self, question: str) -> bool:
        """The answer to an SQL question, without a new connection."""
        with self._onlooker.cursor() as cursor:
            cursor.execute(question)
            return bool(cursor.fetchone()[0])

    def freeze(self, backend_pid: int) -> None:
        """Stop a backend process: it does not die when it is told to. `thaw` or `put_right` lets it go on."""
        os.kill(backend_pid, signal.SIGSTOP)
        self._frozen.add(backend_pid)

    def thaw(self) -> None:
        """Let everything frozen go on."""
        for pid in self._frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._frozen.clear()

    # -- order -------------------------------------------------------------------------------------------------------

    def put_right(self) -> None:
        """As it was before the fault: everything runs, nothing waits, the patch is taken back."""
        self._let_go()
        if not self.production.running:
            self.production.start()
        around.start(self.sandbox.surroundings)
        if self.master.process is None:
            self.master.start()
        self.stop_builds()
        if self.remote_worker.stop() or self.sandbox.settings.read_text() != self._usual_settings:
            self.sandbox.settings.write_text(self._usual_settings)
            self.reread()
        self.production.admin_sql(TAKE_BACK, database=DATABASE)
        self.quiesced.unlink(missing_ok=True)
        around.put_right(self.sandbox.surroundings, self.production)

    def _let_go(self) -> None:
        self.thaw()
        self.hold_quiescing.unlink(missing_ok=True)
        for client in self._clients:
            client.close()
        self._clients.clear()
        self._onlooker = None
        self.proxy.restore()
        self.proxy.lead_to(self.production.port)

    def _rehearse(self) -> None:
        files = {f"{SCHEMA}/{name}.sql": text for name, text in PATCHES.items()}
        for path, text in files.items():
            self.sandbox.repository.land({path: text}, f"{Path(path).stem}: for the faults", "developer")

        def offered() -> bool | None:
            operator = self.as_("operator")
            ended = [build for builder in (BuilderName.PRODUCTION, BuilderName.LIVE)
                     for build in operator.builds(builder)]
            return True if len(ended) == len(PATCHES) else None
        web.wait(offered, 2 * ANSWER_SECONDS, "the patches to be rehearsed and offered")
        self.stop_builds()

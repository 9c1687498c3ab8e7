"""A sandbox with its state on a third PostgreSQL server, and two buildmasters with a router between them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from demo import application, web
from demo.buildmaster import Buildmaster
from demo.installations import ServerError, installations
from demo.sandbox import DATABASE, Sandbox
from demo.second_master import NoRouter, Router, crossbar, join, second_master
from demo.servers import Server
from demo.stage import WAITING_SECONDS, Stage
from demo.state_server import ROLE, StateServer
from demo.web import Build
from tests.end_to_end import leaks

CLOSED = {"cron": ["0 0 29 2 *"], "minutes": 1}  # unless the tests run on a leap day at midnight
TAKEN_OVER_SECONDS = 20.0


class TwoMasters:
    """Both are running; `first` leads to begin with. Make it with `started`."""

    def __init__(self, sandbox: Sandbox, state: StateServer, router: Router) -> None:
        self.state = state
        self.router = router
        self.notices = sandbox.folder / "notices"
        self._set(sandbox)
        router.start()
        join(sandbox, router)
        masters = (Buildmaster(sandbox), second_master(sandbox))
        for master in masters:
            master.create()
            master.start()
        self.first, self.second = (Stage(master, print) for master in masters)
        for stage in (self.first, self.second):
            stage.rest()

    @property
    def _production(self) -> Server:
        return self.first.sandbox.servers["production"]

    def leader(self) -> Stage:
        return self.first if self._leads(self.first) else self.second

    def leads(self, stage: Stage, seconds: float = TAKEN_OVER_SECONDS) -> None:
        """Wait until it does."""
        web.wait(lambda: self._leads(stage) or None, seconds, "the other buildmaster to lead")

    def page(self, stage: Stage, patch: str, says: str) -> str | None:
        """The page of one patch, when it says so."""
        text = stage.as_("developer").text(f"plugins/wsgi_dashboards/deployments/deployment?patch={patch}")
        return text if says in text else None

    def noticed(self) -> list[str]:
        """The patches of which it was told that the database is open again."""
        web.wait(lambda: self.notices.exists() or None, WAITING_SECONDS, "a notice")
        return [json.loads(line)["patch"] for line in self.notices.read_text().splitlines() if line]

    def put_to_sleep(self) -> None:
        """Give production the row over which a patch falls asleep."""
        self._production.admin_sql("INSERT INTO account (name, balance) VALUES ('slow', 0)", database=DATABASE)

    def wake(self) -> None:
        self._production.admin_sql("DELETE FROM account WHERE name = 'slow'", database=DATABASE)

    def tasks_rest(self) -> bool:
        """Whether there is the file by which the settings stop one of them."""
        return (self.first.sandbox.folder / "uploads-rest").exists()

    def last_build(self, stage: Stage, build: Build) -> Build | None:
        """The last one of the same request, when it has ended and is another."""
        latest = stage.as_("operator").build_of(build.builder, self.request_of(stage, build), WAITING_SECONDS)
        return latest if latest.id != build.id and latest.complete else None

    def has_ended(self, stage: Stage) -> None:
        """Wait until a master has ended by itself."""
        web.wait(lambda: stage.master.process is None or None, WAITING_SECONDS, "the buildmaster to end")
        stage.master.kill()  # its remains

    def request_of(self, stage: Stage, build: Build) -> int:
        (found,) = stage.as_("operator").get(f"builds/{build.id}")["builds"]
        return int(found["buildrequestid"])

    def later_build(self, stage: Stage, build: Build, says: str) -> Build:
        """The build of the same request that another master has made, when one of its steps says so."""
        request = self.request_of(stage, build)

        def look() -> Build | None:
            latest = stage.as_("operator").build_of(build.builder, request, WAITING_SECONDS)
            return latest if latest.id != build.id and is_at(stage, latest, says) else None
        return web.wait(look, WAITING_SECONDS, f"the request to be built again, and to say {says}")

    def close(self) -> None:
        for stage in (self.first, self.second):
            stage.close()
            stage.master.stop()

    def _leads(self, stage: Stage) -> bool:
        """As the state database has it; a master that runs no more does not."""
        found = self.state.rows("SELECT s.value_json, m.name FROM object_state s JOIN objects o ON o.id = s.objectid"
                                " JOIN masters m ON m.id = s.value_json::int"
                                " WHERE o.name = 'fastdowntime-leadership' AND s.name = 'leader'")
        return (stage.master.process is not None
                and any(str(name).endswith(f":{stage.sandbox.master.resolve()}") for _, name in found))

    def _set(self, sandbox: Sandbox) -> None:
        settings = yaml.safe_load(sandbox.settings.read_text())
        settings["environments"]["production"]["windows"] = CLOSED
        settings["notices"] = {"commands": [{
            "command": f"cat >> {self.notices}; echo >> {self.notices}", "kinds": ["reopened"]}]}
        sandbox.settings.write_text(yaml.safe_dump(settings))


@contextmanager
def started(folder: Path) -> Iterator[TwoMasters]:
    """Skips the test where there is no PostgreSQL or no router."""
    try:
        installations()
        crossbar()
    except (ServerError, NoRouter) as error:
        pytest.skip(str(error))
    sandbox = Sandbox.create(folder)
    state, router = StateServer.create(sandbox), Router(folder / "router")
    state.use(sandbox)
    try:
        sandbox.record_baseline()
        both = TwoMasters(sandbox, state, router)
        try:
            yield both
            leaking = leaks.among(
                [*leaks.passwords(sandbox), application.password_of(ROLE), state.server.superuser_password],
                [*leaks.files(sandbox), *leaks.files(both.second.sandbox), *leaks.command_lines()])
        finally:
            both.close()
    finally:
        router.stop()
        state.destroy()
        sandbox.take_down()
    assert leaking == [], f"a password shows in {leaking}"


def has_kicked(stage: Stage, build: Build) -> bool:
    """Whether nothing but the patch itself is still to come before the database opens."""
    return any(step.name == "kick connections" and step.complete for step in stage.as_("operator").steps(build))


def is_at(stage: Stage, build: Build, says: str) -> bool:
    return any(step.state.startswith(says) for step in stage.as_("operator").steps(build))

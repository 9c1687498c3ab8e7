"""A master in this process with real databases and a real repository, and what people do with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from buildbot.test.util.integration import RunMasterBase
from twisted.internet import reactor, task

from demo import application
from demo.gitrepo import Repository
from demo.servers import Server
from downtime.settings import load
from master.assembly import extend
from master.schedulers import POLLER
from steps.shared.names import FORCED_BY, BuilderName, ServiceName
from tests.databases import Database, MakeDatabase
from tests.master.settings_for_tests import PEOPLE, user, write_settings

PATIENCE_SECONDS = 60.0  # for a machine that is busy with other tests
LOOK_SECONDS = 0.05
PATCH = "database/schema/patch-1.sql"


class ARunbook(RunMasterBase):
    """Pushes, asks and decides as people do, below the web pages' sign-in."""

    timeout = 120

    @pytest.fixture(autouse=True)
    def _give_databases(self, server: Server, make_database: MakeDatabase, tmp_path: Path) -> None:
        # gate "refuse" closes one database: staging and production may be on the same server
        self.staging: Database = make_database(server, gate="refuse")
        self.production: Database = make_database(server, gate="refuse")
        self.folder = tmp_path

    async def start(self, *, quiesce: dict[str, Any] | None = None, windows: dict[str, Any] | None = None,
                    fleet: dict[str, Any] | None = None, **sections: Any) -> None:
        (self.folder / "secret").write_text(application.password_of(application.PATCHER))
        (self.folder / "secret").chmod(0o600)
        self.repository = Repository.create(self.folder / "git")
        self.repository.land({"README": "the application"}, "begin")
        environments: dict[str, dict[str, Any]] = {
            name: {"database": database.target.dsn, "password_file": "secret", "gate": "refuse"}
            for name, database in (("staging", self.staging), ("production", self.production))}
        if quiesce is not None:
            environments["production"]["quiesce"] = quiesce
        if fleet is not None:
            environments["production"]["fleet"] = fleet
        if windows is not None:
            environments["production"]["windows"] = windows
        settings = load(write_settings(self.folder, **{
            "repository": {"url": self.repository.url, "poll_seconds": 3600}, "environments": environments,
            "users": {"fragile": [application.FRAGILE]}, "landing": {"code": ["**/*.py"]},
            "people": PEOPLE, **sections}), {})
        config = extend({}, settings)
        config.pop("db", None)
        await self.setup_master(config, startWorker=False)
        await self.poll()

    async def land(self, **files: str) -> None:
        self.repository.land({path.replace("__", "/").replace("_dot_", "."): text for path, text in files.items()},
                             "a landing")
        await self.poll()

    async def poll(self) -> None:
        (poller,) = [source for source in self.master.change_svc if source.name == POLLER]
        await poller.poll()

    async def force(self, builder: BuilderName, who: str, **fields: Any) -> dict[str, Any]:
        """Press the builder's button; the build when it has ended, of a deployment when it waits or has ended."""
        self.master.service_manager.namedServices[ServiceName.VISITORS].note(user(who))
        _, requests = await self.master.data.control(
            "force", {"owner": f"{who}@example.org", **fields}, ("forceschedulers", FORCED_BY[builder]))
        (request_id,) = requests.values()

        async def look() -> dict[str, Any] | None:
            builds = await self.master.data.get(("buildrequests", request_id, "builds"))
            return builds[0] if builds and (builds[0]["complete"] or self.waits(builds[0])) else None

        return await self.until(look, f"a build of {builder}")

    async def decide(self, build: dict[str, Any], who: str = "approver", decision: str = "approve",
                     reason: str = "") -> dict[str, Any]:
        request = self.master.service_manager.namedServices[ServiceName.APPROVALS].waiting(build["buildid"])
        return await self.force(BuilderName.APPROVE, who, build=str(build["buildid"]), digest=request.digest,
                                decision=decision, reason=reason)

    def waits(self, build: dict[str, Any]) -> bool:
        approvals = self.master.service_manager.namedServices[ServiceName.APPROVALS]
        return approvals.waiting(build["buildid"]) is not None

    async def latest(self, builder: BuilderName, ready: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        builder_id = await self.master.data.updates.findBuilderId(builder.value)

        async def look() -> dict[str, Any] | None:
            builds = await self.master.data.get(("builders", builder_id, "builds"))
            return next((build for build in reversed(builds) if ready(build)), None)

        return await self.until(look, f"a build of {builder}")

    async def ended(self, build: dict[str, Any]) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            found = await self.master.data.get(("builds", build["buildid"]))
            return found if found["complete"] else None

        return await self.until(look, "the build to end")

    async def until(self, look: Callable[[], Any], what: str) -> dict[str, Any]:
        deadline = reactor.seconds() + PATIENCE_SECONDS  # type: ignore[attr-defined]
        while (found := await look()) is None:
            self.assertLess(reactor.seconds(), deadline, f"waited in vain for {what}")  # type: ignore[attr-defined]
            await task.deferLater(reactor, LOOK_SECONDS, lambda: None)
        return dict(found)

    async def summaries(self, build: dict[str, Any]) -> dict[str, str]:
        """What each visible step of a build says."""
        steps = await self.master.data.get(("builds", build["buildid"], "steps"))
        return {step["name"]: step["state_string"] for step in steps if not step["hidden"]}

    def columns(self, database: Database) -> set[str]:
        return {name for (name,) in database.admin_sql(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'account'::regclass AND attnum > 0")}

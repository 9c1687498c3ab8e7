"""What waves save: a patch of about a second on N databases of one real server, one after another and five at a time.

`python -m bench.fleet [N]` makes a server of its own, deploys to it twice with gate "refuse", prints the figures in
Markdown and removes it. N is 50 unless given; allow a second and a half for each database.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from time import monotonic
from typing import Any

from psycopg2 import sql
from twisted.internet import task

from demo import application
from demo.installations import installations
from demo.servers import Server
from downtime import install, patches, statements
from downtime.apply import Deployment
from downtime.fleet.matrix import Matrix
from downtime.fleet.member import Errand, MemberDeployment
from downtime.fleet.rollout import Rollout
from downtime.ledger import Origin
from downtime.patches import Inventory, Lane
from downtime.settings import Settings

MANY = 50
AT_ONCE = 5
GOAL = 1 / AT_ONCE * 1.2  # a fifth plus 20 %
FILES = {name: b"-- apply: cold\nALTER TABLE account ADD COLUMN %s int;\nSELECT pg_sleep(1);\n" % column
         for name, column in (("db/patch-1.sql", b"alone"), ("db/patch-2.sql", b"together"))}


def databases(server: Server, count: int) -> list[str]:
    """So many installed databases."""
    server.admin_sql(application.ROLES)
    names = [f"tenant_{number}" for number in range(1, count + 1)]
    for name in names:
        server.admin_sql(sql.SQL("CREATE DATABASE {} OWNER patcher").format(sql.Identifier(name)))
        server.admin_sql(application.TABLES, database=name)
        server.admin_sql(install.script(name, application.PATCHER, "refuse"), database=name)
    return names


def settings_of(server: Server, names: list[str]) -> Settings:
    """All of them as one environment."""
    canary, *others = [server.dsn(user=application.PATCHER, database=name,
                                  password=application.password_of(application.PATCHER)) for name in names]
    fleet = {"databases": [{"name": name, "database": dsn} for name, dsn in zip(names[1:], others, strict=True)]}
    return Settings.model_validate({
        "repository": {"url": "file:///nowhere"}, "patches": {"directory": "db"},
        "environments": {"staging": {"database": "postgresql://nobody@localhost:1/nowhere"},
                         "production": {"database": canary, "gate": "refuse", "fleet": fleet}}})


async def deploy(settings: Settings, inventory: Inventory, number: int, *, at_once: int, reactor: Any
                 ) -> tuple[float, Matrix]:
    """The wall time of one patch through all of them, in seconds, and what became of each."""
    patch = inventory.patches[number]
    errand = Errand(deployment=Deployment(patch=patch, statements=statements.examine(patch), origin=Origin()),
                    inventory=inventory, settings=settings, reactor=reactor)
    members = settings.environment("production").members()
    rollout = Rollout(members, lambda member: MemberDeployment(member, errand, say=lambda line: None),
                      at_once=at_once, lane=Lane.COLD, known={})
    began = monotonic()
    matrix = await rollout.run()
    return monotonic() - began, matrix


async def measure(server: Server, count: int, reactor: Any) -> str:
    """Both, one behind the other; Markdown."""
    settings = settings_of(server, databases(server, count))
    inventory = patches.inventory(FILES, settings.patches, not_schema=(), commit="c" * 40)
    alone, first = await deploy(settings, inventory, 0, at_once=1, reactor=reactor)
    waves, second = await deploy(settings, inventory, 1, at_once=AT_ONCE, reactor=reactor)
    ratio = waves / alone
    return "\n".join([
        "| databases | at a time | wall time, s | longest outage, s | have the patch |", "|---:|---:|---:|---:|---:|",
        _row(first, 1, alone), _row(second, AT_ONCE, waves), "",
        f"{AT_ONCE} at a time take {ratio:.3f} of one after another (goal: at most {GOAL:.3f},"
        f" {'met' if ratio <= GOAL else 'missed'})."])


def _row(matrix: Matrix, at_once: int, seconds: float) -> str:
    has = sum(row.result.has_patch for row in matrix.rows)
    return f"| {len(matrix.rows)} | {at_once} | {seconds:.2f} | {matrix.longest_outage_seconds:.3f} | {has} |"


async def run(reactor: Any, count: str) -> None:
    """Measure on a server of its own and print."""
    with tempfile.TemporaryDirectory(prefix="fleet-cost-") as folder:
        Path(folder).chmod(0o755)  # the server runs as a user of its own
        server = Server.create(Path(folder) / "server", installations()[0], settings={"max_connections": "200"})
        server.start()
        try:
            print(await measure(server, int(count), reactor))
        finally:
            server.destroy()


if __name__ == "__main__":
    task.react(run, sys.argv[1:] or [str(MANY)])

"""The demo's sandbox: it is complete, it can be made twice in a row, and it removes nothing that is not its own."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from demo import pictures, upkeep
from demo.application import APPLICATION
from demo.companions import ROOT
from demo.sandbox import DATABASE, Sandbox, SandboxError, clear
from demo.servers import Server
from downtime.settings import load
from master.people import read_users
from master.web import DASHBOARDS, DEPLOYMENTS


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Iterator[Sandbox]:
    made = Sandbox.create(tmp_path_factory.mktemp("sandbox") / "demo", surrounded=True)
    yield made
    made.take_down()


def test_its_settings_are_good_and_nothing_in_them_is_to_be_mended(sandbox: Sandbox) -> None:
    """A newcomer's first settings file should be a model."""
    settings = load(sandbox.settings)

    assert settings.warnings == ()
    assert settings.environment("production").target.server.endswith(str(sandbox.servers["production"].port))


def test_the_standby_follows_and_the_pooler_leads_to_production(sandbox: Sandbox) -> None:
    """Whoever looks at a deployment from there sees production, and what becomes of it."""
    around = sandbox.surroundings
    assert around.standby is not None
    around.standby.await_replay_of(sandbox.servers["production"])
    dsns = [dsn for dsn in (around.pooled_dsn(APPLICATION), around.standby_dsn(APPLICATION)) if dsn is not None]
    seen = [_asked(dsn, "SELECT count(*), pg_is_in_recovery() FROM account") for dsn in dsns]

    assert seen == [(10, False), (10, True)][-len(dsns):]
    assert around.settings["replicas"]["serve_reads"] is True
    assert [pooler["databases"] for pooler in around.settings.get("poolers", [])] == [[DATABASE]] * (len(dsns) - 1)


def _asked(dsn: str, question: str) -> tuple[Any, ...]:
    with contextlib.closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(question)
        return tuple(cursor.fetchone())


def test_its_people_can_sign_in(sandbox: Sandbox) -> None:
    """With the passwords that the demo prints."""
    users = read_users(sandbox.folder / "users")

    assert all(users.check(name, password) for name, password in sandbox.passwords.items())
    assert not users.check("operator", "approver-secret")


def test_the_baseline_is_recorded_on_both_servers(sandbox: Sandbox) -> None:
    """What the databases had before is in their ledgers, and nothing is pending."""
    sandbox.record_baseline()
    plan = sandbox.downtime("plan", "--environment", "production")
    recorded = [server.admin_sql("SELECT id, lane FROM fastdowntime.ledger ORDER BY id", database=DATABASE)
                for server in sandbox.servers.values()]

    assert plan.returncode == 0, plan.stderr
    assert recorded[0] == recorded[1] == [("patch-2211-00-0", "baseline"), ("patch-2211-01-0", "baseline")]


def test_the_address_to_begin_at_is_that_of_the_pages(sandbox: Sandbox) -> None:
    """It is told before anything else, and where the buildmaster has the pages; then who may sign in."""
    said = upkeep.invitation(sandbox)
    addresses = re.findall(r"http\S+", said)

    assert addresses[0] == sandbox.front_page == f"{sandbox.address}#/{DEPLOYMENTS}"
    assert f"plugins/{DASHBOARDS}/{DEPLOYMENTS}/" == pictures.ALONE
    assert [name for name in sandbox.passwords if f"\n  {name} " not in said] == []


def test_another_process_finds_it(sandbox: Sandbox) -> None:
    """`make down` and `status` know it by its folder alone."""
    found = Sandbox.open(sandbox.folder)

    assert found.address == sandbox.address
    assert found.servers["staging"].running
    assert list(found.surroundings.named) == list(sandbox.surroundings.named)
    assert all(each.running for each in found.surroundings.named.values())


def test_what_is_not_a_demo_is_never_removed(tmp_path: Path) -> None:
    """A mistyped folder costs nobody their files."""
    (tmp_path / "thesis.tex").write_text("the only copy")
    (tmp_path / "production").mkdir()
    with pytest.raises(SandboxError, match="no demo"):
        Sandbox.create(tmp_path)
    done = [subprocess.run([sys.executable, "-m", "demo", "--folder", tmp_path, command], cwd=ROOT, check=False,
                           capture_output=True).returncode for command in ("story", "up", "down")]

    assert done == [1, 1, 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["production", "thesis.tex"]


def test_where_there_is_no_demo_the_way_to_one_is_named(tmp_path: Path) -> None:
    """`status` before `up`."""
    with pytest.raises(SandboxError, match="make up"):
        Sandbox.open(tmp_path)


def test_down_where_nothing_runs_is_fine(tmp_path: Path) -> None:
    """`make down` can always be said."""
    done = subprocess.run([sys.executable, "-m", "demo", "--folder", tmp_path / "demo", "down"], cwd=ROOT,
                          capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "nothing was running\n")


def test_a_killed_run_is_cleared_by_the_next_one(sandbox: Sandbox, tmp_path: Path) -> None:
    """Servers that outlived their maker are ended, and their folders are gone."""
    script = ("import sys; from pathlib import Path; from demo.sandbox import Sandbox;"
              "Sandbox.create(Path(sys.argv[1]), outlives_us=True, surrounded=True); import os; os._exit(9)")
    subprocess.run([sys.executable, "-c", script, tmp_path / "demo"], cwd=ROOT, check=False)
    found = Sandbox.open(tmp_path / "demo")
    left = [*found.servers.values(), *found.surroundings.named.values()]
    running = [each.running for each in left]
    ended = clear(tmp_path / "demo")

    assert len(left) >= 3
    assert all(running)
    assert len(ended) == len(left)
    assert not any(each.running or each.folder.exists() for each in left)
    assert not (tmp_path / "demo").exists()


def test_kept_clients_obey_a_pipe(sandbox: Sandbox) -> None:
    """Somebody at a terminal puts the fragile script into a transaction with `echo`."""
    process, *others = upkeep.keep_clients(sandbox)
    known = sandbox.register.find(upkeep.CLIENTS_NAME)
    try:
        with upkeep.fragile_pipe(sandbox).open("w") as pipe:
            pipe.write("begin\n")
        said = _first_line(sandbox.folder / "clients.log")
    finally:
        for each in (process, *others):
            each.terminate()
            each.wait()

    assert known is not None
    assert known.pid == process.pid
    assert [sandbox.register.all()[each].pid for each in ("clients behind the pooler", "readers at the standby")
            if each in sandbox.register.all()] == [each.pid for each in others]
    assert '"fragile_in_transaction": true' in said


def _first_line(path: Path) -> str:
    deadline = time.monotonic() + 10
    while not (text := path.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return text


def test_the_servers_want_the_password(sandbox: Sandbox) -> None:
    """Other people on the machine stay out."""
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(sandbox.target("app").dsn, password="guessed")

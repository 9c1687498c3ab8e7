"""The throw-away pooler: it starts, dies, comes back, and never outlives who started it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest

from demo import application
from demo.installations import ServerError
from demo.pgbouncer import OBSERVER, PgBouncer
from tests.databases import Database
from tests.demo.test_servers import _comes_true
from tests.poolers import MakePooler, leads_to


@pytest.fixture
def pooler(make_pooler: MakePooler, database: Database) -> PgBouncer:
    return make_pooler({"app": database})


def _answer(pooler: PgBouncer, name: str = "app") -> object:
    connection = psycopg2.connect(pooler.dsn(user="app", database=name))
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        return cursor.fetchone()


def test_clients_reach_the_database_behind_it(pooler: PgBouncer, database: Database) -> None:
    """Under the name that the pooler gives it."""
    assert _answer(pooler) == (database.name,)


@pytest.mark.parametrize("method", ["plain", "scram-sha-256"])
@pytest.mark.parametrize("name", ["app", "pgbouncer"])
def test_everybody_needs_a_password(make_pooler: MakePooler, database: Database, method: str, name: str) -> None:
    """Other people on the machine get neither to the database nor to the console."""
    pooler = make_pooler({"app": database}, auth_type=method)
    with pytest.raises(psycopg2.OperationalError, match="authentication failed"):
        psycopg2.connect(pooler.console_dsn(), dbname=name, password="guessed")

    assert _answer(pooler) == (database.name,)


def test_an_observer_looks_and_changes_nothing(pooler: PgBouncer) -> None:
    """As `stats_users` of a real one do."""
    connection = psycopg2.connect(pooler.console_dsn(OBSERVER), password=pooler.password_of(OBSERVER))
    connection.autocommit = True
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SHOW POOLS")
        with pytest.raises(psycopg2.Error, match="admin access needed"):
            cursor.execute("PAUSE app")


def test_killed_it_starts_again_on_its_port(pooler: PgBouncer, database: Database) -> None:
    """A crash loses nothing but connections."""
    before = pooler.port
    pooler.kill()
    running_after_kill = pooler.running
    pooler.start()

    assert (running_after_kill, pooler.port, _answer(pooler)) == (False, before, (database.name,))


def test_it_is_paused_until_it_is_restarted(pooler: PgBouncer) -> None:
    """A reload keeps what the console was told; a restart does not."""
    seen = []
    pooler.admin("PAUSE app")
    for change in (pooler.reload, pooler.restart):
        change()
        seen.append([row["paused"] for row in pooler.admin("SHOW DATABASES") if row["name"] == "app"])

    assert seen == [[1], [0]]


def test_what_is_configured_anew_counts_after_a_reload(pooler: PgBouncer, database: Database) -> None:
    """Names can be added while clients are connected."""
    pooler.configure({"app": leads_to(database), "second": leads_to(database)}, settings={"auth_type": "plain"})
    pooler.reload()

    assert _answer(pooler, "second") == (database.name,)


def test_another_process_finds_a_pooler_by_its_folder(pooler: PgBouncer) -> None:
    """`make down` stops what `make up` started."""
    found = PgBouncer.open(pooler.folder)
    pid = found.pid
    found.stop()

    assert (pid is not None, pooler.running) == (True, False)


def test_it_ends_with_a_process_that_is_killed(pooler: PgBouncer) -> None:
    """Even SIGKILL for whoever started a pooler leaves none behind."""
    pooler.stop()
    script = f"""
import os
from pathlib import Path
from demo.pgbouncer import PgBouncer
PgBouncer.open(Path({str(pooler.folder)!r})).start()
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False)

    assert (done.returncode, _comes_true(lambda: not pooler.running)) == (-9, True)


def test_one_that_outlives_us_outlives_us(pooler: PgBouncer, database: Database) -> None:
    """`make up` returns and leaves its pooler running."""
    pooler.stop()
    script = f"""
from pathlib import Path
from demo.pgbouncer import PgBouncer
PgBouncer.open(Path({str(pooler.folder)!r})).start(outlives_us=True)
"""
    subprocess.run([sys.executable, "-c", script], check=True)

    assert _answer(pooler) == (database.name,)


def test_one_that_cannot_start_shows_its_log(pooler: PgBouncer) -> None:
    """The reason is in the message, not in a file somebody has to find."""
    pooler.stop()
    pooler.configure({}, settings={"pool_mode": "plenty"})
    with pytest.raises(ServerError, match="plenty"):
        pooler.start()


@pytest.fixture
def private_home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return home


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's poolers run as another user")
def test_a_folder_below_a_private_home_is_linked(private_home: Path, pooler: PgBouncer, database: Database) -> None:
    """Run as root in a private folder, it lives where its user can reach it and leaves no trace."""
    hidden = PgBouncer.create(private_home / "pooler", {"app": leads_to(database)},
                              passwords={"app": application.password_of("app")})
    hidden.start()
    answer, real = _answer(hidden), hidden.folder
    hidden.destroy()

    assert answer == (database.name,)
    assert not real.exists()
    assert not (private_home / "pooler").is_symlink()

"""The throw-away servers: they start, die, come back, and never outlive who started them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest

from demo.installations import Installation, ServerError, installations
from demo.servers import Server, free_port


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Iterator[Server]:
    """A server to be killed: not the one the session shares."""
    mine = Server.create(tmp_path_factory.mktemp("own") / "server", server.installation)
    mine.start()
    yield mine
    mine.destroy()


def _comes_true(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Wait for another process: no Clock reaches it."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_every_postgresql_at_hand_runs(each_server: Server) -> None:
    """Programs, libraries and shared files of each installation fit together, as an unprivileged user."""
    (version,), = each_server.admin_sql("SHOW server_version_num")

    assert int(version) // 10000 == each_server.installation.version


def test_it_listens_on_loopback_only_and_wants_a_password(server: Server) -> None:
    """Nobody else on the network or the machine gets in."""
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(server.dsn(user="postgres", database="postgres", password="guessed"))

    assert server.admin_sql("SHOW listen_addresses") == [("127.0.0.1",)]


def test_a_killed_server_starts_again_with_what_was_committed(own_server: Server) -> None:
    """A power cut loses the processes, not the data."""
    own_server.admin_sql("CREATE TABLE kept AS SELECT 1 AS one")
    own_server.kill()
    running_after_kill = own_server.running
    own_server.start()

    assert not running_after_kill
    assert own_server.admin_sql("SELECT one FROM kept") == [(1,)]


def test_it_keeps_its_port_across_restarts(own_server: Server) -> None:
    """Clients find it where it was."""
    before = own_server.port
    own_server.restart()

    assert own_server.admin_sql("SHOW port") == [(str(before),)]


def test_another_process_finds_a_server_by_its_folder(own_server: Server) -> None:
    """`make down` stops what `make up` started."""
    found = Server.open(own_server.folder)

    assert (found.running, found.pid, found.admin_sql("SELECT 1")) == (True, own_server.pid, [(1,)])


def test_it_ends_with_a_process_that_is_killed(own_server: Server) -> None:
    """Even SIGKILL for whoever started a server leaves no server behind."""
    own_server.stop()
    script = f"""
import os, sys
from pathlib import Path
from demo.servers import Server
Server.open(Path({str(own_server.folder)!r})).start()
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False)
    stopped = _comes_true(lambda: not own_server.running)
    own_server.start()

    assert (done.returncode, stopped) == (-9, True)


def test_a_server_that_outlives_us_outlives_us(own_server: Server) -> None:
    """`make up` returns and leaves its servers running."""
    own_server.stop()
    script = f"""
from pathlib import Path
from demo.servers import Server
Server.open(Path({str(own_server.folder)!r})).start(outlives_us=True)
"""
    subprocess.run([sys.executable, "-c", script], check=True)

    assert own_server.admin_sql("SELECT 1") == [(1,)]


def test_a_server_that_cannot_start_shows_its_log(own_server: Server) -> None:
    """The reason is in the message, not in a file somebody has to find."""
    own_server.stop()
    configuration = own_server.data / "postgresql.conf"
    sound = configuration.read_text()
    configuration.write_text(sound + "shared_buffers = 'plenty'\n")
    try:
        with pytest.raises(ServerError, match='invalid value for parameter "shared_buffers"'):
            own_server.start()
    finally:
        configuration.write_text(sound)
        own_server.start()


def test_a_folder_in_use_is_not_overwritten(own_server: Server) -> None:
    """Creating a server where there is one already is refused with what to do."""
    with pytest.raises(ServerError, match=r"exists already: remove it, or open the server in it"):
        Server.create(own_server.folder, own_server.installation)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's servers run as another user")
def test_a_folder_below_a_private_home_is_linked(tmp_path: Path, server: Server) -> None:
    """Run as root in a private folder, the server lives where its user can reach it and leaves no trace."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    hidden = Server.create(home / "server", server.installation)
    real = hidden.folder
    linked = (home / "server").is_symlink()
    hidden.destroy()

    assert linked
    assert not real.exists()
    assert not (home / "server").is_symlink()


def test_postgres_bin_names_the_only_installations(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever names a PostgreSQL gets that one and no other."""
    monkeypatch.setenv("POSTGRES_BIN", str(server.installation.bin))

    assert installations() == [server.installation]


def test_a_postgres_bin_without_a_server_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of client programs is named, with what must be in it."""
    monkeypatch.setenv("POSTGRES_BIN", str(tmp_path))

    with pytest.raises(ServerError, match="name the folder that has postgres, initdb and pg_ctl"):
        installations()


def test_a_free_port_cannot_be_given_to_an_outgoing_connection() -> None:
    """A client that retries at once must never be connected to itself."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])

    assert free_port() < lowest


def test_an_installation_names_its_release() -> None:
    """A failure's header shows which PostgreSQL it was."""
    installation = Installation(version=16, release="16.14", bin=Path("/somewhere/bin"))

    assert str(installation) == "PostgreSQL 16.14 (/somewhere/bin)"

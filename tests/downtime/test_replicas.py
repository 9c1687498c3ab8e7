"""Hot standbys beside an outage, on real ones: looked at, kicked, paused, and brought up to date."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

import pytest

from demo.installations import give_away, unprivileged
from demo.processes import without_postgres_variables
from demo.servers import SUPERUSER, Server
from downtime import errors
from downtime.flushing import flush
from downtime.node import Node
from downtime.preflight import PreflightRefused
from downtime.sessions import FragileUsersActive
from tests.builders import a_deployment, a_node, pause, until
from tests.downtime.replicas import beside, has_patch, reading, replicate_as
from tests.standbys import MakeStandby, Replicated

ALTERED = a_deployment(sql="ALTER TABLE account ADD COLUMN added int; CREATE TABLE added (id int);")
LOCKED = ("SELECT count(*) FROM pg_locks WHERE relation = 'pg_db_role_setting'::regclass"
          " AND mode = 'AccessExclusiveLock'")


# -- before the outage ------------------------------------------------------------------------------------------------


async def test_standbys_that_keep_up_are_named(each_replicated: Replicated) -> None:
    """The log of a deployment says who was beside it, and that nobody was overlooked."""
    async with beside(each_replicated) as outage:
        assert [line.split(":")[0] for line in outage.found] == ["standby 127.0.0.1"] * 2
        assert all("follows on timeline 1" in line for line in outage.found)


async def test_a_standby_that_the_settings_do_not_list_is_a_warning(replicated: Replicated) -> None:
    """Its clients wait too, and nobody kicks there."""
    one = Replicated(database=replicated.database, standbys=replicated.standbys[:1])
    async with beside(one) as outage:
        assert [line for line in outage.found if "“standby1”" in line and "not listed" in line] == [outage.found[-1]]


async def test_backups_and_archives_are_no_standbys(replicated: Replicated) -> None:
    """The real pg_receivewal: it receives the WAL and replays nothing."""
    with archiving(replicated.primary):
        await until(lambda: replicated.primary.admin_sql(
            "SELECT 1 FROM pg_stat_replication WHERE application_name = 'pg_receivewal'"), "an archive")
        async with beside(replicated) as outage:
            assert outage.found[-1] == "no standbys but backups, archives or subscribers: pg_receivewal"


async def test_every_reason_is_said_at_once(replicated: Replicated, server: Server, make_standby: MakeStandby) -> None:
    """A primary, a paused standby, one that is too late, and one that is down: the operator mends them in one go."""
    late, down = make_standby(replicated.primary, recovery_min_apply_delay="1h"), make_standby(replicated.primary)
    down.stop()
    paused = replicated.standbys[0]
    paused.admin_sql("SELECT pg_wal_replay_pause()")
    listed = replicate_as(replicated, paused, late, down, replicated.primary)
    try:
        reasons = await refusal(listed, lag_seconds=0.5)
    finally:
        paused.admin_sql("SELECT pg_wal_replay_resume()")

    for server_, reason in ((paused, "replay is paused on the standby"), (late, "recovery_min_apply_delay is 1h there"),
                            (down, "cannot connect"), (replicated.primary, "is no standby, it takes writes")):
        assert [f":{server_.port}/" in each for each in reasons if reason in each] == [True], reason


async def test_a_standby_of_another_server_is_refused(replicated: Replicated, server: Server, make_standby: MakeStandby
                                                      ) -> None:
    """A wrong line in the settings must not look like a standby that is up to date."""
    server.admin_sql(f"CREATE DATABASE {replicated.database.name} OWNER patcher")
    try:
        (reason,) = await refusal(replicate_as(replicated, make_standby(server)), lag_seconds=0.5)
    finally:
        server.admin_sql(f"DROP DATABASE {replicated.database.name} WITH (FORCE)")

    assert "is a standby of another server" in reason


async def test_a_fragile_user_at_work_on_a_standby_is_a_reason(replicated: Replicated) -> None:
    """Its transaction there would be cut as on the primary; with serve_reads it goes on."""
    with reading(replicated, replicated.standbys[1], user="process_upload"):
        (reason,) = await refusal(replicated)
        async with beside(replicated, serve_reads=True):
            pass

    assert "fragile user is in the middle of a transaction on the standby" in reason


async def test_serve_reads_is_refused_where_a_commit_waits_for_replay(replicated: Replicated) -> None:
    """With remote_apply the patch's own COMMIT would wait for the standby whose replay is paused."""
    with settings_of(replicated.primary, synchronous_standby_names="standby0", synchronous_commit="remote_apply"):
        await follower_is_synchronous(replicated.primary)
        (reason,) = await refusal(replicated, serve_reads=True)

    assert "synchronous_commit is remote_apply" in reason


# -- in the outage, where standbys share it ---------------------------------------------------------------------------


async def test_the_gate_closes_and_opens_on_standbys_at_once(each_replicated: Replicated) -> None:
    """Nothing else is written, so without a flush the lock would stay in the primary's memory."""
    async with beside(each_replicated) as outage:
        watchers = [await a_node(target) for target in each_replicated.targets]
        async with outage.called_off():
            for watcher in watchers:
                await until_true(watcher, LOCKED)
        await outage.replicas.let_replay()
        for watcher in watchers:
            await until_true(watcher, LOCKED.replace("count(*)", "count(*) = 0"))
            watcher.close()


async def test_an_absent_synchronous_standby_holds_nothing_up(replicated: Replicated) -> None:
    """What is flushed for the standbys' sake does not wait for one of them."""
    with settings_of(replicated.primary, synchronous_standby_names="absent"):
        node = await a_node(replicated.database.target)
        await flush(node)
        node.close()


async def test_sessions_on_standbys_are_kicked(each_replicated: Replicated) -> None:
    """Idle ones, and one that by having read the roles keeps the gate from closing there."""
    first, second = each_replicated.standbys
    async with beside(each_replicated) as outage:
        with reading(each_replicated, first, "SELECT count(*) FROM pg_roles"), idle_on(each_replicated, second):
            async with outage.closed():
                assert len(await outage.replicas.check()) == 2
                await outage.kick()
                assert {label.split("/")[0] for label, _ in outage.replicas.kicked} \
                    == {f"127.0.0.1:{first.port}", f"127.0.0.1:{second.port}"}
                for target in each_replicated.targets:
                    with pytest.raises(errors.DeadlineExceeded):
                        await a_node(target, connect_seconds=0.3)


async def test_with_policy_transactions_idle_sessions_on_standbys_stay(replicated: Replicated) -> None:
    """As on the primary: only what is in a transaction is ended."""
    first, second = replicated.standbys
    async with beside(replicated) as outage:
        with reading(replicated, first), idle_on(replicated, second):
            async with outage.closed():
                await outage.kick(kick_all=False)

    assert [f":{first.port}/" in label for label, _ in outage.replicas.kicked] == [True]


async def test_a_fragile_user_on_a_standby_ends_the_outage(replicated: Replicated) -> None:
    """Whether it is there at the check or begins between check and kick; nobody is kicked for nothing."""
    async with beside(replicated) as outage:
        with reading(replicated, replicated.standbys[1], user="process_upload"):
            with pytest.raises(FragileUsersActive, match=f"on the standby .*:{replicated.standbys[1].port}/.*process"):
                await outage.replicas.check()
            with pytest.raises(FragileUsersActive, match=f"on the standby .*:{replicated.standbys[1].port}/.*process"):
                await outage.kick()


async def test_a_transaction_on_a_standby_does_not_hold_up_the_patch_there(each_replicated: Replicated) -> None:
    """Replay would be stalled for half a minute; its session is ended, as those on the primary were."""
    first, second = each_replicated.standbys
    async with beside(each_replicated) as outage:
        with reading(each_replicated, first):
            async with outage.closed():
                await outage.apply(ALTERED)
                await outage.replicas.refuse_failover()
            caught = await outage.replicas.catch_up(outage.control, ALTERED.patch)

    assert (caught.behind, caught.error) == ((), None)
    assert [session.user for label, session in outage.replicas.kicked if f":{first.port}/" in label] == ["app"]
    assert [has_patch(each_replicated, each) for each in (first, second)] == [(True, True)] * 2


# -- what they share --------------------------------------------------------------------------------------------------


async def refusal(replicated: Replicated, **settings: object) -> tuple[str, ...]:
    """The reasons why an outage would not begin."""
    with pytest.raises(PreflightRefused) as refused:
        async with beside(replicated, **settings):
            pass
    return refused.value.reasons


async def until_true(node: Node, statement: str) -> None:
    """Until a statement on a session that is there already gives something true."""
    for _ in range(1000):
        if (await node.execute(statement)).scalar:
            return
        await pause()
    raise AssertionError(f"never: {statement}")


@contextlib.contextmanager
def idle_on(replicated: Replicated, standby: Server) -> Iterator[None]:
    with contextlib.closing(replicated.reader(standby)):
        yield


@contextlib.contextmanager
def settings_of(server: Server, **settings: str) -> Iterator[None]:
    """Settings of a shared server, for a moment."""
    for name, value in settings.items():
        server.admin_sql(f"ALTER SYSTEM SET {name} = '{value}'")
    server.admin_sql("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        for name in settings:
            server.admin_sql(f"ALTER SYSTEM RESET {name}")
        server.admin_sql("SELECT pg_reload_conf()")


async def follower_is_synchronous(primary: Server) -> None:
    await until(lambda: primary.admin_sql("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"),
                "a synchronous standby")


@contextlib.contextmanager
def archiving(primary: Server) -> Iterator[None]:
    """The program that many backups are made with."""
    folder = primary.folder / "archive"
    folder.mkdir(exist_ok=True)
    give_away(folder)
    receiver = subprocess.Popen(
        [primary.installation.bin / "pg_receivewal", "-D", folder, "-h", "127.0.0.1", "-p", str(primary.port), "-U",
         SUPERUSER], **unprivileged(), env=without_postgres_variables(PGPASSWORD=primary.superuser_password),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        receiver.kill()
        receiver.wait()

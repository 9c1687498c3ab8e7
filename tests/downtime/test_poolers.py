"""All poolers of a database on real PgBouncers: paused together or not at all, resumed whatever has become of them."""

from __future__ import annotations

from collections.abc import Callable

import psycopg2
import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from demo import application
from demo.pgbouncer import OBSERVER, PgBouncer
from downtime import errors
from downtime.one_pooler import CannotPause
from downtime.poolers import Poolers, PoolersRefuse
from downtime.settings.cluster import SessionPools
from tests.builders import pause as for_a_moment
from tests.builders import until
from tests.databases import Database
from tests.poolers import (
    Callers,
    MakePooler,
    console_of,
    leads_to,
    login_retry,
    paused,
    setting,
    settings_of,
    waiting,
)


def poolers_of(database: Database, *each: PgBouncer, **more: object) -> Poolers:
    return Poolers([settings_of(one, **more) for one in each], database.target, reactor)


async def test_hundreds_of_clients_wait_and_see_no_error(
        pooler: PgBouncer, database: Database, callers: Callable[..., Callers]) -> None:
    """The longest call is the pause and a moment more; nobody has a server connection meanwhile."""
    clients = callers(pooler.dsn(user="app", database=database.name), 500, rest_seconds=0.5)
    await until(lambda: clients.calls > 1500, "all clients work, and the pool has as many connections as it needs")
    poolers = poolers_of(database, pooler)
    await poolers.prepare()
    await poolers.pause()
    sessions = database.admin_sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'")
    await until(lambda: waiting(pooler) > 300, "most clients want something")
    calls = clients.calls
    await poolers.resume()
    await until(lambda: clients.calls > calls + 500, "all clients go on")
    poolers.close()

    assert (sessions, clients.errors, paused(pooler)) == ([(0,)], [], set())
    assert login_retry(pooler) == "15"


async def test_a_pool_that_keeps_a_minimum_of_connections_throws_nobody_out(
        make_pooler: MakePooler, database: Database, callers: Callable[..., Callers]) -> None:
    """It begins logins while it is paused, which are cut; clients that asked as it went on were thrown out."""
    pooler = make_pooler({database.name: database}, min_pool_size="3")
    clients = callers(pooler.dsn(user="app", database=database.name), 400, rest_seconds=1.0)
    await until(lambda: clients.calls > 500, "all clients work")
    poolers = poolers_of(database, pooler)
    await poolers.prepare()
    await poolers.pause()
    meanwhile = setting(pooler, "min_pool_size")
    await for_a_moment(0.7)  # the pooler looks after its pools every 0.33 s
    calls = clients.calls
    await poolers.resume()
    await until(lambda: clients.calls > calls + 400, "all clients go on")
    poolers.close()

    assert (clients.errors, meanwhile, setting(pooler, "min_pool_size")) == ([], "0", "3")


async def test_a_minimum_that_cannot_be_lowered_is_told(make_pooler: MakePooler, database: Database) -> None:
    """One of an entry of pgbouncer.ini: an operator learns before the outage what it may cost."""
    pooler = make_pooler({}, more={database.name: leads_to(database, min_pool_size="3")})
    poolers = poolers_of(database, pooler)
    lines = await poolers.prepare()
    poolers.close()

    assert [line for line in lines if f'"{database.name}" has a min_pool_size of its own' in line]


async def test_an_open_transaction_refuses_the_deployment_by_name(pooler: PgBouncer, database: Database) -> None:
    """The operator learns who was in the way; everybody behind the pooler goes on, that one too."""
    busy = psycopg2.connect(pooler.dsn(user="app", database=database.name), application_name="importer")
    poolers = poolers_of(database, pooler, pause_seconds=0.3)
    with busy.cursor() as cursor:
        cursor.execute("SELECT 1")
        await poolers.prepare()
        with pytest.raises(CannotPause, match=r"app from 127\.0\.0\.1:\d+ \(application \"importer\"\)") as refused:
            await poolers.pause()
        cursor.execute("SELECT 2")
    busy.close()
    poolers.close()

    assert (paused(pooler), refused.value.left) == (set(), errors.Left.REOPENED)


async def test_a_transaction_that_ends_in_time_is_waited_for(pooler: PgBouncer, database: Database) -> None:
    """Nobody's work is lost to a pause."""
    busy = psycopg2.connect(pooler.dsn(user="app", database=database.name))
    with busy.cursor() as cursor:
        cursor.execute("INSERT INTO upload (path) VALUES ('saved')")
    poolers = poolers_of(database, pooler)
    await poolers.prepare()
    pausing = Deferred.fromCoroutine(poolers.pause())
    await until(lambda: paused(pooler), "PAUSE has taken hold")
    before = pausing.called
    busy.commit()
    await pausing
    await poolers.resume()
    poolers.close()
    busy.close()

    assert not before
    assert database.admin_sql("SELECT path FROM upload") == [("saved",)]


async def test_if_one_pooler_cannot_be_paused_all_go_on_at_once(
        make_pooler: MakePooler, database: Database) -> None:
    """Clients of the others do not wait for a deployment that does not come."""
    one, other = make_pooler({database.name: database}), make_pooler({database.name: database})
    poolers = poolers_of(database, one, other, pause_seconds=60)
    await poolers.prepare()
    busy = psycopg2.connect(one.dsn(user="app", database=database.name))
    busy.cursor().execute("SELECT 1")
    other.admin("PAUSE")  # as a whole: it refuses ours
    with pytest.raises(CannotPause, match=f":{other.port}"):
        await poolers.pause()
    busy.cursor().execute("SELECT 2")
    busy.close()
    poolers.close()

    assert paused(one) == set()


async def test_pausing_can_be_given_up(pooler: PgBouncer, database: Database) -> None:
    """Stop does not wait for somebody's transaction."""
    busy = psycopg2.connect(pooler.dsn(user="app", database=database.name))
    busy.cursor().execute("SELECT 1")
    poolers = poolers_of(database, pooler, pause_seconds=60)
    await poolers.prepare()
    pausing = Deferred.fromCoroutine(poolers.pause())
    await until(lambda: paused(pooler), "PAUSE has taken hold")
    poolers.give_up()
    with pytest.raises(errors.DowntimeError, match="given up"):
        await pausing
    busy.close()
    poolers.close()

    assert paused(pooler) == set()


@pytest.mark.parametrize("what", ["reload", "restart"])
async def test_a_pooler_reloaded_or_restarted_while_paused_goes_on(
        pooler: PgBouncer, database: Database, callers: Callable[..., Callers], what: str) -> None:
    """Somebody's configuration management does not know of our window."""
    clients = callers(pooler.dsn(user="app", database=database.name), 10)
    await until(lambda: clients.connected == 10, "all clients have connected")
    poolers = poolers_of(database, pooler)
    await poolers.prepare()
    await poolers.pause()
    getattr(pooler, what)()
    still = paused(pooler)
    lines = await poolers.resume()
    calls = clients.calls
    await until(lambda: clients.calls > calls + 20, "all clients go on")
    poolers.close()

    assert still == ({database.name} if what == "reload" else set())
    assert any("restarted" in line for line in lines) == (what == "restart")
    assert (paused(pooler), login_retry(pooler)) == (set(), "15")


async def test_a_pooler_that_is_away_is_waited_for(pooler: PgBouncer, database: Database) -> None:
    """It may be in the middle of its restart when the outage ends."""
    poolers = poolers_of(database, pooler)
    await poolers.prepare()
    await poolers.pause()
    pooler.kill()
    resuming = Deferred.fromCoroutine(poolers.resume())
    await for_a_moment(0.15)
    away = not resuming.called
    pooler.start()
    await resuming
    poolers.close()

    assert away


async def test_who_cannot_be_resumed_is_named_when_all_others_go_on(
        make_pooler: MakePooler, database: Database) -> None:
    """An operator gets the command to type; the clients of the other pooler have not waited for that."""
    one, other = make_pooler({database.name: database}), make_pooler({database.name: database})
    poolers = Poolers([settings_of(one), settings_of(other)], database.target, reactor, resume_seconds=0.3)
    await poolers.prepare()
    await poolers.pause()
    one.kill()
    with pytest.raises(errors.NeedsOperator) as stuck:
        await poolers.resume()
    went_on = paused(other) == set()
    one.start()
    await poolers.resume()
    poolers.close()

    assert went_on
    assert stuck.value.advice == f'on the console of each: 127.0.0.1:{one.port}/pgbouncer: RESUME "{database.name}";'


async def test_pools_in_session_mode_refuse_the_deployment(make_pooler: MakePooler, database: Database) -> None:
    """PAUSE would wait for clients that stay connected for days."""
    pooler = make_pooler({database.name: database}, pool_mode="session")
    with pytest.raises(PoolersRefuse, match="session_pools to end"):
        await poolers_of(database, pooler).prepare()

    assert paused(pooler) == set()


async def test_clients_of_session_pools_stay_until_they_are_kicked(
        make_pooler: MakePooler, database: Database, callers: Callable[..., Callers]) -> None:
    """New ones wait; those with a server connection keep it, so that the check of fragile users still counts."""
    pooler = make_pooler({database.name: database}, pool_mode="session")
    fragile = psycopg2.connect(pooler.dsn(user="process_upload", database=database.name))
    fragile.cursor().execute("SELECT 1")
    poolers = poolers_of(database, pooler, session_pools=SessionPools.END)
    await poolers.prepare()
    await poolers.pause()
    newcomers = callers(pooler.dsn(user="app", database=database.name), 3)
    await until(lambda: waiting(pooler) == 3, "the newcomers wait")
    fragile.cursor().execute("SELECT 2")
    database.admin_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'process_upload'")
    with pytest.raises(psycopg2.OperationalError):
        fragile.cursor().execute("SELECT 3")
    await poolers.resume()
    await until(lambda: newcomers.calls, "the newcomers go on")
    poolers.close()
    fragile.close()

    assert (newcomers.errors, [pause.ended for pause in poolers.pauses]) == ([], [True])


async def test_a_login_that_was_refused_before_does_not_keep_clients_waiting(
        pooler: PgBouncer, database: Database, callers: Callable[..., Callers]) -> None:
    """The pooler would try the next login at the server after 15 s: longer than this test waits."""
    server = database.server
    server.admin_sql(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false")
    with pytest.raises(psycopg2.OperationalError, match="not currently accepting"):
        psycopg2.connect(pooler.dsn(user="app", database=database.name))
    clients = callers(pooler.dsn(user="app", database=database.name), 3)
    poolers = poolers_of(database, pooler)
    await poolers.prepare()
    await poolers.pause()
    await until(lambda: waiting(pooler) == 3, "clients wait")
    server.admin_sql(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS true")
    await poolers.resume()
    await until(lambda: clients.calls, "clients are served", seconds=5)
    poolers.close()

    assert login_retry(pooler) == "15"


async def test_after_a_restart_in_the_window_nobody_waits_for_the_next_login(
        make_pooler: MakePooler, database: Database) -> None:
    """Restarted, it tried a login at a closed database; who comes later than that must not pay for it."""
    pooler = make_pooler({database.name: database}, server_login_retry="3")
    poolers = poolers_of(database, pooler)
    await poolers.prepare()
    await poolers.pause()
    pooler.restart()
    database.server.admin_sql(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false")
    with pytest.raises(psycopg2.OperationalError, match="not currently accepting"):
        psycopg2.connect(pooler.dsn(user="app", database=database.name))
    database.server.admin_sql(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS true")
    resuming = Deferred.fromCoroutine(poolers.resume())
    await until(lambda: login_retry(pooler) == "0.05", "the pooler tries again quickly")
    with psycopg2.connect(pooler.dsn(user="app", database=database.name)) as client:
        client.cursor().execute("SELECT 1")
    client.close()
    await resuming
    poolers.close()

    assert login_retry(pooler) == "3"


async def test_what_an_administrator_has_paused_is_not_ours_to_resume(pooler: PgBouncer, database: Database) -> None:
    """The deployment is refused, and the pooler stays as it is."""
    pooler.admin(f"PAUSE {database.name}")
    with pytest.raises(PoolersRefuse, match="paused already, and not by us"):
        await poolers_of(database, pooler).prepare()

    assert paused(pooler) == {database.name}


async def test_a_pooler_paused_as_a_whole_stays_so(pooler: PgBouncer, database: Database) -> None:
    """That shows only when we try to PAUSE; what we had not paused we do not resume."""
    poolers = poolers_of(database, pooler)
    await poolers.prepare()
    pooler.admin("PAUSE")
    with pytest.raises(CannotPause, match="already suspended/paused"):
        await poolers.pause()
    poolers.close()

    assert pooler.admin("RESUME") == []  # raises where nothing is paused


async def test_only_names_of_our_database_are_paused(
        make_pooler: MakePooler, database: Database, make_database: Callable[..., Database]) -> None:
    """Clients of another database on the same pooler do not notice; a second name of ours is held back, too."""
    other = make_database(database.server)
    pooler = make_pooler({database.name: database, "reports": database, other.name: other})
    poolers = poolers_of(database, pooler)
    await poolers.prepare()
    await poolers.pause()
    held = paused(pooler)
    with psycopg2.connect(pooler.dsn(user="app", database=other.name)) as client:
        client.cursor().execute("SELECT 1")
    client.close()
    await poolers.resume()
    poolers.close()

    assert held == {database.name, "reports"}


async def test_a_name_behind_the_wildcard_is_paused_before_anybody_has_used_it(
        make_pooler: MakePooler, database: Database) -> None:
    """The pooler does not list it yet; its first client waits as all do."""
    pooler = make_pooler({}, more={"*": f"host=127.0.0.1 port={database.server.port}"})
    poolers = poolers_of(database, pooler)
    await poolers.prepare()
    await poolers.pause()
    held = paused(pooler)
    await poolers.resume()
    poolers.close()

    assert held == {database.name}


async def test_two_deployments_behind_one_pooler_do_not_wake_each_other(
        make_pooler: MakePooler, database: Database, make_database: Callable[..., Database]) -> None:
    """Tenants that share a pooler are deployed to side by side; one's open transaction does not hold up the other."""
    other = make_database(database.server)
    pooler = make_pooler({database.name: database, other.name: other})
    busy = psycopg2.connect(pooler.dsn(user="app", database=other.name))
    busy.cursor().execute("SELECT 1")
    one, two = poolers_of(database, pooler), poolers_of(other, pooler)
    await one.prepare()
    await two.prepare()
    pausing = Deferred.fromCoroutine(two.pause())
    await until(lambda: paused(pooler) == {other.name}, "the other is on its way")
    await one.pause()
    both = paused(pooler)
    await one.resume()
    still = paused(pooler)
    busy.rollback()
    await pausing
    await two.resume()
    busy.close()
    one.close()
    two.close()

    assert (both, still) == ({database.name, other.name}, {other.name})


async def test_what_another_deployment_has_lowered_for_a_moment_is_not_taken_for_the_setting(
        pooler: PgBouncer, database: Database) -> None:
    """One that ends behind the same pooler has its clients served quickly; the low value would stay for ever."""
    pooler.admin("SET server_login_retry = '0.05'")
    poolers = poolers_of(database, pooler)
    preparing = Deferred.fromCoroutine(poolers.prepare())
    await for_a_moment(0.1)
    pooler.admin("SET server_login_retry = '15'")
    await preparing
    poolers.close()

    assert [pause.login_retry for pause in poolers.pauses] == ["15"]
    assert login_retry(pooler) == "15"


async def test_processes_that_share_a_port_are_refused(make_pooler: MakePooler, database: Database) -> None:
    """A session reaches any of them: one was paused, another was asked whether it is, and told to resume."""
    poolers = poolers_of(database, make_pooler({database.name: database}, so_reuseport="1"), databases=(database.name,))
    with pytest.raises(PoolersRefuse, match="so_reuseport"):
        await poolers.prepare()


async def test_a_user_who_may_only_look_is_found_out_before(pooler: PgBouncer, database: Database) -> None:
    """`stats_users` may not PAUSE: that is said before the outage, not in it."""
    settings = settings_of(pooler).model_copy(update={"console": console_of(pooler, OBSERVER)})
    with pytest.raises(errors.NodeError, match="admin access needed"):
        await Poolers([settings], database.target, reactor).prepare()


async def test_an_unknown_password_is_not_shown(pooler: PgBouncer, database: Database) -> None:
    """The console refuses it; nobody learns it from the message."""
    settings = settings_of(pooler, password_file=None)
    wrong = type(settings.console)(dsn=settings.console.dsn, password="not-the-secret")
    poolers = Poolers([settings.model_copy(update={"console": wrong})], database.target, reactor)
    with pytest.raises(errors.CannotConnect) as refused:
        await poolers.prepare()

    assert "not-the-secret" not in f"{refused.value.explain()} {poolers.pauses!r}"


async def test_a_pooler_that_is_not_there_is_named(pooler: PgBouncer, database: Database) -> None:
    """With all sessions given back, also those to the poolers that are there."""
    poolers = poolers_of(database, pooler)
    pooler.kill()
    with pytest.raises(errors.CannotConnect, match=f"127.0.0.1:{pooler.port}"):
        await poolers.prepare()


async def test_our_own_way_through_the_pooler_is_refused(pooler: PgBouncer, database: Database) -> None:
    """A deployer behind the pooler would hold back itself."""
    through = application.PATCHER
    target = type(database.target)(dsn=pooler.console_dsn(), password=application.password_of(through))
    with pytest.raises(PoolersRefuse, match="leads through this pooler"):
        await Poolers([settings_of(pooler)], target.with_database(database.name), reactor).prepare()

"""Administrators' sessions that stand in the way of a deployment, and the tools they have left running."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator

import psycopg2

from demo import application
from demo.faults.circumstances import applied, deploy, deploy_watched, refused, see_through, server, settings, until
from demo.faults.rows import Finding
from demo.faults.sample import PATCH
from demo.faults.world import World
from demo.processes import without_postgres_variables
from demo.sandbox import DATABASE
from demo.servers import LOOPBACK

HAS_PATCHED = ("SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'account'::regclass AND granted"
               " AND mode = 'AccessExclusiveLock')")
DUMPS = ("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'pg_dump'"
         " AND query LIKE 'COPY %.event %')")


def superuser_before(world: World) -> Finding:
    pid = _superuser_reads(world)
    return refused(world, deploy(world), "sessions of superusers cannot be kicked by this role", f"pid {pid} postgres@",
                   "(psql", untouched=True)


def superuser_where_idle_ones_stay(world: World) -> Finding:
    with settings(world, kick="transactions", drain_seconds=0):
        return _locked_out_by_superuser(world)


def superuser_spared(world: World) -> Finding:
    with settings(world, spared=("postgres",)):
        return _locked_out_by_superuser(world)


def _locked_out_by_superuser(world: World) -> Finding:
    pid = _superuser_reads(world)
    outcome = deploy_watched(world)
    finding = refused(world, outcome.build, f"{PATCH}.sql, line 3", f"pid {pid}", "postgres", "psql", "account",
                      untouched=False)
    finding.seconds = outcome.seconds
    return finding


def _superuser_reads(world: World) -> int:
    """A superuser's psql with an open transaction on the patched table; its backend's pid."""
    connection = world.connect(superuser=True)
    with connection.cursor() as cursor:
        cursor.execute("SET application_name TO 'psql'; BEGIN; SELECT count(*) FROM account")
    return int(connection.info.backend_pid)


def deadlock(world: World) -> Finding:
    """An administrator holds what the patch needs second, and asks for what it has first."""
    connection = world.connect(superuser=True)
    with connection.cursor() as cursor:
        cursor.execute("SET application_name TO 'psql'; SET deadlock_timeout TO '1min'; BEGIN;"
                       " LOCK TABLE pace IN ACCESS EXCLUSIVE MODE")

        def ask_for_the_other() -> None:
            with contextlib.suppress(psycopg2.Error):
                cursor.execute("LOCK TABLE account IN ACCESS EXCLUSIVE MODE; ROLLBACK")
        with settings(world, spared=("postgres",)):
            world.watch()
            build = world.ask()
            world.approve(build)
            until(lambda: world.onlooker_sees(HAS_PATCHED), "the patch to have its first lock")
            other = threading.Thread(target=ask_for_the_other)
            other.start()
            outcome = see_through(world, build)
            other.join()
    finding = refused(world, outcome.build, f"{PATCH}.sql, line 4", untouched=False)
    finding.seconds = outcome.seconds
    return finding


def prepared_transaction(world: World) -> Finding:
    with server(world, restart=True, max_prepared_transactions="4"):
        connection = world.connect()
        with connection.cursor() as cursor:
            cursor.execute("BEGIN; UPDATE account SET balance = 1; PREPARE TRANSACTION 'forgotten'")
        finding = refused(world, deploy(world), "prepared transaction forgotten of app", "ROLLBACK PREPARED",
                          untouched=True)
        with connection.cursor() as cursor:
            cursor.execute("ROLLBACK PREPARED 'forgotten'")
        return finding


def has_read_roles(world: World) -> Finding:
    connection = world.connect()
    with connection.cursor() as cursor:
        cursor.execute("BEGIN; SELECT count(*) FROM pg_roles")
    with settings(world, drain_seconds=0):
        if world.gate == "refuse":
            return applied(world, deploy_watched(world))
        return refused(world, deploy(world), "connections could not be prevented",
                       f"pid {connection.info.backend_pid} {application.APPLICATION} in {DATABASE}", untouched=False)


def dump(world: World) -> Finding:
    with _dumping(world) as program, settings(world, drain_seconds=0):
        if world.gate == "hold":
            return refused(world, deploy(world), "connections could not be prevented",
                           f"{application.PATCHER} in {DATABASE}", untouched=False)
        outcome = deploy_watched(world)
        finding = applied(world, outcome)
        program.communicate()
    finding.expect(program.returncode != 0, "pg_dump should say that its dump is not whole")
    return finding


@contextlib.contextmanager
def _dumping(world: World) -> Iterator[subprocess.Popen[bytes]]:
    """The real program in the middle of a table: nobody reads what it writes."""
    environment = without_postgres_variables(PGPASSWORD=application.password_of(application.PATCHER))
    program = subprocess.Popen(
        [world.production.installation.bin / "pg_dump", "-h", LOOPBACK, "-p", str(world.production.port),
         "-U", application.PATCHER, DATABASE], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        world.watch()
        until(lambda: world.onlooker_sees(DUMPS), "pg_dump to be in the middle of a table")
        yield program
    finally:
        program.kill()
        program.communicate()

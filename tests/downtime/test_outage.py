"""The critical section on real servers: what it does, what ends it, and that the database is open whatever did."""

from __future__ import annotations

import os
import signal
from time import monotonic

import psycopg2
import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from demo.proxy import Proxy
from downtime import deployment_lock, errors, ledger, preflight, sessions
from downtime.apply import PatchFailed
from downtime.node import connect
from downtime.outage import Outage
from downtime.phases import Phase, PhaseReport, PhaseState, Report
from downtime.ready import PATCH_LOCK_SECONDS
from tests.builders import a_deployment, no_objections, pause, until
from tests.databases import Database
from tests.downtime.outages import SLEEPING, in_mid_drain, patcher_of, prepared, run, some_rules, stopped, through


def states(report: Report) -> list[PhaseState]:
    return [each.state for each in report.phases]


def is_open(database: Database) -> bool:
    psycopg2.connect(database.dsn_of("app"), connect_timeout=5).close()
    return True


def recorded(database: Database) -> list[str]:
    return [row[0] for row in database.admin_sql("SELECT id FROM fastdowntime.ledger")]


def has_table(database: Database, name: str = "added") -> bool:
    return database.admin_sql("SELECT to_regclass(%s) IS NOT NULL", (name,)) == [(True,)]


def assert_nothing_is_left(database: Database) -> None:
    assert is_open(database)
    assert (has_table(database), recorded(database)) == (False, [])


@pytest.mark.parametrize("kick", ["all", "transactions"])
@pytest.mark.parametrize("gate", ["hold", "refuse"])
async def test_a_patch_goes_in_and_the_database_is_open(gate: str, kick: str, each_database: Database) -> None:
    """On every server, with both gates and both policies: kicked, applied, recorded, open."""
    each_database.connect("app")
    each_database.connect("app").cursor().execute("SELECT 1")
    origin = ledger.Origin(requested_by="operator", approved_by="approver", build_url="http://x/1")
    report = await run(each_database, a_deployment(origin=origin), gate=gate, kick=kick)

    assert (report.error, report.applied) == (None, True)
    assert states(report) == [PhaseState.DONE] * 5
    assert (len(report.kicked), len(report.drained)) == ((2, 0) if kick == "all" else (1, 1))
    assert report.outage_seconds >= report.patch_seconds > 0
    assert is_open(each_database)
    assert each_database.admin_sql("SELECT id, lane, requested_by, approved_by FROM fastdowntime.ledger") == [
        ("patch-1", "cold", "operator", "approver")]


async def test_phases_follow_each_other_in_time(database: Database) -> None:
    """Each begins where the one before ended: the instants are those of beginnings."""
    report = await run(database, a_deployment(sql="SELECT pg_sleep(0.3);"))
    apply, allow = report.phases[3], report.phases[4]

    assert apply.started_at is not None
    assert allow.started_at is not None
    assert apply.seconds >= 0.3
    assert (allow.started_at - apply.started_at).total_seconds() == pytest.approx(apply.seconds, abs=0.05)


@pytest.mark.parametrize("gate", ["hold", "refuse"])
async def test_a_failing_patch_leaves_nothing_and_its_line_is_named(gate: str, database: Database) -> None:
    """The line is that of the file, behind text of several bytes a character and in a statement of several lines."""
    sql = "-- apply: cold\nCREATE TABLE added (id int); -- äöü €\n\nSELECT 'ä€',\n       'ü',\n       nonsense;\n"
    report = await run(database, a_deployment(sql=sql), gate=gate)

    assert isinstance(report.error, PatchFailed)
    assert str(report.error).startswith('db/patch-1.sql, line 6: column "nonsense" does not exist')
    assert report.error.left is errors.Left.REOPENED
    assert states(report) == [*[PhaseState.DONE] * 3, PhaseState.FAILED, PhaseState.DONE]
    assert_nothing_is_left(database)


async def test_a_fragile_user_in_a_transaction_refuses_the_outage(database: Database) -> None:
    """Before it begins: nothing is closed and nobody is kicked."""
    client = database.connect("process_upload")
    client.cursor().execute("SELECT 1")
    with pytest.raises(preflight.PreflightRefused, match="a fragile user is in the middle of a transaction"):
        await run(database)

    client.cursor().execute("SELECT 1")
    assert_nothing_is_left(database)


async def test_a_fragile_user_that_begins_after_the_preflight_aborts(each_database: Database) -> None:
    """Nobody has been kicked when the check fails, and the database is open."""
    bystander, fragile = each_database.connect("app"), each_database.connect("process_upload")
    async with prepared(each_database) as outage:
        fragile.cursor().execute("SELECT 1")
        report = await outage.run()

    assert isinstance(report.error, sessions.FragileUsersActive)
    assert states(report) == [PhaseState.DONE, PhaseState.FAILED, PhaseState.NOT_REACHED, PhaseState.NOT_REACHED,
                              PhaseState.DONE]
    assert report.kicked == ()
    bystander.cursor().execute("SELECT 1")
    assert_nothing_is_left(each_database)


async def in_mid_sleep(database: Database, outage: Outage) -> Deferred[Report]:
    running = Deferred.fromCoroutine(outage.run())
    await until(lambda: len(outage.statements) == 1, "the first statement being applied")
    await pause(0.1)
    return running


@pytest.mark.parametrize("gate", ["hold", "refuse"])
async def test_an_abort_in_mid_statement_takes_everything_back(gate: str, each_database: Database) -> None:
    """Stop does not wait for the statement: cancelled, rolled back, open."""
    async with prepared(each_database, SLEEPING, gate=gate) as outage:
        running = await in_mid_sleep(each_database, outage)
        outage.abort("the operator stopped it")
        report = await running

    assert isinstance(report.error, errors.Aborted)
    assert "the operator stopped it" in str(report.error)
    assert report.outage_seconds < 10
    assert_nothing_is_left(each_database)


async def test_the_limit_ends_what_nobody_stops(database: Database) -> None:
    """Also a patch that has taken the server's own deadline away."""
    sql = f"SET statement_timeout = 0;\n{SLEEPING.patch.sql}"
    report = await run(database, a_deployment(sql=sql), limit_seconds=1.0)

    assert isinstance(report.error, errors.Aborted)
    assert "the limit of 1 s has passed" in str(report.error)
    assert_nothing_is_left(database)


@pytest.mark.parametrize("gate", ["hold", "refuse"])
async def test_a_patcher_that_is_killed_in_mid_statement_leaves_nothing(gate: str, database: Database) -> None:
    """An administrator ends the patching session: rolled back, open, and the phase says so."""
    admin = psycopg2.connect(database.server.superuser_dsn())
    admin.autocommit = True
    async with prepared(database, SLEEPING, gate=gate) as outage:
        running = await in_mid_sleep(database, outage)
        admin.cursor().execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE"
                               " query LIKE '%pg_sleep(30)%' AND pid <> pg_backend_pid()")
        report = await running
    admin.close()

    assert isinstance(report.error, errors.ConnectionLost)
    assert report.error.left is errors.Left.REOPENED
    assert_nothing_is_left(database)


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_commit_without_an_answer_is_decided_by_the_ledger(arrives: bool, database: Database) -> None:
    """The network fails at the COMMIT: applied if it had arrived, rolled back if not, and never a guess."""
    with Proxy("127.0.0.1", database.server.port) as proxy:
        async with prepared(database, target=through(proxy, database)) as outage:
            (proxy.cut_after if arrives else proxy.cut_before)(b"COMMIT\0")
            running = Deferred.fromCoroutine(outage.run())
            await until(lambda: proxy.has_fallen, "the COMMIT")
            if arrives:
                await until(lambda: recorded(database) == ["patch-1"], "the COMMIT being carried out")
            proxy.drop()
            report = await running

    assert report.applied is arrives
    assert is_open(database)
    assert (recorded(database), has_table(database)) == ((["patch-1"], True) if arrives else ([], False))
    assert states(report)[-1] is (PhaseState.DONE if arrives else PhaseState.FAILED)


async def test_a_deferred_constraint_fails_as_part_of_the_patch(database: Database) -> None:
    """What COMMIT would find is found in the apply phase, and told of the patch."""
    sql = ("CREATE TABLE added (id int PRIMARY KEY, up int REFERENCES added DEFERRABLE INITIALLY DEFERRED);\n"
           "INSERT INTO added VALUES (1, 2);")
    report = await run(database, a_deployment(sql=sql))

    assert isinstance(report.error, PatchFailed)
    assert "violates foreign key constraint" in str(report.error)
    assert report.phases[3].state is PhaseState.FAILED
    assert_nothing_is_left(database)


@pytest.mark.parametrize("gate", ["hold", "refuse"])
@pytest.mark.parametrize("sql", [
    "SET ROLE pg_monitor;", "RESET ALL;", "SET search_path = pg_temp;", "SET statement_timeout = '2s';",
    "SET LOCAL lock_timeout = 0;", "SET datestyle = 'SQL, DMY';", "SET CONSTRAINTS ALL DEFERRED;",
])
async def test_whatever_the_patch_makes_of_its_session_it_is_recorded(gate: str, sql: str, database: Database) -> None:
    """The ledger row is written by the patching role, under its own name, and the gate opens."""
    report = await run(database, a_deployment(sql=sql), gate=gate)

    assert (report.error, recorded(database), is_open(database)) == (None, ["patch-1"], True)


async def test_a_limit_that_passes_while_transactions_end_names_them(database: Database) -> None:
    """The operator is not left to ask what the deployment has waited for."""
    database.connect("app", application_name="nightly").cursor().execute("SELECT 1")
    async with prepared(database, limit_seconds=1.0, drain_seconds=30.0) as outage:
        report = await outage.run()

    assert isinstance(report.error, errors.Aborted)
    assert "the limit of 1 s has passed; it was waiting for pid" in str(report.error)
    assert "nightly" in str(report.error)
    assert_nothing_is_left(database)


async def test_a_gate_that_cannot_be_opened_with_the_patch_is_a_failure_somebody_sees(database: Database) -> None:
    """Another session holds the database's row: rolled back, and a phase is red."""
    other = psycopg2.connect(database.server.superuser_dsn())
    sql = "SELECT 1;\nSELECT pg_sleep(0.3);"
    async with prepared(database, a_deployment(sql=sql), gate="refuse") as outage:
        running = Deferred.fromCoroutine(outage.run())
        await until(lambda: len(outage.statements) == 1, "the patch being applied")
        other.cursor().execute(f"ALTER DATABASE {database.name} CONNECTION LIMIT 50")
        reactor.callLater(PATCH_LOCK_SECONDS + 1.0, other.rollback)  # type: ignore[attr-defined]
        report = await running
    other.close()

    assert report.error is not None
    assert report.error.left is errors.Left.REOPENED
    assert PhaseState.FAILED in states(report)
    assert_nothing_is_left(database)


async def test_a_second_deployment_is_refused_and_told_whose_turn_it_is(database: Database) -> None:
    """From another master or a terminal: the holder's application and pid are named."""
    async with prepared(database):
        with pytest.raises(deployment_lock.DeploymentUnderWay, match=r"fastdowntime .* patch-1 of patcher"):
            await run(database, a_deployment(patch_id="patch-2"))


async def test_every_reason_in_the_traffic_is_told_at_once(database: Database) -> None:
    """A prepared transaction, a long transaction, and what the ledger says, in one refusal."""
    client = database.connect("app")
    client.cursor().execute("BEGIN; INSERT INTO upload (path) VALUES ('a'); PREPARE TRANSACTION 'left over'")
    database.connect("app").cursor().execute("SELECT 1")
    outage = Outage(database.target, a_deployment(), some_rules(long_transaction_seconds=0.0))
    with pytest.raises(preflight.PreflightRefused) as caught:
        await outage.prepare(lambda entries: ["patch-0 must be applied before patch-1."])
    await outage.close()

    reasons = " | ".join(caught.value.reasons)
    assert len(caught.value.reasons) == 3
    assert all(word in reasons for word in ("patch-0", "prepared transaction left over", "open for more than 0 s"))
    assert caught.value.left is errors.Left.UNTOUCHED


async def test_every_missing_right_is_told_at_once(database: Database) -> None:
    """A role that may do nothing is told all it lacks, not one right a day."""
    outage = Outage(database.target_of("app"), a_deployment(), some_rules())
    with pytest.raises(preflight.PreflightRefused) as caught:
        await outage.prepare(no_objections)

    reasons = " | ".join(caught.value.reasons)
    assert all(word in reasons for word in ("pg_monitor", "pg_signal_backend", "gate function", "ledger"))


async def test_watchers_are_told_of_every_phase(database: Database) -> None:
    """Those of phases that were not reached too: no step waits for ever."""
    told: list[PhaseReport] = []
    async with prepared(database, a_deployment(sql="SELECT 1/0;")) as outage:
        watching = gatherResults([outage.watch(phase).addCallback(told.append) for phase in Phase])
        await outage.run()
        await watching

    assert [each.phase for each in told] == list(Phase)


async def test_a_short_transaction_may_end_by_itself(database: Database) -> None:
    """`drain_seconds` waits for it behind the closed gate; then nothing of it is lost."""
    client = database.connect("app")
    client.cursor().execute("INSERT INTO upload (path) VALUES ('kept')")
    async with prepared(database, drain_seconds=10.0) as outage:
        reactor.callLater(0.3, client.commit)  # type: ignore[attr-defined]
        report = await outage.run()

    assert report.error is None
    assert report.phases[1].seconds >= 0.2
    assert database.admin_sql("SELECT path FROM upload") == [("kept",)]


@pytest.mark.parametrize("gate", ["hold", "refuse"])
async def test_a_rehearsal_may_leave_nothing(gate: str, database: Database) -> None:
    """`keep=False` goes through every phase and takes the patch back."""
    report = await run(database, gate=gate, keep=False)

    assert (report.error, report.applied, states(report)) == (None, False, [PhaseState.DONE] * 5)
    assert_nothing_is_left(database)


async def test_a_lost_control_session_does_not_make_an_abort_wait(database: Database) -> None:
    """The session that would cancel is gone: the abort ends the patching session instead."""
    admin = psycopg2.connect(database.server.superuser_dsn())
    admin.autocommit = True
    async with prepared(database, SLEEPING) as outage:
        running = await in_mid_sleep(database, outage)
        admin.cursor().execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                               " WHERE application_name LIKE '%control'")
        await pause(0.1)
        outage.abort("stopped")
        report = await running
    admin.close()

    assert report.error is not None
    assert report.outage_seconds < 15
    assert_nothing_is_left(database)


async def test_two_runs_give_back_what_they_took(database: Database) -> None:
    """Locks and sessions are gone after a run: the next patch follows at once."""
    await run(database)
    report = await run(database, a_deployment(patch_id="patch-2", sql="CREATE TABLE second (id int);"))
    node = await connect(database.target, application_name="test")
    try:
        holder = await deployment_lock.holder(node, node.target.database)
    finally:
        node.close()

    assert (report.error, holder, recorded(database)) == (None, None, ["patch-1", "patch-2"])


async def test_an_abort_needs_no_right_to_cancel(database: Database) -> None:
    """Where the server's owner has taken pg_cancel_backend away, the patch ran on, past every limit of ours."""
    database.admin_sql("REVOKE EXECUTE ON FUNCTION pg_cancel_backend(int) FROM PUBLIC")
    async with prepared(database, SLEEPING) as outage:
        running = await in_mid_sleep(database, outage)
        began = monotonic()
        outage.abort("stopped")
        report = await running

    assert not report.applied
    assert monotonic() - began < 5.0
    assert_nothing_is_left(database)


async def test_a_patch_that_is_half_way_in_live_is_not_applied_cold(database: Database) -> None:
    """Its lane was changed after a live application had failed: what it had finished would run a second time."""
    database.admin_sql("INSERT INTO fastdowntime.live_journal (id, sha256, statement) VALUES ('patch-1', 'x', 1)")
    with pytest.raises(preflight.PreflightRefused, match="1 statement of patch-1 was applied live"):
        await run(database)

    assert_nothing_is_left(database)


@pytest.mark.parametrize("gate", ["hold", "refuse"])
async def test_a_patcher_that_is_ended_in_the_kick_ends_the_kick(gate: str, database: Database) -> None:
    """Its end had opened the gate, and clients were kicked behind it until none was left, if there ever was none."""
    client = database.connect("app").get_backend_pid()
    async with prepared(database, gate=gate) as outage:
        patcher = patcher_of(database)
        with stopped(client):
            running = Deferred.fromCoroutine(outage.run())
            await until(lambda: outage.kicked, "the first client being kicked")
            os.kill(patcher, signal.SIGTERM)
            report = await running

    assert isinstance(report.error, errors.ConnectionLost)
    assert report.error.left is errors.Left.REOPENED
    assert states(report) == [*[PhaseState.DONE] * 2, PhaseState.FAILED, PhaseState.NOT_REACHED, PhaseState.DONE]
    assert [session.pid for session in report.kicked] == [client]
    assert_nothing_is_left(database)


@pytest.mark.parametrize("gate", ["hold", "refuse"])
async def test_nobody_is_kicked_behind_a_gate_that_is_open_again(gate: str, database: Database) -> None:
    """The patcher was ended while open transactions were waited for; their clients were kicked for nothing."""
    client = database.connect("app")
    client.cursor().execute("SELECT 1")
    async with prepared(database, gate=gate, drain_seconds=20.0) as outage:
        patcher = patcher_of(database)
        running = await in_mid_drain(outage)
        os.kill(patcher, signal.SIGTERM)
        report = await running
    client.cursor().execute("SELECT 1")

    assert isinstance(report.error, errors.ConnectionLost)
    assert report.kicked == ()
    assert report.outage_seconds < 15
    assert_nothing_is_left(database)

"""What a statement of a patch has done to the session is put right before the next one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from demo.faults.patches import HOSTILE_SCHEMA
from downtime import deployment_lock, safety
from downtime.apply import Deployment, PatchFailed, TransactionEnded, apply_cold
from downtime.errors import ConnectionLost, Left
from downtime.live import LiveApplication
from downtime.node import Node
from downtime.patches import Lane
from downtime.safety import TIMEOUTS
from downtime.settings.sections import Live
from tests.builders import a_deployment, a_node, no_objections, until
from tests.databases import Database
from tests.downtime.outages import prepared

OURS = {"statement_timeout": "21s", "lock_timeout": "3s", "idle_in_transaction_session_timeout": "4s",
        "client_connection_check_interval": "50ms", "idle_session_timeout": "0", "tcp_keepalives_idle": "1",
        "tcp_keepalives_interval": "1", "tcp_keepalives_count": "2", "tcp_user_timeout": "3000",
        "transaction_timeout": "0"}

# Writes down what each timeout is, as an ordinary statement of the patch.
SEEN = "CREATE TABLE seen AS SELECT name, current_setting(name) AS value FROM pg_settings WHERE name = ANY ('{{{}}}');"

SET, SET_LOCAL = "SET {} = {};", "SET LOCAL {} = {};"
BY_FUNCTION = "SELECT set_config('{}', '{}', false);"
IN_A_BLOCK = "DO $$ BEGIN PERFORM set_config('{}', '{}', true); END $$;"


async def a_patcher(database: Database) -> Node:
    """A session as an outage's patcher is."""
    return await a_node(database.target, statement_timeout_seconds=21.0, settings={
        "lock_timeout": OURS["lock_timeout"],
        "idle_in_transaction_session_timeout": OURS["idle_in_transaction_session_timeout"]})


async def apply(node: Node, deployment: Deployment) -> None:
    async with node.transaction():
        await apply_cold(node, deployment, before_each=lambda: None, progress=lambda each: None)


def known(database: Database) -> list[str]:
    return [name for (name,) in database.admin_sql("SELECT name FROM pg_settings WHERE name = ANY (%s)",
                                                   (list(TIMEOUTS),))]


def changes(form: str, names: list[str]) -> list[str]:
    """A statement for each setting; none so short that the patch would end itself."""
    return [form.format(name, 99 if name.endswith("count") else 9_000) for name in names]


def seen(database: Database) -> dict[str, str]:
    return dict(database.admin_sql("SELECT name, value FROM seen"))  # type: ignore[arg-type]


@pytest.mark.parametrize("changed", [SET, SET_LOCAL, BY_FUNCTION, IN_A_BLOCK])
async def test_our_timeouts_are_back_for_the_next_statement(each_database: Database, changed: str) -> None:
    """On every server, however the patch has changed them: pg_dump's own first line is `SET statement_timeout = 0`."""
    names = known(each_database)
    sql = "\n".join([*changes(changed, names), SEEN.format(",".join(names))])
    node = await a_patcher(each_database)
    try:
        await apply(node, a_deployment(sql=sql))
    finally:
        node.close()

    assert seen(each_database) == {name: OURS[name] for name in names}


async def test_our_timeouts_are_back_in_a_live_patch(database: Database) -> None:
    """There as well; the short lock_timeout is set anew for each statement."""
    names = known(database)
    sql = "\n".join([*changes(SET, names), SEEN.format(",".join(names))])
    await LiveApplication(database.target, a_deployment(sql=sql, lane=Lane.LIVE),
                          progress=lambda line: None, rules=Live()).run(no_objections)

    found = seen(database)
    assert (found["statement_timeout"], found["lock_timeout"]) == (f"{Live().concurrently_hours:g}h", "500ms")
    assert found["client_connection_check_interval"] == "50ms"


async def test_what_else_the_author_has_set_holds(database: Database) -> None:
    """A patch's search_path and role are its own affair, to its end."""
    sql = ("CREATE SCHEMA own;\nSET search_path = own;\nSET work_mem = '7MB';\nSELECT 1;\n"
           "CREATE TABLE found AS SELECT current_setting('work_mem') AS work_mem;")
    node = await a_patcher(database)
    try:
        await apply(node, a_deployment(sql=sql))
    finally:
        node.close()

    assert database.admin_sql("SELECT work_mem FROM own.found") == [("7MB",)]


async def test_a_given_up_deployment_lock_is_taken_again(database: Database) -> None:
    """`pg_advisory_unlock_all()` lets a second deployer in beside us."""
    node = await a_patcher(database)
    try:
        await deployment_lock.take(node)
        async with node.transaction():
            await apply_cold(node, a_deployment(sql="SELECT pg_advisory_unlock_all();"), before_each=lambda: None,
                             progress=lambda each: None)
            holder = await deployment_lock.holder(node, node.target.database)
    finally:
        node.close()

    assert holder is not None
    assert holder["pid"] == node.pid


@pytest.mark.parametrize("rest", ["", "\nSELECT 1;"])
async def test_a_transaction_made_read_only_is_told_as_what_it_is(rest: str, database: Database) -> None:
    """The ledger row could not be written; told by the server alone, nobody would know what to change."""
    read_only = "SELECT set_config('transaction_read_only', 'on', true);"
    deployment = a_deployment(sql=f"CREATE TABLE added (id int);\n{read_only}{rest}")
    node = await a_patcher(database)
    try:
        await deployment_lock.take(node)
        with pytest.raises(PatchFailed, match="line 2: the transaction has been made read-only"):
            await apply(node, deployment)
    finally:
        node.close()

    assert database.admin_sql("SELECT to_regclass('added')") == [(None,)]


@pytest.fixture
def another_deployer(database: Database) -> Iterator[threading.Thread]:
    """Waits for the deployment lock and keeps it once it has it."""
    connection = database.connect("patcher")
    lock = f"SELECT pg_advisory_lock({deployment_lock.LOCK_CLASS}, {deployment_lock.DEPLOYMENT})"
    thread = threading.Thread(target=lambda: connection.cursor().execute(lock))
    yield thread
    thread.join()


async def test_a_deployment_lock_that_somebody_else_has_taken_ends_the_patch(
        database: Database, another_deployer: threading.Thread) -> None:
    """Two deployers at once are what the lock is there to prevent."""
    sql = ("DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted) LOOP"
           " PERFORM pg_sleep(0.01); END LOOP; PERFORM pg_advisory_unlock_all();"
           " WHILE NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
           " AND granted) LOOP PERFORM pg_sleep(0.01); END LOOP; END $$;")
    node = await a_patcher(database)
    try:
        await deployment_lock.take(node)
        another_deployer.start()
        with pytest.raises(PatchFailed, match="line 1: the deployment lock has been given up"):
            await apply(node, a_deployment(sql=sql))
    finally:
        node.close()


@pytest.mark.parametrize("text", ["SELECT 1; COMMIT", "SELECT 1; COMMIT; SELECT 1 / 0"])
@pytest.mark.parametrize("as_query", [False, True])
async def test_an_ended_transaction_is_not_taken_for_a_rolled_back_one(
        database: Database, text: str, as_query: bool) -> None:
    """No text that was examined does that; should the parser ever be wrong, an operator is told at once."""
    deployment = a_deployment(sql="CREATE TABLE half (id int);\nSELECT 1;\nCREATE TABLE rest (id int);")
    first, second, third = deployment.statements
    hiding = replace(second, text=text, only_returns_rows=as_query)
    misread = replace(deployment, statements=(first, hiding, third))
    node = await a_patcher(database)
    try:
        with pytest.raises(TransactionEnded, match=r"db/patch-1\.sql, line 2: the statement has ended the") as caught:
            await apply(node, misread)
    finally:
        node.close()

    assert caught.value.left is Left.UNKNOWN
    assert database.admin_sql("SELECT to_regclass('half') IS NULL, to_regclass('rest') IS NULL") == [(False, True)]


async def test_a_session_that_reads_otherwise_from_the_start_runs_nothing(database: Database) -> None:
    """Whoever has set it: the patch was examined for another reading."""
    node = await a_patcher(database)
    try:
        await node.execute("SET client_encoding = 'LATIN1'")
        with pytest.raises(PatchFailed, match="line 1: client_encoding is LATIN1"):
            await apply(node, a_deployment())
    finally:
        node.close()

    assert database.admin_sql("SELECT to_regclass('added')") == [(None,)]


async def test_a_session_that_has_ended_is_told_as_lost(database: Database) -> None:
    """Asked how it reads SQL when it was gone already, it was reported as an internal error."""
    node = await a_patcher(database)
    try:
        database.admin_sql("SELECT pg_terminate_backend(%s)", (node.pid,))
        await until(lambda: node.closed, "the session noticing its end")
        with pytest.raises(ConnectionLost):
            safety.misreading(node)
    finally:
        node.close()


async def test_what_is_reported_as_deployed_survives_a_crash(doomed: Database) -> None:
    """Where commits are not waited for, a crash took back patch and ledger row behind the report."""
    doomed.server.admin_sql("ALTER SYSTEM SET wal_writer_delay = '10s'")
    doomed.server.admin_sql("SELECT pg_reload_conf()")
    doomed.admin_sql(f"ALTER DATABASE {doomed.name} SET synchronous_commit = off")
    node = await a_patcher(doomed)
    try:
        await apply(node, a_deployment())
    finally:
        doomed.server.kill()
        node.close()
    doomed.server.start()

    assert doomed.admin_sql("SELECT id, to_regclass('added') IS NOT NULL FROM fastdowntime.ledger") == [
        ("patch-1", True)]


async def test_a_last_query_is_not_in_the_way_of_a_deferred_trigger(each_database: Database) -> None:
    """Its cursor was still open when the trigger came to alter the table: "being used by active queries"."""
    each_database.admin_sql(
        "SET ROLE patcher; CREATE FUNCTION widen() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN ALTER TABLE upload ADD COLUMN late int; RETURN NULL; END $$;"
        " CREATE CONSTRAINT TRIGGER widen AFTER INSERT ON account DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION widen()")
    node = await a_patcher(each_database)
    try:
        await apply(node, a_deployment(sql="INSERT INTO account (name) VALUES ('x');\nSELECT * FROM upload;"))
    finally:
        node.close()

    assert each_database.admin_sql("SELECT late FROM upload") == []


@pytest.mark.parametrize("measure", [False, True])
async def test_operators_of_the_patch_are_not_reached(measure: bool, database: Database) -> None:
    """What looks after the session, and what measures it, asked the patch's own `=` once its search_path said so."""
    sql = f"{HOSTILE_SCHEMA}SELECT 1;\nCREATE TABLE hostile.made (id int);"
    async with prepared(database, a_deployment(sql=sql), measure=measure) as outage:
        report = await outage.run()

    assert report.error is None

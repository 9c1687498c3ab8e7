"""A session on a real server: deadlines that hold, errors in our words, transactions that wait for the work."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

import pytest
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.main import CONNECTION_DONE
from twisted.logger import LogEvent, LogLevel, globalLogPublisher

from demo.proxy import Proxy
from downtime import errors
from downtime.node import connect
from downtime.notices import KEPT_NOTICES, Notices
from downtime.parameters import milliseconds
from downtime.target import Target
from tests.builders import a_node, pause, until
from tests.databases import Database
from tests.downtime.outages import through


@contextmanager
def the_log() -> Iterator[list[LogEvent]]:
    """What Twisted logs meanwhile."""
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    try:
        yield events
    finally:
        globalLogPublisher.removeObserver(events.append)


@contextmanager
def a_deaf_listener() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@contextmanager
def a_server_that_hangs_up(database: Database, *, after_bytes: int) -> Iterator[int]:
    """The port of one that serves one client, until it has sent so much of its answers."""
    def serve() -> None:
        with listener.accept()[0] as client, socket.create_connection(("127.0.0.1", database.server.port)) as upstream:
            listener.close()
            threading.Thread(target=pass_on, args=(client, upstream), daemon=True).start()
            left = after_bytes
            while left and (answer := upstream.recv(left)):
                client.sendall(answer)
                left -= len(answer)
            client.shutdown(socket.SHUT_RDWR)

    def pass_on(client: socket.socket, upstream: socket.socket) -> None:
        with suppress(OSError):
            while request := client.recv(4096):
                upstream.sendall(request)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


# -- connecting --------------------------------------------------------------------------------------------------

async def test_a_server_that_never_answers_is_given_up_at_the_deadline() -> None:
    """A dead host costs the deadline, not the kernel's two minutes."""
    with a_deaf_listener() as port:
        began = monotonic()
        with pytest.raises(errors.DeadlineExceeded, match=r"no answer to connect within 0.2 s"):
            await connect(Target(dsn=f"postgresql://patcher@127.0.0.1:{port}/app"), application_name="test",
                          connect_seconds=0.2)

    assert monotonic() - began < 5


@pytest.mark.parametrize("after_bytes", [1, 10, 100, 200, 300, 500, 520])
async def test_a_server_that_hangs_up_while_we_connect_leaves_nothing(after_bytes: int, database: Database) -> None:
    """It crashed, say. The reactor went on watching a socket that libpq had closed, and the way to reopening failed."""
    with the_log() as log, a_server_that_hangs_up(database, after_bytes=after_bytes) as port:
        target = Target(dsn=database.target.dsn.replace(f":{database.server.port}/", f":{port}/"),
                        password=database.target.password)
        with pytest.raises(errors.CannotConnect):
            await connect(target, application_name="test")

    assert [event for event in log if event["log_level"] >= LogLevel.error] == []


async def test_a_closed_port_cannot_be_connected_to() -> None:
    """Nobody listens: the message names the server."""
    with a_deaf_listener() as port:
        pass

    with pytest.raises(errors.CannotConnect, match=rf"cannot connect to 127\.0\.0\.1:{port}/app"):
        await connect(Target(dsn=f"postgresql://patcher@127.0.0.1:{port}/app"), application_name="test")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".invalid"])
async def test_an_unknown_host_is_named(host: str) -> None:
    """A misspelt host is told as such, also one that no resolver could be asked for."""

    with pytest.raises(errors.CannotConnect, match=f"host name '{host}' is not known"):
        await connect(Target(dsn=f"postgresql://patcher@{host}:5432/app"), application_name="test")


async def test_a_wrong_password_is_refused_and_shown_nowhere(database: Database) -> None:
    """The server's words reach the operator; the password reaches no message and no repr."""
    target = Target(dsn=database.target.dsn, password="guessed-in-vain")

    with pytest.raises(errors.CannotConnect, match="password authentication failed") as caught:
        await connect(target, application_name="test")

    shown = [str(caught.value), repr(caught.value), caught.value.explain(), str(caught.value.__cause__), repr(target)]
    assert not any("guessed-in-vain" in each for each in shown)


async def test_an_unknown_database_cannot_be_connected_to(database: Database) -> None:
    """A misspelt database is told in the server's words."""

    with pytest.raises(errors.CannotConnect, match='database "nowhere" does not exist'):
        await connect(database.target.with_database("nowhere"), application_name="test")


async def test_a_closed_database_is_told_from_a_dead_one(database: Database) -> None:
    """What `reopen` can cure has an error of its own, with the command."""
    database.server.admin_sql(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false")

    with pytest.raises(errors.ConnectionsRefused, match="is not currently accepting connections") as caught:
        await a_node(database.target)

    assert caught.value.advice.startswith("python -m downtime reopen")


async def test_a_name_with_several_addresses_is_tried_address_by_address(database: Database,
                                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    """`localhost` often is ::1 first, where the server does not listen: the next address is tried."""
    resolve = socket.getaddrinfo

    def six_first(host: str, port: int, **keywords: Any) -> list[Any]:
        six = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0))
        return [six, *resolve("127.0.0.1", port, **keywords)]

    monkeypatch.setattr(socket, "getaddrinfo", six_first)
    target = Target(dsn=database.target.dsn.replace("127.0.0.1", "localhost"), password=database.target.password)
    session = await a_node(target)

    try:
        assert (await session.execute("SELECT host(inet_server_addr())")).scalar == "127.0.0.1"
    finally:
        session.close()


async def test_a_resolver_that_never_answers_is_given_up_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead name server is part of what the deadline of connecting is for."""
    answer = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: (answer.wait(10) and []) or [])

    try:
        with pytest.raises(errors.DeadlineExceeded, match=r"no answer to resolve 'db.invalid' within 0.2 s"):
            await connect(Target(dsn="postgresql://patcher@db.invalid/app"), application_name="test",
                          connect_seconds=0.2)
    finally:
        answer.set()


# -- statements --------------------------------------------------------------------------------------------------

async def test_rows_come_by_column_name_with_the_command_tag(each_database: Database) -> None:
    """On every server version: rows as mappings, and what psql would print after them."""
    session = await a_node(each_database.target)
    try:
        changed = await session.execute("UPDATE account SET balance = 1 WHERE id <= 3 RETURNING id")
        nothing = await session.execute("SET work_mem = '1MB'")
    finally:
        session.close()

    assert (changed.rows, changed.status) == ([{"id": 1}, {"id": 2}, {"id": 3}], "UPDATE 3")
    assert (nothing.rows, nothing.status) == ([], "SET")


async def test_a_percent_sign_means_itself_without_parameters(database: Database) -> None:
    """The SQL of a patch goes to the server as the file has it."""
    session = await a_node(database.target)
    try:
        modulo = await session.execute("SELECT 7 % 4 AS rest, 'a%s' LIKE 'a%%' AS alike")
        with_parameters = await session.execute("SELECT %s AS given", ("100%",))
    finally:
        session.close()

    assert modulo.rows == [{"rest": 3, "alike": True}]
    assert with_parameters.scalar == "100%"


@pytest.mark.parametrize(("statement", "kind", "sqlstate"), [
    ("SELECT 1/0", errors.StatementFailed, "22012"),
    ("SELECT pg_sleep(30)", errors.StatementCancelled, "57014"),
    ("SELECT pg_read_file('/etc/hostname')", errors.PermissionDenied, "42501"),
    ("LOCK TABLE account IN ACCESS EXCLUSIVE MODE NOWAIT", errors.LockNotAvailable, "55P03"),
])
async def test_what_the_server_refuses_becomes_an_error_of_ours(database: Database, statement: str, kind: type,
                                                               sqlstate: str) -> None:
    """Every SQLSTATE the product reacts to has a class; all keep the server's code, and the session lives on."""
    database.connect("app").cursor().execute("SELECT 1 FROM account")
    session = await a_node(database.target, statement_timeout_seconds=1.0)
    try:
        with pytest.raises(errors.StatementFailed) as caught:
            async with session.transaction():
                await session.execute(statement)
        alive = (await session.execute("SELECT 1")).scalar
    finally:
        session.close()

    assert (type(caught.value), caught.value.sqlstate, alive) == (kind, sqlstate, 1)


async def test_a_mistake_is_placed_in_the_statement(database: Database) -> None:
    """Position, detail and hint of the server are kept for the message that names the line."""
    session = await a_node(database.target)
    try:
        with pytest.raises(errors.StatementFailed) as caught:
            await session.execute("SELECT 'ä',\n nonsense")
    finally:
        session.close()

    assert caught.value.position == len("SELECT 'ä',\n ") + 1
    assert 'column "nonsense" does not exist' in str(caught.value)


async def test_statements_wait_their_turn(database: Database) -> None:
    """Callers that do not know of each other may share a session."""
    session = await a_node(database.target)
    try:
        answers = await gatherResults([Deferred.fromCoroutine(session.execute("SELECT %s", (n,))) for n in range(5)])
    finally:
        session.close()

    assert [answer.scalar for answer in answers] == [0, 1, 2, 3, 4]


async def test_a_server_that_stops_answering_is_given_up_at_the_deadline(database: Database) -> None:
    """A network that is cut in the middle of a session says nothing: our own deadline ends the wait."""
    with Proxy("127.0.0.1", database.server.port) as proxy:
        session = await a_node(through(proxy, database))
        proxy.cut()
        with pytest.raises(errors.DeadlineExceeded, match=r"no answer to a statement within 0.3 s"):
            await session.execute("SELECT 1", deadline_seconds=0.3)

        assert session.closed


async def test_every_statement_has_a_deadline_behind_the_servers_own(database: Database) -> None:
    """Nobody has to remember it: it falls a little after the session's statement_timeout."""
    with Proxy("127.0.0.1", database.server.port) as proxy:
        session = await a_node(through(proxy, database), statement_timeout_seconds=0.1)
        proxy.cut()
        with pytest.raises(errors.DeadlineExceeded, match=r"no answer to a statement within 2.1 s"):
            await session.execute("SELECT 1")


async def test_a_network_that_comes_back_in_time_is_not_noticed(database: Database) -> None:
    """A short cut costs time and nothing else."""
    with Proxy("127.0.0.1", database.server.port) as proxy:
        session = await a_node(through(proxy, database))
        proxy.cut()
        answer = Deferred.fromCoroutine(session.execute("SELECT 42"))
        await pause(0.1)
        proxy.restore()
        try:
            assert (await answer).scalar == 42
        finally:
            session.close()


async def test_reset_all_returns_to_our_timeouts(database: Database) -> None:
    """A patch's RESET ALL does not take the deadline away."""
    session = await a_node(database.target, statement_timeout_seconds=7, settings={"lock_timeout": "5s"})
    try:
        await session.execute("SET statement_timeout = 0")
        await session.execute("RESET ALL")
        row = await session.execute("SELECT current_setting('statement_timeout') AS statement,"
                                    " current_setting('lock_timeout') AS lock")
    finally:
        session.close()

    assert row.rows == [{"statement": "7s", "lock": "5s"}]


# -- sessions that die -------------------------------------------------------------------------------------------

async def test_a_session_killed_while_idle_knows_it(each_database: Database) -> None:
    """`closed` turns True, nothing is logged as unhandled, and the next statement says what happened."""
    session = await a_node(each_database.target)
    with the_log() as events:
        each_database.admin_sql("SELECT pg_terminate_backend(%s)", (session.pid,))
        await until(lambda: session.closed, "noticing the end of an idle session")
        with pytest.raises(errors.ConnectionLost):
            await session.execute("SELECT 1")

    assert [event for event in events if event["log_level"] >= LogLevel.error] == []


async def test_a_session_killed_in_mid_statement_is_lost(each_database: Database) -> None:
    """Never Twisted's own ConnectionLost, which Buildbot answers by running the build again."""
    session = await a_node(each_database.target)
    sleeping = Deferred.fromCoroutine(session.execute("SELECT pg_sleep(30)"))
    await pause(0.05)
    each_database.admin_sql("SELECT pg_terminate_backend(%s)", (session.pid,))

    with pytest.raises(errors.ConnectionLost, match="terminating connection"):
        await sleeping
    with pytest.raises(errors.ConnectionLost):
        await session.execute("SELECT 1")
    session.close()


async def test_a_session_whose_connection_is_reset_is_lost(database: Database) -> None:
    """A reset in the middle of a statement is a lost session, whatever the socket called it."""
    with Proxy("127.0.0.1", database.server.port) as proxy:
        session = await a_node(through(proxy, database))
        sleeping = Deferred.fromCoroutine(session.execute("SELECT pg_sleep(30)"))
        await pause(0.05)
        proxy.drop()

        with pytest.raises(errors.ConnectionLost):
            await sleeping
        session.close()


async def test_closing_ends_the_statement_under_way(database: Database) -> None:
    """Its caller gets ConnectionLost, and the server ends the work; closing again changes nothing."""
    session = await a_node(database.target)
    sleeping = Deferred.fromCoroutine(session.execute("SELECT pg_sleep(30)"))
    await pause(0.05)
    session.close()
    session.close()

    with pytest.raises(errors.ConnectionLost):
        await sleeping
    await until(lambda: not database.admin_sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (session.pid,)),
                "the server ending the statement of a client that is gone")


# -- transactions ------------------------------------------------------------------------------------------------

async def test_transaction_awaits_the_work(each_database: Database) -> None:
    """What is done in the block is committed after it, not before it has run."""
    session = await a_node(each_database.target)
    try:
        async with session.transaction():
            await session.execute("INSERT INTO account (name) VALUES ('new')")
            during = each_database.admin_sql("SELECT count(*) FROM account WHERE name = 'new'")
    finally:
        session.close()

    assert (during, each_database.admin_sql("SELECT count(*) FROM account WHERE name = 'new'")) == ([(0,)], [(1,)])


async def test_an_exception_takes_the_transaction_back(database: Database) -> None:
    """Whatever it is, nothing is left and the session goes on."""
    session = await a_node(database.target)
    try:
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the transaction is what raises
            async with session.transaction():
                await session.execute("DELETE FROM upload")
                await session.execute("INSERT INTO account (name) VALUES ('new')")
                _ = 1 // 0
        left = (await session.execute("SELECT count(*) FROM account WHERE name = 'new'")).scalar
    finally:
        session.close()

    assert left == 0


async def test_a_transaction_that_failed_unnoticed_is_not_taken_for_committed(database: Database) -> None:
    """The server answers such a COMMIT with ROLLBACK and no error; we make one of it."""
    session = await a_node(database.target)
    try:
        with pytest.raises(errors.StatementFailed, match="COMMIT was answered by ROLLBACK"):  # noqa: PT012 - the transaction is what raises
            async with session.transaction():
                with pytest.raises(errors.StatementFailed):
                    await session.execute("SELECT 1/0")
    finally:
        session.close()


async def test_a_role_with_other_defaults_still_reads_and_writes(database: Database) -> None:
    """A transaction is read committed and may write, whatever the role's own settings are."""
    database.admin_sql(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    session = await a_node(database.target)
    try:
        async with session.transaction():
            await session.execute("INSERT INTO account (name) VALUES ('new')")
            level = (await session.execute("SHOW transaction_isolation")).scalar
    finally:
        session.close()

    assert level == "read committed"


async def test_a_transaction_whose_rollback_gets_no_answer_closes_the_session(database: Database) -> None:
    """The server rolls back when the connection goes; the first error is the one that is told."""
    with Proxy("127.0.0.1", database.server.port) as proxy:
        session = await a_node(through(proxy, database))
        with pytest.raises(KeyError, match="the work"):  # noqa: PT012 - the transaction is what raises
            async with session.transaction():
                proxy.cut()
                raise KeyError("the work")

        assert session.closed


# -- notices -----------------------------------------------------------------------------------------------------

async def test_notices_are_kept_up_to_a_bound_and_the_rest_counted(database: Database) -> None:
    """A patch that raises a million of them does not fill our memory or a log."""
    session = await a_node(database.target)
    try:
        await session.execute(f"DO $$ BEGIN FOR i IN 1..{KEPT_NOTICES + 5} LOOP RAISE NOTICE 'number %', i; END LOOP;"
                              " END $$")
        lines = session.notices.take()
        again = session.notices.take()
    finally:
        session.close()

    assert (lines[0], len(lines), lines[-1]) == ("NOTICE:  number 1", KEPT_NOTICES + 1, "… and 5 more")
    assert again == []


def test_notices_lose_their_line_ends() -> None:
    """A log puts them on lines of its own."""
    notices = Notices()
    notices.append("NOTICE:  hello\n")

    assert notices.take() == ["NOTICE:  hello"]


def test_no_timeout_is_rounded_down_to_never() -> None:
    """PostgreSQL takes 0 for "never"."""

    assert [milliseconds(seconds) for seconds in (0, 0.0001, 0.2, 60)] == ["1ms", "1ms", "200ms", "60000ms"]


# -- what a session begins with ----------------------------------------------------------------------------------

async def test_defaults_of_the_role_do_not_reach_our_sessions(each_database: Database) -> None:
    """Neither at the start nor after a patch's RESET ALL; without such a default nobody connects twice."""
    ours = {"idle_session_timeout": "0", "standard_conforming_strings": "on", "client_min_messages": "notice",
            "statement_timeout": "30s"}
    theirs = {"idle_session_timeout": "1h", "standard_conforming_strings": "off", "client_min_messages": "error",
              "statement_timeout": "1h"}
    if each_database.server.installation.version >= 17:
        ours["transaction_timeout"], theirs["transaction_timeout"] = "0", "1h"
    each_database.server.admin_sql("".join(
        f"ALTER ROLE patcher IN DATABASE {each_database.name} SET {name} = '{value}';"
        for name, value in theirs.items()))
    node = await a_node(each_database.target)
    try:
        await node.execute("RESET ALL")
        found = {name: (await node.execute(f"SHOW {name}")).scalar for name in ours}
    finally:
        node.close()

    assert found == ours


async def test_what_the_patch_makes_of_the_session_is_known_without_asking(database: Database) -> None:
    """The server reports it with its answers: how literals are read, the encoding, an open or failed transaction."""
    def seen() -> tuple[str, str, bool]:
        return node.standard_conforming_strings, node.client_encoding, node.in_transaction

    node = await a_node(database.target)
    try:
        states = [seen()]
        for statement in ("SET standard_conforming_strings = off", "SET client_encoding = 'LATIN1'", "RESET ALL",
                          "BEGIN"):
            await node.execute(statement)
            states.append(seen())
        with pytest.raises(errors.StatementFailed):
            await node.execute("SELECT 1/0")
        states.append(seen())
    finally:
        node.close()

    assert states == [("on", "UTF8", False), ("off", "UTF8", False), ("off", "LATIN1", False), ("on", "UTF8", False),
                      ("on", "UTF8", True), ("on", "UTF8", True)]


async def test_an_attempt_that_has_timed_out_is_forgotten() -> None:
    """Every rehearsal tries a closed gate; its frames, evidence and all, stayed in Twisted's one exception for good."""
    CONNECTION_DONE.__traceback__ = None
    with a_deaf_listener() as port, pytest.raises(errors.DeadlineExceeded):
        await connect(Target(dsn=f"postgresql://nobody@127.0.0.1:{port}/x"), application_name="test",
                      connect_seconds=0.05)

    assert CONNECTION_DONE.__traceback__ is None

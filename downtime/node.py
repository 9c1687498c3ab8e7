"""One session on one PostgreSQL server, with real deadlines and errors in our own words.

The only module that knows txpostgres and psycopg2. What they leave open is closed here, once:

* `connect` has a deadline. libpq's asynchronous connect ignores `connect_timeout` and resolves names in the
  reactor's thread; we hand over addresses (`downtime.parameters`) and close the socket when the time is up.
* Every statement has two deadlines: the server's own (`statement_timeout`, given as a start-up option so that a
  patch's `RESET ALL` returns to it) and ours, which closes the connection. A closed connection is rolled back by
  the server: at once if it is idle, within `client_connection_check_interval` if it is busy.
* A transaction awaits the work done in it. txpostgres's `runInteraction` commits before a coroutine has run.
* Every SQLSTATE and every lost connection becomes an error of `downtime.errors`. Twisted's own `ConnectionLost`
  must never escape: Buildbot answers it by running the whole build again.

Nothing here blocks the reactor; in particular nothing uses libpq's cancel request, which does. To cancel a
statement, another session calls `pg_cancel_backend`: see `downtime.outage`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import psycopg2
import psycopg2.extensions
from psycopg2 import sql as composed
from twisted.internet import error as twisted_errors
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.python.failure import Failure
from txpostgres import txpostgres

from downtime import errors, parameters, sqlstates
from downtime.notices import Notices
from downtime.prepared import Prepared
from downtime.target import Target
from downtime.translation import translate

Row = dict[str, Any]
Sql: TypeAlias = str | composed.Composable
NO_TRANSACTION = {psycopg2.extensions.TRANSACTION_STATUS_IDLE, psycopg2.extensions.TRANSACTION_STATUS_UNKNOWN}

CONNECT_SECONDS = 5.0      # longer: a dead host holds up the refusal; shorter: a busy server is called dead
FIRST_WITH_TRANSACTION_TIMEOUT = 170000
CLIENT_GRACE_SECONDS = 2.0  # how much later than the server's statement_timeout our own deadline falls


@dataclass(frozen=True, slots=True)
class Result:
    """What a statement returned: its rows by column name, and the server's command tag (`UPDATE 3`)."""

    rows: list[Row]
    status: str

    @property
    def scalar(self) -> Any:
        """The first column of the only row."""
        (row,) = self.rows
        return next(iter(row.values()))


class _LosesAnew:
    """Twisted has one exception for all connections that end. Thrown into a coroutine it would keep that one's frames,
    and those of every earlier one, for as long as the process lives."""

    def connectionLost(self, reason: Failure) -> None:
        if isinstance(reason.value, twisted_errors.ConnectionClosed):
            reason = Failure(type(reason.value)(*reason.value.args))
        super().connectionLost(reason)  # type: ignore[misc]


class _Cursor(_LosesAnew, txpostgres.Cursor):  # type: ignore[misc]
    def _handleCancellation(self, failure: Any) -> Any:
        # txpostgres turns every 57014 into a bare CancelledError and loses the server's words
        return failure

    def _cancel(self, deferred: Any) -> None:
        self._connection.close()  # its own way is libpq's cancel request, which blocks the reactor


class _Connection(_LosesAnew, txpostgres.Connection):  # type: ignore[misc]
    """A txpostgres connection that says when it was lost while idle, instead of logging "Unhandled Error"."""

    cursorFactory = _Cursor

    def doRead(self) -> None:
        # libpq that connects may have closed its socket when it has read: txpostgres would go on watching that
        (super().doRead if self._pollingD is None else super(txpostgres.Connection, self).doRead)()

    def close(self) -> None:
        try:
            super().close()
        except OSError:  # libpq has closed a socket that epoll was watching; now Twisted no longer believes it does
            super().close()

    def continuePolling(self, swallowErrors: bool = False) -> None:
        if self._pollingD is not None:
            super().continuePolling(swallowErrors)
            return
        try:
            state = self.pollable().poll()
        except psycopg2.Error:
            self.close()
            return
        if state != psycopg2.extensions.POLL_OK:
            super().continuePolling(swallowErrors)


class Node:
    """One open session. Make it with `connect`. It runs one statement at a time; further callers wait their turn."""

    def __init__(self, connection: _Connection, target: Target, reactor: Any, *, deadline_seconds: float | None
                 ) -> None:
        self._connection = connection
        self._deadline_seconds = deadline_seconds
        self.reactor = reactor
        self.target = target
        self.label = target.label
        self.pid: int = connection.get_backend_pid()
        self.notices = Notices()
        self._turn = DeferredLock()
        self._prepared: dict[str, str] = {}  # what to send for which statement
        connection.pollable().notices = self.notices

    @property
    def closed(self) -> bool:
        return bool(self._connection.pollable().closed)

    @property
    def server_version(self) -> int:
        """As libpq gives it: 150020 is 15.20."""
        return int(self._connection.pollable().server_version)

    @property
    def standard_conforming_strings(self) -> str:
        """`on` or `off`, as the server last reported it: whether a backslash in a plain literal means itself."""
        return self._reported("standard_conforming_strings")

    @property
    def client_encoding(self) -> str:
        """As the server last reported it."""
        return self._reported("client_encoding")

    def _reported(self, name: str) -> str:
        if self.closed:
            raise errors.ConnectionLost(node=self.label, reason="the session had already ended")
        return str(self._connection.pollable().get_parameter_status(name))

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open on this session, a failed one included."""
        return int(self._connection.pollable().info.transaction_status) not in NO_TRANSACTION

    async def prepare(self, statement: str, types: Mapping[str, str]) -> None:
        """Have the server plan a statement now: `execute` then runs it, given the same text, without planning.

        `types` are those of its named parameters, others may be among them. Raises NodeError.
        """
        prepared = Prepared(name=f"fastdowntime_{len(self._prepared) + 1}", statement=statement, types=types)
        await self.execute(prepared.preparation)
        self._prepared[statement] = prepared.execution

    async def execute(self, statement: Sql, parameters: Sequence[Any] | Mapping[str, Any] | None = None, *,
                      deadline_seconds: float | None = None) -> Result:
        """Run one statement and return all its rows.

        Without `parameters` the text goes to the server as it is: a `%` means itself. After `deadline_seconds`
        the connection is closed and DeadlineExceeded raised; by default that is CLIENT_GRACE_SECONDS behind the
        statement_timeout the session began with. Raises NodeError and its subclasses, nothing else.
        """
        seconds = self._deadline_seconds if deadline_seconds is None else deadline_seconds
        await self._turn.acquire()
        try:
            if self.closed:
                raise errors.ConnectionLost(node=self.label, reason="the session had already ended")
            cursor = self._connection.cursor()
            text = self._prepared.get(statement, statement) if isinstance(statement, str) else statement
            await _within(self.reactor, cursor.execute(text, parameters), seconds, self._connection, self.label,
                          "a statement")
            return _result(cursor, self.label)
        finally:
            self._turn.release()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Run the block in one transaction: COMMIT at its end, ROLLBACK on any exception.

        Raises ConnectionLost where the outcome of the COMMIT is unknown; ask the ledger from another session.
        """
        # a role may have another default
        await self.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
        try:
            yield
        except BaseException:
            await self._roll_back()
            raise
        done = await self.execute("COMMIT")
        if done.status != "COMMIT":  # the server answers ROLLBACK when the transaction had failed unnoticed
            raise errors.StatementFailed(node=self.label, reason=f"COMMIT was answered by {done.status}",
                                         sqlstate=sqlstates.IN_FAILED_SQL_TRANSACTION)

    async def _roll_back(self) -> None:
        try:
            await self.execute("ROLLBACK", deadline_seconds=CLIENT_GRACE_SECONDS)
        except errors.NodeError:
            self.close()  # the server rolls back when the connection goes

    def close(self) -> None:
        """End the session. Safe at any time, also while a statement runs: its caller gets ConnectionLost."""
        self._connection.close()


async def connect(target: Target, *, application_name: str, statement_timeout_seconds: float | None = 30.0,
                  settings: Mapping[str, str] | None = None, connect_seconds: float = CONNECT_SECONDS,
                  reactor: Any = None) -> Node:
    """Open a session.

    `settings` are run-time parameters given at start-up (milliseconds where PostgreSQL counts in them), on top of
    the timeouts every session of ours has; `statement_timeout_seconds=None` is for what must outlive us and have a
    limit of its own. Raises CannotConnect, ConnectionsRefused or DeadlineExceeded.
    """
    if reactor is None:
        from twisted.internet import reactor

    async def opened(**more: str) -> Node:
        keywords = await parameters.of_session(
            target, application_name=application_name, statement_timeout_seconds=statement_timeout_seconds,
            settings={**(settings or {}), **more}, resolve_seconds=connect_seconds, reactor=reactor)
        return await open_session(
            keywords, target, connect_seconds=connect_seconds, reactor=reactor, deadline_seconds=(
                None if statement_timeout_seconds is None else statement_timeout_seconds + CLIENT_GRACE_SECONDS))

    node = await opened()
    if await _has_a_transaction_timeout(node):
        node.close()
        return await opened(transaction_timeout="0")
    return node


async def open_session(keywords: Mapping[str, Any], target: Target, *, connect_seconds: float,
                       deadline_seconds: float | None, reactor: Any) -> Node:
    """A session with what libpq is given: `connect` for what is a server, `downtime.pooler` for what looks like one."""
    connection, label = _Connection(reactor=reactor), target.label
    try:
        await _within(reactor, connection.connect(**keywords), connect_seconds, connection, label, "connect")
        return Node(connection, target, reactor, deadline_seconds=deadline_seconds)
    except errors.NodeError as error:
        if connection.pollable() is not None:
            connection.close()  # it stays in the reactor otherwise
        if isinstance(error, errors.ConnectionsRefused | errors.DeadlineExceeded):
            raise
        raise errors.CannotConnect(node=label, reason=error.facts["reason"]) from error


async def _has_a_transaction_timeout(node: Node) -> bool:
    """Whether a default of the role or the database would end the session in mid-transaction."""
    if node.server_version < FIRST_WITH_TRANSACTION_TIMEOUT:
        return False  # and would refuse a session that names it
    try:
        return bool((await node.execute("SHOW transaction_timeout", deadline_seconds=CONNECT_SECONDS)).scalar != "0")
    except errors.NodeError:
        node.close()
        raise


def _result(cursor: Any, label: str) -> Result:
    try:
        return Result(rows=_rows(cursor), status=cursor.statusmessage or "")
    except psycopg2.InterfaceError as error:  # closed by somebody between the server's answer and us
        raise translate(error, label) from error


def _rows(cursor: Any) -> list[Row]:
    if cursor.description is None:
        return []
    names = [column.name for column in cursor.description]
    return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]


async def _within(reactor: Any, answer: Deferred[Any], seconds: float | None, connection: _Connection, label: str,
                  what: str) -> Any:
    """Await the answer, or close the connection when the time is up (closing fires the Deferred)."""
    expired = False

    def expire() -> None:
        nonlocal expired
        expired = True
        connection.close()

    timer = reactor.callLater(seconds, expire) if seconds is not None else None
    try:
        return await answer
    except (psycopg2.Error, twisted_errors.ConnectionClosed, txpostgres.UnexpectedPollResult, CancelledError) as error:
        if expired:
            raise errors.DeadlineExceeded(node=label, what=what, seconds=seconds) from error
        raise translate(error, label) from error
    finally:
        if timer is not None and timer.active():
            timer.cancel()

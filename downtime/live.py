"""Apply a live patch: outside any gate, while clients work, one statement at a time.

A statement that can runs in a transaction of its own together with its row in the journal, under a short lock
timeout and with retries: a waiting lock makes every later client wait behind it. One that cannot (CREATE INDEX
CONCURRENTLY) runs by itself, may wait long, and is journalled afterwards; those of them that would lock clients out
while they wait or work (VACUUM FULL) are refused by `downtime.statements`. A second run goes on behind the last
journalled statement. An index that a failed run left invalid is named with the command that removes it.

The row in the journal is written as in a cold patch: with our timeouts, role and search_path put back first.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from downtime import apply, deployment_lock, errors, ledger, preflight, safety, statement_kinds
from downtime.apply import AppliedStatement, Deployment, was_cancelled
from downtime.node import Node, connect
from downtime.parameters import milliseconds
from downtime.ready import Objections
from downtime.statements import Statement
from downtime.target import Target

LOG = Logger()

LOCK_SECONDS = 0.5           # what clients may feel of one attempt; shorter wins less often
ATTEMPTS = 20
BACK_OFF_SECONDS = (0.1, 5.0)  # first and longest pause between attempts; half of it is chance
CANCEL_EVERY_SECONDS = 0.1
SHORT_PATCH = 200  # statements told of one by one; of longer patches every hundredth part: a line costs a log 10 ms
STATEMENT_SECONDS = 4 * 3600.0  # an index on a large table takes its time; without a limit a hang is for ever

# Invalid indexes that nobody is building. Takes ACCESS SHARE on catalogs.
SELECT_INVALID_INDEXES = """
SELECT i.indexrelid::regclass::text AS index, i.indrelid::regclass::text AS table
  FROM pg_catalog.pg_index i
 WHERE NOT i.indisvalid
   AND i.indexrelid NOT IN (SELECT index_relid FROM pg_catalog.pg_stat_progress_create_index)
   AND EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = i.indexrelid AND c.relkind = 'i')
"""

# Finished statements of an earlier run, and how many there are of other bytes under the same name.
SELECT_JOURNAL = "SELECT statement, sha256 FROM fastdowntime.live_journal WHERE id = %s"
INSERT_JOURNAL = "INSERT INTO fastdowntime.live_journal (id, sha256, statement) VALUES (%s, %s, %s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a live application did; `resumed` counts statements that an earlier run had finished."""

    started_at: datetime
    seconds: float
    statements: tuple[AppliedStatement, ...]
    resumed: int
    retries: int


class InvalidIndex(errors.Refused):
    """An index that no query uses and every write pays for: an earlier CONCURRENTLY failed."""

    happened = "invalid index left behind: {listing}"
    next_step = "{commands}; then run the deployment again"


class EditedHalfWay(errors.Refused):
    """The file was changed after an earlier run had finished some of its statements."""

    happened = "{path} was edited after {count} of its statements were applied"
    next_step = ("restore the file, or take those statements back by hand and DELETE their rows from"
                 " fastdowntime.live_journal as its owner")


class LivePatchFailed(errors.DowntimeError):
    """A statement failed; the ones before it are in and journalled, clients were never shut out."""

    happened = "{reason}; {finished} of {count} statements are in and will not be run again{invalid}"
    left = errors.Left.OPEN
    next_step = "put right what it names, then run the deployment again: it goes on at the failed statement"


class LiveApplication:
    """One live patch on one database: `await run()`, and `abort(reason)` to end it between or in statements."""

    def __init__(self, target: Target, deployment: Deployment, *, progress: Callable[[str], None],
                 reactor: Any = None) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._target = target
        self._deployment = deployment
        self._progress = progress
        self._reactor = reactor
        self._abort_reason: str | None = None
        self._cancelling: Deferred[None] | None = None
        self._writing_down = False
        self._worker: Node | None = None
        self._control: Node | None = None
        self._retries = 0
        self._applied: list[AppliedStatement] = []
        self._room = apply.MOST_NOTICES
        self._tell_every = 1 if len(deployment.statements) <= SHORT_PATCH else len(deployment.statements) // 100

    def abort(self, reason: str) -> None:
        """End it: the statement under way is cancelled and rolled back; finished ones stay."""
        if self._abort_reason is None:
            self._abort_reason = reason
            self._cancelling = Deferred.fromCoroutine(self._cancel_until_over()).addErrback(_note)

    async def _cancel_until_over(self) -> None:
        """Again and again: one cancel request may fall between two statements."""
        while self._worker is not None and self._control is not None and not self._control.closed:
            if self._worker.closed:
                return  # it is over
            if not self._writing_down:
                await self._control.execute("SELECT pg_catalog.pg_cancel_backend(%s)", (self._worker.pid,))
            await deferLater(self._reactor, CANCEL_EVERY_SECONDS, lambda: None)

    async def run(self, objections: Objections) -> Report:
        """Apply it. Raises Refused (nothing was run), LivePatchFailed, Aborted or NodeError."""
        try:
            self._control = await connect(self._target, application_name="fastdowntime live control",
                                          reactor=self._reactor)
            self._worker = await connect(
                self._target, application_name=f"fastdowntime live {self._deployment.patch.id}",
                statement_timeout_seconds=STATEMENT_SECONDS, reactor=self._reactor)
            await deployment_lock.take(self._worker)
            await self._preflight(self._control, objections)
            return await self._apply(self._worker)
        finally:
            for node in (self._worker, self._control):
                if node is not None:
                    node.close()
            if self._cancelling is not None:
                await self._cancelling

    async def _preflight(self, node: Node, objections: Objections) -> None:
        reasons = preflight.judge_server(await preflight.observe(node), gate="")
        if not reasons:
            reasons = list(objections(await ledger.read(node)))
        if reasons:
            raise preflight.PreflightRefused(reasons)
        if invalid := await invalid_indexes(node):
            raise InvalidIndex(listing=", ".join(f"{i} on {table}" for i, table in invalid),
                               commands="; ".join(f"DROP INDEX CONCURRENTLY {i}" for i, _ in invalid))

    async def _apply(self, node: Node) -> Report:
        patch, statements = self._deployment.patch, self._deployment.statements
        started_at, began = datetime.now(UTC), monotonic()
        finished = await self._finished(node)
        if finished:
            self._progress(f"{len(finished)} of {len(statements)} statements were done by an earlier run")
        if statements:
            apply.refuse_misreading(node, patch, statements[0])
        for number, statement in enumerate(statements, start=1):
            if number not in finished:
                await self._run(node, number, statement)
            elif statement.kind == statement_kinds.SET:
                await self._set_again(node, statement)
        seconds = monotonic() - began

        async def record() -> None:
            await safety.put_back(node, first=safety.OWN_AGAIN)
            await ledger.write(node, patch_id=patch.id, sha256=patch.sha256, lane=patch.lane, commit=patch.commit,
                               started_at=started_at, seconds=seconds, origin=self._deployment.origin)
        try:
            await self._write_down(node, record)
        except errors.NodeError as error:
            raise LivePatchFailed(reason=f"the ledger was not written: {error}", finished=len(statements),
                                  count=len(statements), invalid="") from error
        return Report(started_at=started_at, seconds=seconds, statements=tuple(self._applied),
                      resumed=len(finished), retries=self._retries)

    async def _finished(self, node: Node) -> set[int]:
        """Positions of the statements that an earlier run has finished. Raises EditedHalfWay."""
        patch = self._deployment.patch
        rows = (await node.execute(SELECT_JOURNAL, (patch.id,))).rows
        if any(row["sha256"] != patch.sha256 for row in rows):
            raise EditedHalfWay(path=patch.path, count=len(rows))
        return {row["statement"] for row in rows}

    async def _set_again(self, node: Node, statement: Statement) -> None:
        """What an earlier run has set for its session (search_path, role) the later statements count on."""
        async with node.transaction():
            await apply.run_statement(node, self._deployment, statement, room=0)
            await apply.put_back(node, self._deployment.patch, statement)

    async def _run(self, node: Node, number: int, statement: Statement) -> None:
        count = len(self._deployment.statements)
        told = number % self._tell_every == 0
        if told:
            self._progress(f"statement {number} of {count}, line {statement.line}: {statement.kind}")
        try:
            self._go_on()
            run = self._in_transaction if statement.transactional else self._by_itself
            applied = await run(node, number, statement)
        except (errors.Aborted, errors.NeedsOperator):
            raise
        except errors.DowntimeError as error:
            if self._abort_reason is not None and was_cancelled(error):
                raise errors.Aborted(phase=f"statement {number} of {count}", reason=self._abort_reason,
                                     left=errors.Left.OPEN) from error
            raise await self._failed(error, number) from error
        self._applied.append(applied)
        self._room = max(0, self._room - len(applied.notices))
        if told:
            self._progress(f"    {applied.status} in {applied.seconds:.3f} s")

    async def _in_transaction(self, node: Node, number: int, statement: Statement) -> AppliedStatement:
        pause, longest = BACK_OFF_SECONDS
        for attempt in range(1, ATTEMPTS + 1):
            self._go_on()
            try:
                async with node.transaction():
                    await node.execute(f"SET LOCAL lock_timeout = '{milliseconds(LOCK_SECONDS)}'")
                    applied = await apply.run_statement(node, self._deployment, statement, room=self._room)
                    await self._journal(node, number, statement)
                return applied
            except errors.LockNotAvailable:
                if attempt == ATTEMPTS:
                    raise
            self._retries += 1
            self._progress(f"    the lock was not to be had within {LOCK_SECONDS:g} s; attempt {attempt + 1}"
                           f" of {ATTEMPTS} follows")
            await deferLater(self._reactor, pause * random.uniform(0.5, 1.0), lambda: None)
            pause = min(pause * 2, longest)
        raise AssertionError("the last attempt returns or raises")

    async def _by_itself(self, node: Node, number: int, statement: Statement) -> AppliedStatement:
        applied = await apply.run_statement(node, self._deployment, statement, room=self._room)
        await self._write_down(node, lambda: self._journal(node, number, statement))
        return applied

    async def _write_down(self, node: Node, write: Callable[[], Awaitable[None]]) -> None:
        """What was done is written down, abort or not; a cancel request under way may still hit it once."""
        self._writing_down = True
        try:
            for last in (False, True):
                try:
                    async with node.transaction():
                        await write()
                    return
                except errors.StatementCancelled:
                    if last:
                        raise
        finally:
            self._writing_down = False

    async def _journal(self, node: Node, number: int, statement: Statement) -> None:
        """In a transaction, whatever the patch has set: role, search_path, timeouts. Raises PatchFailed or NodeError.

        An author's SET LOCAL and ours are gone when the transaction ends; what was SET for the session, but for the
        timeouts, holds for the next statement.
        """
        patch = self._deployment.patch
        await apply.put_back(node, patch, statement, first=safety.OWN_AGAIN)
        await node.execute(INSERT_JOURNAL, (patch.id, patch.sha256, number))

    async def _failed(self, error: errors.DowntimeError, number: int) -> LivePatchFailed:
        invalid = ""
        if self._control is not None and not self._control.closed:
            found = await invalid_indexes(self._control)
            invalid = "".join(f"; index {i} on {table} is invalid: DROP INDEX CONCURRENTLY {i}" for i, table in found)
        return LivePatchFailed(reason=str(error), finished=number - 1, count=len(self._deployment.statements),
                               invalid=invalid)

    def _go_on(self) -> None:
        if self._abort_reason is not None:
            raise errors.Aborted(phase="applying live", reason=self._abort_reason, left=errors.Left.OPEN)


async def invalid_indexes(node: Node) -> list[tuple[str, str]]:
    """Invalid indexes that nobody is building, each with its table; names ready for SQL."""
    return [(row["index"], row["table"]) for row in (await node.execute(SELECT_INVALID_INDEXES)).rows]


def _note(failure: Any) -> None:
    LOG.warn("cancelling a live statement: {error}", error=failure.value)

"""The statements of a live patch, one after the other, each with its row in the journal; then the ledger row."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

from downtime import apply, errors, indexes, ledger, live_journal, safety, standalone, statement_kinds
from downtime.apply import AppliedStatement, Deployment, PatchFailed, was_cancelled
from downtime.index_progress import IndexProgress
from downtime.live_abort import LiveAbort
from downtime.live_journal import Journal
from downtime.lock_waiting import LockWaiting
from downtime.measured_lane import Measured, MeasuredCold
from downtime.measuring import Measuring
from downtime.node import Node
from downtime.parameters import milliseconds
from downtime.settings.sections import Live
from downtime.standalone import Before, Standing
from downtime.statements import Statement

SHORT_PATCH = 200  # statements told of one by one; of longer patches every hundredth part: a line costs a log 10 ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a live application did."""

    started_at: datetime
    seconds: float             # without what was spent measuring
    statements: tuple[AppliedStatement, ...]
    resumed: int               # statements that were in already: finished by an earlier run, or found done
    retries: int
    measuring_seconds: float = 0.0
    invalid: tuple[str, ...] = ()  # indexes that are invalid behind it, and not by its doing


class LivePatchFailed(errors.DowntimeError):
    """A statement failed; the ones before it are in and journalled, clients were never shut out."""

    happened = "{reason}; {finished} of {count} statements are in and will not be run again{invalid}"
    left = errors.Left.OPEN
    next_step = "put right what it names, then run the deployment again: it goes on at the failed statement"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """What a course has from the live application it belongs to."""

    deployment: Deployment
    rules: Live
    progress: Callable[[str], None]
    summary: Callable[[str], None]
    abort: LiveAbort
    measured: Measured | None


class Course:
    """One run of the statements that are not in the journal."""

    def __init__(self, ways: Ways, worker: Node, control: Node, journal: Journal) -> None:
        self._ways = ways
        self._deployment = ways.deployment
        self._node = worker
        self._control = control
        self._journal = journal
        self._finished = len(journal.finished)
        self._found_done = 0
        self._applied: list[AppliedStatement] = []
        self._room = apply.MOST_NOTICES
        self._measuring = Measuring(worker, control) if ways.measured is not None else None
        self._waiting = LockWaiting(worker, control, rules=ways.rules, progress=ways.progress, go_on=ways.abort.go_on)

    async def run(self) -> Report:
        """Raises LivePatchFailed, MeasuredCold, Aborted or NeedsOperator."""
        statements, started_at, began = self._deployment.statements, datetime.now(UTC), monotonic()
        if self._finished:
            self._ways.progress(f"{self._finished} of {len(statements)} statements were done by an earlier run")
        if statements:
            apply.refuse_misreading(self._node, self._deployment.patch, statements[0])
        for number, statement in enumerate(statements, start=1):
            await self._guarded(number, statement)
        spent = self._measuring.seconds if self._measuring is not None else 0.0
        seconds = monotonic() - began - spent
        await self._record(started_at, seconds)
        invalid = tuple(f"index {each} is invalid: {each.cure}" for each in await indexes.invalid(self._control))
        for line in invalid:
            self._ways.progress(f"warning: {line}")
        return Report(started_at=started_at, seconds=seconds, statements=tuple(self._applied), invalid=invalid,
                      resumed=len(self._journal.finished) + self._found_done, retries=self._waiting.retries,
                      measuring_seconds=spent)

    async def _record(self, started_at: datetime, seconds: float) -> None:
        patch, count = self._deployment.patch, len(self._deployment.statements)

        async def record() -> None:
            await safety.put_back(self._node, first=safety.OWN_AGAIN)
            await ledger.write(self._node, patch_id=patch.id, sha256=patch.sha256, lane=patch.lane,
                               commit=patch.commit, started_at=started_at, seconds=seconds,
                               origin=self._deployment.origin)
        try:
            await self._write_down(record)
        except errors.NodeError as error:
            raise LivePatchFailed(reason=f"the ledger was not written: {error}", finished=count, count=count,
                                  invalid="") from error

    async def _guarded(self, number: int, statement: Statement) -> None:
        """One statement, with every way it may fail told as a failure of the live patch."""
        count = len(self._deployment.statements)
        try:
            self._ways.abort.go_on()
            if number not in self._journal.finished:
                await self._run(number, statement)
                self._finished += 1
            elif statement.kind == statement_kinds.SET:
                await self._set_again(statement)
        except (errors.Aborted, errors.NeedsOperator, MeasuredCold):
            raise
        except errors.DowntimeError as error:
            reason = self._ways.abort.reason
            if reason is not None and was_cancelled(error):
                raise errors.Aborted(phase=f"statement {number} of {count}", left=errors.Left.OPEN,
                                     reason=f"{reason}{await self._what_is_left()}") from error
            raise LivePatchFailed(reason=str(error), finished=self._finished, count=count,
                                  invalid=await self._what_is_left()) from error

    async def _set_again(self, statement: Statement) -> None:
        """What an earlier run has set for its session (search_path, role) the later statements count on."""
        async with self._node.transaction():
            await apply.run_statement(self._node, self._deployment, statement, room=0)
            await apply.put_back(self._node, self._deployment.patch, statement)

    async def _run(self, number: int, statement: Statement) -> None:
        told = self._is_told(number)
        if told:
            self._ways.progress(f"statement {number} of {len(self._deployment.statements)}, line {statement.line}: "
                                f"{statement.kind}")
        applied = await (self._in_transaction if statement.transactional else self._by_itself)(number, statement)
        if applied is None:
            self._found_done += 1
            return
        self._applied.append(applied)
        self._room = max(0, self._room - len(applied.notices))
        if told:
            self._ways.progress(f"    {applied.status} in {applied.seconds:.3f} s")

    async def _in_transaction(self, number: int, statement: Statement) -> AppliedStatement:
        async def attempt() -> AppliedStatement:
            async with self._node.transaction():
                await self._node.execute(f"SET LOCAL lock_timeout = '{milliseconds(self._ways.rules.lock_seconds)}'")
                if self._measuring is not None:
                    await self._measuring.begin()
                applied = await apply.run_statement(self._node, self._deployment, statement, room=self._room)
                await self._check_deferred(statement)
                if self._measuring is not None and self._ways.measured is not None:
                    applied = await self._measuring.after(applied)
                    self._ways.measured.judge(applied, finished=self._finished)
                await self._journalled(number, statement)
            return applied
        return await self._waiting.patiently(attempt, path=self._deployment.patch.path, line=statement.line)

    async def _check_deferred(self, statement: Statement) -> None:
        """What COMMIT would find and do is found and done here, with the patch's own role and search_path."""
        try:
            await self._node.execute(f"{apply.behind(statement)}SET CONSTRAINTS ALL IMMEDIATE")
        except errors.LockNotAvailable:
            raise
        except errors.StatementFailed as error:
            raise PatchFailed.at(self._deployment.patch, statement, error) from error

    async def _by_itself(self, number: int, statement: Statement) -> AppliedStatement | None:
        """Outside transactions. None where it was found done."""
        path, line = self._deployment.patch.path, statement.line
        if statement.kind == statement_kinds.DETACH_CONCURRENTLY:
            return await self._waiting.patiently(lambda: self._detach(number, statement), path=path, line=line)
        return await self._waiting.patiently(lambda: self._once(number, statement), path=path, line=line,
                                             may_wait_long=True)

    async def _once(self, number: int, statement: Statement) -> AppliedStatement | None:
        """One attempt; what it leaves when it fails is dropped behind it, or before the next one."""
        before = await self._look(number, statement)
        if before.standing is Standing.DONE:
            await self._write_down(lambda: self._journalled(number, statement))
            return None
        return await self._alone(number, statement, before)

    async def _detach(self, number: int, statement: Statement) -> AppliedStatement | None:
        """One attempt; what it leaves when it fails is taken up by the next one."""
        before = await self._look(number, statement)
        if before.standing is Standing.PENDING:
            self._ways.progress("    the partition is half detached: FINALIZE")
            return await self._finalize(number, standalone.finalizing(statement))
        if before.standing is Standing.DONE:
            await self._write_down(lambda: self._journalled(number, statement))
            return None
        return await self._alone(number, statement, before, lock_seconds=self._ways.rules.lock_seconds)

    async def _finalize(self, number: int, statement: Statement) -> AppliedStatement:
        async with self._node.transaction():
            await self._node.execute(f"SET LOCAL lock_timeout = '{milliseconds(self._ways.rules.lock_seconds)}'")
            if self._measuring is not None:
                await self._measuring.begin()
            applied = await apply.run_statement(self._node, self._deployment, statement, room=self._room)
            if self._measuring is not None:
                applied = await self._measuring.after(applied)
            await self._journalled(number, statement)
        return applied

    async def _look(self, number: int, statement: Statement) -> Before:
        before = await standalone.look(self._node, statement, number, self._journal)
        if before.remark:
            self._ways.progress(f"    {before.remark}")
        return before

    async def _alone(self, number: int, statement: Statement, before: Before, *, lock_seconds: float | None = None
                     ) -> AppliedStatement:
        await self._write_down(lambda: self._begun(number, statement, before))
        if self._measuring is not None:
            await self._measuring.begin_alone(statement)
        progress = IndexProgress(self._node, self._control, log=self._ways.progress, summary=self._ways.summary)
        try:
            async with progress.shown(), standalone.waiting_at_most(self._node, lock_seconds):
                applied = await apply.run_statement(self._node, self._deployment, statement, room=self._room)
        except errors.DowntimeError:
            await self._clean_up(statement, before)
            raise
        if self._measuring is not None:
            applied = await self._measuring.after_alone(applied)
        await self._write_down(lambda: self._journalled(number, statement))
        return applied

    async def _clean_up(self, statement: Statement, before: Before) -> None:
        """What cannot be dropped now is named in the error, and dropped by the next run."""
        try:
            with self._ways.abort.spared():
                for name in await standalone.clean_up(self._node, statement, builds=before.builds):
                    self._ways.progress(f"    {name} was left invalid: dropped")
        except errors.NodeError as error:
            self._ways.progress(f"    what it left could not be dropped: {error}")

    async def _write_down(self, write: Callable[[], Awaitable[None]]) -> None:
        """What was done is written down, abort or not; a cancel request under way may still hit it once."""
        with self._ways.abort.spared():
            for last in (False, True):
                try:
                    async with self._node.transaction():
                        await write()
                    return
                except errors.StatementCancelled:
                    if last:
                        raise

    async def _begun(self, number: int, statement: Statement, before: Before) -> None:
        patch = self._deployment.patch
        await apply.put_back(self._node, patch, statement, first=safety.OWN_AGAIN)
        await live_journal.begin(self._node, patch, number, builds=before.builds)

    async def _journalled(self, number: int, statement: Statement) -> None:
        """In a transaction, whatever the patch has set: role, search_path, timeouts. Raises PatchFailed or NodeError.

        An author's SET LOCAL and ours are gone when the transaction ends; what was SET for the session, but for the
        timeouts, holds for the next statement.
        """
        patch = self._deployment.patch
        if reason := await safety.put_back(self._node, first=safety.OWN_AGAIN):
            raise PatchFailed(path=patch.path, line=statement.line, reason=reason)
        await live_journal.finish(self._node, patch, number)

    async def _what_is_left(self) -> str:
        if self._control.closed:
            return ""
        try:
            found = await indexes.invalid(self._control)
        except errors.NodeError:
            return ""  # the failure itself is what has to be told
        return "".join(f"; index {each} is invalid: {each.cure}" for each in found)

    def _is_told(self, number: int) -> bool:
        count = len(self._deployment.statements)
        return count <= SHORT_PATCH or number % (count // 100) == 0

"""Apply one cold patch, statement by statement, in a transaction that somebody else has begun and will commit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Self

from downtime import errors, ledger, safety, sqlstates
from downtime.footprints import Footprint
from downtime.node import Node
from downtime.notices import Notices
from downtime.patches import Patch
from downtime.printable import cut
from downtime.statements import Statement

if TYPE_CHECKING:
    from downtime.measuring import Measuring

MOST_NOTICES = 1000       # of one patch; one may raise a million, and the first ones explain
LONGEST_COMPLAINT = 2000  # characters of the server's message, detail and hint each: RAISE may send megabytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One patch that was examined, and on whose word it is applied."""

    patch: Patch
    statements: tuple[Statement, ...]
    origin: ledger.Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedStatement:
    """What one statement of a patch did."""

    statement: Statement
    started_at: datetime
    seconds: float
    status: str                # the server's command tag, such as `UPDATE 3`
    notices: tuple[str, ...]   # the first ones, and a line that counts the rest
    footprint: Footprint | None = None  # what it did, where it was measured: in rehearsals


Progress = Callable[[AppliedStatement], None]


async def run_statement(node: Node, deployment: Deployment, statement: Statement, *, room: int) -> AppliedStatement:
    """Run one statement of the patch and keep `room` of its notices.

    Raises PatchFailed with the line in the file, also where the server would misread what follows; TransactionEnded;
    LockNotAvailable, which may be worth another attempt; or another NodeError.
    """
    patch, inside = deployment.patch, node.in_transaction
    started_at, began = datetime.now(UTC), monotonic()
    node.notices.take()
    before, behind = (safety.BEFORE_ROWS, safety.BEHIND_ROWS) if statement.only_returns_rows else ("", "")
    try:
        result = await node.execute(f"{before}{statement.text}{behind}")
    except errors.StatementFailed as error:
        error.position = _position(error, before)
        if inside:
            _refuse_lost_transaction(node, patch, statement)
        if isinstance(error, errors.LockNotAvailable):
            raise
        raise PatchFailed.at(patch, statement, error) from error
    seconds = monotonic() - began
    if inside:
        _refuse_lost_transaction(node, patch, statement)
    refuse_misreading(node, patch, statement)
    return AppliedStatement(statement=statement, started_at=started_at, seconds=seconds,
                            status=result.status.replace("MOVE", "SELECT") if before else result.status,
                            notices=_some(node.notices, room))


def refuse_misreading(node: Node, patch: Patch, statement: Statement) -> None:
    """Raises PatchFailed where the server would not read on as the patch was examined."""
    if reason := safety.misreading(node):
        raise PatchFailed(path=patch.path, line=statement.line, reason=reason)


def _refuse_lost_transaction(node: Node, patch: Patch, statement: Statement) -> None:
    """Raises TransactionEnded where a statement, failed or not, has ended the transaction it ran in."""
    if not node.in_transaction:
        raise TransactionEnded(path=patch.path, line=statement.line)


async def apply_cold(node: Node, deployment: Deployment, *, before_each: Callable[[], None],
                     progress: Progress, measuring: Measuring | None = None) -> float:
    """Apply the patch and write its ledger row in the transaction `node` is in; returns the patch's own seconds.

    `before_each` may raise to end it between two statements. Our timeouts are put back behind each statement that may
    have changed them, and role and search_path before the row is written. `measuring` gives each statement its
    footprint, which is not in the seconds. Raises PatchFailed, PatchBlocked, TransactionEnded or NodeError; then the
    caller rolls back.
    """
    started_at, began = datetime.now(UTC), monotonic()
    if measuring is not None:
        await measuring.begin()
    await run_all(node, deployment, deployment.statements, before_each=before_each, progress=progress,
                  make_safe=lambda first: safety.put_back(node, first=first), measuring=measuring)
    seconds = monotonic() - began - (measuring.seconds if measuring is not None else 0.0)
    before_each()
    await _record(node, deployment, started_at, seconds)
    return seconds


async def run_all(node: Node, deployment: Deployment, statements: Sequence[Statement], *,
                  before_each: Callable[[], None], progress: Progress,
                  make_safe: Callable[[str], Awaitable[str]], measuring: Measuring | None) -> None:
    """Run statements of the patch in the transaction `node` is in, and what they have deferred to its end.

    `make_safe` is called behind a statement that may have changed settings, with SQL of ours that has to come first,
    and returns what it cannot put right. Raises as `apply_cold` does.
    """
    patch, room = deployment.patch, MOST_NOTICES
    if statements:
        refuse_misreading(node, patch, statements[0])
    for number, statement in enumerate(statements, start=1):
        before_each()
        try:
            applied = await run_statement(node, deployment, statement, room=room)
        except errors.LockNotAvailable as error:
            raise PatchBlocked.at(patch, statement, error) from error
        room = max(0, room - len(applied.notices))
        last = number == len(statements)
        if measuring is None:
            progress(applied)
        if last:
            await _check_deferred_constraints(node, deployment, statement)
        if statement.may_change_settings and (measuring is not None or not last):
            # the cursor of a last query is closed already
            _refuse(patch, statement, await make_safe("" if last else behind(statement)))
        if measuring is not None:
            progress(await measuring.after(applied, last=last))


async def put_back(node: Node, patch: Patch, statement: Statement, *, first: str = "") -> None:
    """Make the session safe again behind a statement. Raises PatchFailed where that cannot be done, or NodeError."""
    _refuse(patch, statement, await safety.put_back(node, first=f"{behind(statement)}{first}"))


def behind(statement: Statement) -> str:
    """SQL to send behind a statement, before anything else of ours."""
    return safety.AFTER_ROWS if statement.only_returns_rows else ""


def _refuse(patch: Patch, statement: Statement, reason: str) -> None:
    if reason:
        raise PatchFailed(path=patch.path, line=statement.line, reason=reason)


async def _record(node: Node, deployment: Deployment, started_at: datetime, seconds: float) -> None:
    """Write the ledger row as the role that has logged in, in one round trip. Raises PatchFailed or NodeError."""
    patch, last = deployment.patch, deployment.statements[-1:]
    before, behind_it = (f"{safety.OWN_AGAIN}{safety.resets(node)}", safety.SEE) if last else ("", "")
    try:
        result = await ledger.write(
            node, patch_id=patch.id, sha256=patch.sha256, lane=patch.lane, commit=patch.commit, started_at=started_at,
            seconds=seconds, origin=deployment.origin, before=before, behind=behind_it)
    except errors.StatementFailed as error:
        if not last:
            raise
        if error.sqlstate == sqlstates.READ_ONLY_SQL_TRANSACTION:
            _refuse(patch, last[0], safety.READ_ONLY)
        kind = PatchBlocked if isinstance(error, errors.LockNotAvailable) else PatchFailed
        raise kind(path=patch.path, line=last[0].line, reason="behind this, the last statement, the ledger row cannot "
                   f"be written: {_complaint(error)}") from error
    if last:
        _refuse(patch, last[0], safety.objection(*result.rows))


async def _check_deferred_constraints(node: Node, deployment: Deployment, last: Statement) -> None:
    """What COMMIT would find is found here, where it still is the patch that failed. Raises PatchFailed."""
    try:
        # its cursor first: what a deferred trigger does may need the tables it reads
        await node.execute(f"{behind(last)}SET CONSTRAINTS ALL IMMEDIATE")
    except errors.LockNotAvailable as error:
        raise PatchBlocked.at(deployment.patch, last, error) from error
    except errors.StatementFailed as error:
        raise PatchFailed.at(deployment.patch, last, error) from error


def was_cancelled(error: BaseException | None) -> bool:
    """Whether an error is, or goes back to, a statement that was cancelled: by an abort, or by its timeout."""
    return isinstance(error, errors.StatementCancelled) or (
        error is not None and isinstance(error.__cause__, errors.StatementCancelled))


class PatchFailed(errors.DowntimeError):
    """A statement of the patch failed; patch and ledger row are rolled back together."""

    happened = "{path}, line {line}: {reason}"
    left = errors.Left.REOPENED
    next_step = "correct the patch, land the correction, and let it be rehearsed again"

    @classmethod
    def at(cls, patch: Patch, statement: Statement, error: errors.StatementFailed) -> Self:
        """Name the line of the file: the server counts characters from the start of the statement it was sent."""
        before = statement.text[:error.position - 1] if error.position else ""
        return cls(path=patch.path, line=statement.line + before.count("\n"), reason=_complaint(error))


class PatchBlocked(PatchFailed):
    """A lock was not to be had in time: somebody who was not kicked holds it. The patch itself may be in order."""

    next_step = "see who holds the lock, and run the deployment again when it is free"


class TransactionEnded(errors.NeedsOperator):
    """What no statement that was examined can do has happened: nothing rolls the patch back any more."""

    happened = ("{path}, line {line}: the statement has ended the deployment's transaction: what stands above it may be"
                " in, and the ledger does not say so")
    next_step = "compare the database with the patch and take back by hand what is in; then report how it was done"


def _position(error: errors.StatementFailed, before: str) -> int | None:
    """Where in the statement the error is, from 1, if something of ours was sent before it."""
    return max(1, error.position - len(before)) if error.position else None


def _complaint(error: errors.StatementFailed) -> str:
    parts = [f"{cut(str(error.facts['reason']), LONGEST_COMPLAINT)} (SQLSTATE {error.sqlstate})"]
    parts += [f"{word}: {cut(text, LONGEST_COMPLAINT)}"
              for word, text in (("detail", error.detail), ("hint", error.hint)) if text]
    return "\n  ".join(parts)


def _some(notices: Notices, room: int) -> tuple[str, ...]:
    """As many as there is room for, and a line that counts the rest."""
    dropped, lines = notices.dropped, notices.take()
    if dropped:
        lines.pop()  # the session's own count; ours takes its place
    more = dropped + max(0, len(lines) - room)
    kept = lines[:room]
    return (*kept, f"… and {more:,} more") if more else tuple(kept)

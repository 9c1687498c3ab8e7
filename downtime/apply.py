"""Apply one cold patch, statement by statement, in a transaction that somebody else has begun and will commit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

from downtime import errors, ledger
from downtime.node import Node
from downtime.patches import Patch
from downtime.statements import Statement


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
    notices: tuple[str, ...]


Progress = Callable[[AppliedStatement], None]


async def run_statement(node: Node, deployment: Deployment, statement: Statement) -> AppliedStatement:
    """Run one statement of the patch. Raises PatchFailed with the line in the file, or NodeError."""
    started_at, began = datetime.now(UTC), monotonic()
    node.notices.take()
    try:
        result = await node.execute(statement.text)
    except errors.LockNotAvailable:
        raise  # worth another attempt: the caller knows
    except errors.StatementFailed as error:
        raise PatchFailed.at(deployment.patch, statement, error) from error
    return AppliedStatement(statement=statement, started_at=started_at, seconds=monotonic() - began,
                            status=result.status, notices=tuple(node.notices.take()))


async def apply_cold(node: Node, deployment: Deployment, *, before_each: Callable[[], None],
                     progress: Progress) -> float:
    """Apply the patch and write its ledger row in the transaction `node` is in; returns the patch's own seconds.

    `before_each` may raise to end it between two statements. The session is given back its own role before the row
    is written, whatever the patch made of it. Raises PatchFailed or NodeError; then the caller rolls back.
    """
    started_at, began = datetime.now(UTC), monotonic()
    for statement in deployment.statements:
        before_each()
        try:
            progress(await run_statement(node, deployment, statement))
        except errors.LockNotAvailable as error:
            raise PatchFailed.at(deployment.patch, statement, error) from error
    if deployment.statements:
        await _check_deferred_constraints(node, deployment)
    seconds = monotonic() - began
    before_each()
    await node.execute("RESET SESSION AUTHORIZATION; RESET ROLE")
    patch = deployment.patch
    await ledger.write(node, patch_id=patch.id, sha256=patch.sha256, lane=patch.lane, commit=patch.commit,
                       started_at=started_at, seconds=seconds, origin=deployment.origin)
    return seconds


async def _check_deferred_constraints(node: Node, deployment: Deployment) -> None:
    """What COMMIT would find is found here, where it still is the patch that failed. Raises PatchFailed."""
    try:
        await node.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except errors.StatementFailed as error:
        raise PatchFailed.at(deployment.patch, deployment.statements[-1], error) from error


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
    def at(cls, patch: Patch, statement: Statement, error: errors.StatementFailed) -> PatchFailed:
        """Name the line of the file: the server counts characters from the start of the statement it was sent."""
        before = statement.text[:error.position - 1] if error.position else ""
        more = "".join(f"\n  {word}: {text}" for word, text in (("detail", error.detail), ("hint", error.hint)) if text)
        return cls(path=patch.path, line=statement.line + before.count("\n"),
                   reason=f"{error.facts['reason']} (SQLSTATE {error.sqlstate}){more}")

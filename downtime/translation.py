"""What psycopg2, txpostgres or Twisted raised, in our own words."""

from __future__ import annotations

from downtime import errors, sqlstates


def translate(error: BaseException, label: str) -> errors.NodeError:
    """Our error for what psycopg2, txpostgres or Twisted raised."""
    state = getattr(error, "pgcode", None)
    diagnostics = getattr(error, "diag", None)
    reason = " ".join(str(getattr(diagnostics, "message_primary", None) or error).split()) or type(error).__name__
    reason, *_ = reason.partition(" This probably means")  # libpq guesses at length
    # a FATAL at connect has no SQLSTATE in psycopg2: the server's sentence is all there is
    if "is not currently accepting connections" in reason:
        return errors.ConnectionsRefused(node=label, reason=reason)
    if not state or state.startswith(sqlstates.OF_A_LOST_CONNECTION):
        return errors.ConnectionLost(node=label, reason=reason)
    kind = {
        sqlstates.QUERY_CANCELED: errors.StatementCancelled,
        sqlstates.LOCK_NOT_AVAILABLE: errors.LockNotAvailable,
        sqlstates.INSUFFICIENT_PRIVILEGE: errors.PermissionDenied,
    }.get(state, errors.StatementFailed)
    position = getattr(diagnostics, "statement_position", None)
    return kind(node=label, reason=reason, sqlstate=state,
                detail=getattr(diagnostics, "message_detail", None) or "",
                hint=getattr(diagnostics, "message_hint", None) or "",
                position=int(position) if position else None)

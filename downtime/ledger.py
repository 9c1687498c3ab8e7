"""What a database has: one row per applied patch, written in the patch's own transaction, read by everybody else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from downtime import errors, sqlstates
from downtime.node import Node, Result

BASELINE = "baseline"  # in place of a lane: recorded without having been run

# Which patches are in. Takes ACCESS SHARE on the ledger.
SELECT_ENTRIES = """
SELECT id, sha256, lane, commit, started_at, finished_at, seconds, rehearsed_seconds, forecast_seconds, build_url,
       requested_by, approved_by
  FROM fastdowntime.ledger
 ORDER BY finished_at, id
"""

# Takes ROW EXCLUSIVE on the ledger; a second row for the same patch fails with 23505 and takes the patch with it.
INSERT_ENTRY = """
INSERT INTO fastdowntime.ledger (id, sha256, lane, commit, started_at, seconds, rehearsed_seconds, forecast_seconds,
                                 build_url, requested_by, approved_by)
VALUES (%(id)s, %(sha256)s, %(lane)s, %(commit)s, %(started_at)s, %(seconds)s, %(rehearsed_seconds)s,
        %(forecast_seconds)s, %(build_url)s, %(requested_by)s, %(approved_by)s);
"""


class NotInstalled(errors.Refused):
    """The database has no ledger, or the role may not write it."""

    happened = "{node} has no usable ledger: {reason}"
    next_step = "python -m downtime install --environment NAME prints the SQL a DBA runs once"


class Outdated(NotInstalled):
    """The ledger was made by an older version of the product."""

    happened = "{node} has the ledger of an older version: {reason}"
    next_step = "run install again: python -m downtime install --environment NAME prints the SQL; no row is lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """On whose word a patch was applied; what the ledger remembers about it beside the patch itself."""

    requested_by: str = ""
    approved_by: str = ""
    build_url: str = ""
    rehearsed_seconds: float | None = None  # what staging has measured; None: not known
    forecast_seconds: float | None = None   # what was foretold from that with the factor learnt by then


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One applied patch as the ledger remembers it; instants are aware."""

    id: str
    sha256: str
    lane: str            # live, cold or BASELINE
    commit: str
    started_at: datetime
    finished_at: datetime
    seconds: float       # the patch's own statements, without gate and kick
    build_url: str
    requested_by: str
    approved_by: str
    rehearsed_seconds: float | None = None  # as in Origin
    forecast_seconds: float | None = None


async def read(node: Node) -> tuple[Entry, ...]:
    """Everything the database has, oldest first. Raises NotInstalled where there is no ledger, or an older one."""
    try:
        result = await node.execute(SELECT_ENTRIES)
    except errors.StatementFailed as error:
        if error.sqlstate == sqlstates.UNDEFINED_COLUMN:
            raise Outdated(node=node.label, reason=error.facts["reason"]) from error
        missing = {sqlstates.UNDEFINED_TABLE, sqlstates.INVALID_SCHEMA_NAME, sqlstates.INSUFFICIENT_PRIVILEGE}
        if error.sqlstate in missing:
            raise NotInstalled(node=node.label, reason=error.facts["reason"]) from error
        raise
    return tuple(Entry(**row) for row in result.rows)


async def half_way(node: Node, patch_id: str) -> int:
    """How many statements of a patch a live application has finished and written down."""
    result = await node.execute("SELECT count(*) FROM fastdowntime.live_journal WHERE id = %s", (patch_id,))
    return int(result.scalar)


async def has(node: Node, patch_id: str, sha256: str) -> bool:
    """Whether exactly these bytes are in: how the outcome of a COMMIT that got no answer is learnt."""
    result = await node.execute(
        "SELECT EXISTS (SELECT FROM fastdowntime.ledger WHERE id = %s AND sha256 = %s) AS present", (patch_id, sha256))
    return bool(result.scalar)


async def write(node: Node, *, patch_id: str, sha256: str, lane: str, commit: str, started_at: datetime,
                seconds: float, origin: Origin, before: str = "", behind: str = "") -> Result:
    """Add a row in the transaction that `node` is in (or, for a baseline, in one of its own).

    `before` and `behind` are SQL that runs in the same round trip; returned is what the last of it returns.
    """
    return await node.execute(f"{before}{INSERT_ENTRY}{behind}", {
        "id": patch_id, "sha256": sha256, "lane": lane, "commit": commit, "started_at": started_at,
        "seconds": seconds, "rehearsed_seconds": origin.rehearsed_seconds, "forecast_seconds": origin.forecast_seconds,
        "build_url": origin.build_url, "requested_by": origin.requested_by, "approved_by": origin.approved_by})

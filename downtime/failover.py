"""Which server is the primary, told by its own words: before a COMMIT, after it, and when the old one is gone.

A patch and its ledger row are one transaction, so no server ever has one of them without the other. What a failover
can do is leave both behind: committed on the old primary, unknown to the standby that was promoted in the meantime.
So the standbys are asked in the last moment before the COMMIT, and once more after it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from downtime import errors, ledger, recovery
from downtime.node import Node, connect
from downtime.parallel import failures, in_parallel, results
from downtime.patches import Patch
from downtime.target import Target

T = TypeVar("T")

ANSWER_SECONDS = 2.0  # an answer takes 1 ms; in the outage a standby that is silent for longer ends it

# Whose history a server has and whether it is a standby. The timeline of a primary is in the name of its WAL file: its
# control file shows the old one until the first checkpoint after a promotion. Takes no lock.
SELECT_LINEAGE = """
SELECT pg_catalog.pg_is_in_recovery() AS in_recovery,
       (SELECT system_identifier FROM pg_catalog.pg_control_system()) AS system_identifier,
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL ELSE
           ('x' || left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::bit(32)::int END AS timeline,
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
            ELSE pg_catalog.pg_current_wal_lsn() END::text AS lsn
"""


class FailedOver(errors.DowntimeError):
    """A standby was promoted, or cannot be asked, while the database was closed: nothing was committed here."""

    happened = "not committed, for this may be the primary no more: {listing}"
    next_step = ("find out which server is the primary (SELECT pg_is_in_recovery()), point the settings to it, and ask"
                 " for the deployment again")
    left = errors.Left.REOPENED


class LivesElsewhere(errors.NeedsOperator):
    """The primary of a deployment is gone, and a standby has taken over; that one is open."""

    happened = "{old} cannot be reached, and {found}"
    next_step = ("point the settings to {new}, and never let {old} come back as a primary (pg_rewind makes it a"
                 " standby); where the patch is not in, ask for the deployment again")

    def __init__(self, old: str, found: NewPrimary) -> None:
        self.has_patch = found.has_patch
        super().__init__(old=old, found=found, new=found.target.label,
                         left=errors.Left.APPLIED if found.has_patch else errors.Left.REOPENED)


class PatchLeftBehind(errors.NeedsOperator):
    """A standby was promoted around the COMMIT and has not got the patch."""

    happened = ("{patch} is on the old primary {old} only: {new} was promoted before it had it ({new} is on timeline"
                " {timeline} from {lsn})")
    next_step = ("make sure that clients reach one of the two only; where {new} is the primary now, stop {old}, make it"
                 " a standby again (pg_rewind), which takes the patch off it, and deploy {patch} again on {new}")
    left = errors.Left.APPLIED


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """A server's history at one moment."""

    in_recovery: bool
    system_identifier: int  # the same for all copies of one cluster
    timeline: int | None    # grows with every promotion; None on a standby
    lsn: str                # replayed, on a standby; written, on a primary

    def is_a_standby_of(self, primary: Lineage) -> bool:
        return self.in_recovery and self.system_identifier == primary.system_identifier


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPrimary:
    """A server of the same cluster that takes writes, and whether a patch is in there."""

    target: Target
    lineage: Lineage
    has_patch: bool

    def __str__(self) -> str:
        found = "has the patch and its ledger row" if self.has_patch else "has neither the patch nor its ledger row"
        return f"{self.target.label} is a primary now (timeline {self.lineage.timeline}): it {found}"


async def lineage_of(node: Node) -> Lineage:
    """Ask a server, in one round trip. Raises NodeError."""
    (row,) = (await node.execute(SELECT_LINEAGE, deadline_seconds=ANSWER_SECONDS)).rows
    return Lineage(**row)


async def new_primary(targets: Sequence[Target], of: Lineage, patch: Patch, *, reactor: Any) -> NewPrimary | None:
    """Which of these servers is a primary of the same cluster, the one of the latest timeline where several are.

    For when the primary of a deployment is gone. None where none of those that answer is. Raises NodeError, of the
    first, where none answers at all.
    """
    asked = await in_parallel(_asked(target, of, patch, reactor) for target in targets)
    if targets and len(failures(asked)) == len(targets):
        raise failures(asked)[0]
    found = [each for each in results(asked) if each is not None]
    return max(found, key=lambda each: each.lineage.timeline or 0, default=None)


async def _asked(target: Target, of: Lineage, patch: Patch, reactor: Any) -> NewPrimary | None:
    lineage = await _at(target.with_database("postgres"), lineage_of, reactor)
    if lineage.in_recovery or lineage.system_identifier != of.system_identifier:
        return None
    await recovery.open_door(target, reactor=reactor)  # what gate "refuse" had closed was closed there, too
    has_patch = await _at(target, lambda node: ledger.has(node, patch.id, patch.sha256), reactor)
    return NewPrimary(target=target, lineage=lineage, has_patch=has_patch)


async def _at(target: Target, ask: Callable[[Node], Awaitable[T]], reactor: Any) -> T:
    node = await connect(target, application_name="fastdowntime failover", connect_seconds=ANSWER_SECONDS,
                         reactor=reactor)
    try:
        return await ask(node)
    finally:
        node.close()

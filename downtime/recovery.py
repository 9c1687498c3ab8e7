"""Undo what a dead run left closed, and nothing else; safe at any time, at every start of the master among them.

Gate "hold" leaves nothing: its lock ends with the transaction. Gate "refuse" leaves a closed database only where its
guard died too (a crash of the server). Then the mark on the database says that we closed it; the lease that a living
deployer holds is free; and whoever still held the deployment lock is ended before the door is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from downtime import errors, fence, guard, marker
from downtime.install import quote_identifier
from downtime.node import Node, connect
from downtime.parameters import NO_STANDBY
from downtime.target import Target

STATEMENT_SECONDS = 5.0  # it takes 1 ms; an administrator's own ALTER may delay it


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What was found; `changed` is True where a door was opened or a mark taken away."""

    lines: tuple[str, ...]
    changed: bool


class StillDeploying(errors.Refused):
    """The deployer that closed the database is alive; it will open it itself."""

    happened = "{database} is closed by a deployment that is under way"
    next_step = "wait for it (it ends by itself at the outage limit), or stop its build"


async def reopen(target: Target, *, reactor: Any = None) -> Recovered:
    """Open the database if a dead deployment closed it.

    Raises StillDeploying, or NodeError where the server cannot be asked: DeadlineExceeded where a gate "hold" is
    closed at the moment, which opens by itself.
    """
    node = await connect(target.with_database("postgres"), application_name="fastdowntime reopen",
                         statement_timeout_seconds=STATEMENT_SECONDS, settings=NO_STANDBY, reactor=reactor)
    try:
        return await _reopen(node, target.database)
    finally:
        node.close()


async def _reopen(node: Node, database: str) -> Recovered:
    door = await marker.read(node, database)
    if door.open and not door.closed_by_us:
        return Recovered(lines=(f"{database} accepts connections; nothing to undo",), changed=False)
    if not door.closed_by_us:
        return Recovered(lines=(
            f"{database} does not accept connections, and no deployment of ours closed it: left as it is",
            f"to open it: ALTER DATABASE {quote_identifier(database)} ALLOW_CONNECTIONS true"), changed=False)
    if not await guard.take_lease(node, database):
        raise StillDeploying(database=database)
    door = await marker.read(node, database)  # its deployer may have opened it before it gave up the lease
    if not door.closed_by_us:
        return await _reopen(node, database)
    if door.open:  # somebody opened it by hand, and whoever closes it now means it: only the mark goes
        await node.execute(marker.removing(database, role=door.role))
        return Recovered(lines=(f"{database} was {door.text}; its deployer is gone",
                                f"{database} accepts connections already: its mark is taken away"), changed=True)
    await fence.end_deployers(database, seen_from=node)  # nobody opens behind which a patch may still be committed
    async with node.transaction():
        await node.execute(marker.opening(database, role=door.role))
    return Recovered(lines=(f"{database} was {door.text}; its deployer is gone",
                            f"{database} accepts connections again"), changed=True)

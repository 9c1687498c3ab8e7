"""Undo what a dead run left closed or paused, and nothing else; safe at any time, at every start of the master too.

Gate "hold" leaves nothing: its lock ends with the transaction. Gate "refuse" leaves a closed database only where its
guard died too (a crash of the server). Then the mark on the database says that we closed it; the lease that a living
deployer holds is free; and whoever still held the deployment lock is ended before the door is opened.

Poolers and standbys that are paused still, because their watchdog died as well, are named by the rows of
`downtime.held`. They are undone when the door is open, by whoever holds the deployment lock: no living deployer's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore

from downtime import deployment_lock, errors, fence, guard, held, marker
from downtime.held import Holding
from downtime.install import quote_identifier
from downtime.node import Node, connect
from downtime.parallel import failures, in_parallel, results
from downtime.parameters import NO_STANDBY
from downtime.pooler import CONSOLE_DATABASE
from downtime.settings import Environment
from downtime.target import Target

APPLICATION_NAME = "fastdowntime reopen"
STATEMENT_SECONDS = 5.0  # it takes 1 ms; an administrator's own ALTER may delay it
AT_A_TIME = 20           # databases of one environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What was found; `changed` is True where something was opened or let go of, or a mark taken away."""

    lines: tuple[str, ...]
    changed: bool


class StillDeploying(errors.Refused):
    """The deployer that closed the database is alive; it will open it itself."""

    happened = "{database} is closed by a deployment that is under way"
    next_step = "wait for it (it ends by itself at the outage limit), or stop its build"


class StillHeld(errors.NeedsOperator):
    """The database is open, and something around it is paused still."""

    happened = "still held for a dead run: {listing}"
    next_step = ("mend the way there, then python -m downtime reopen --environment NAME; by hand:"
                 " RESUME NAME on the console of a pooler for each name that SHOW DATABASES calls paused,"
                 " SELECT pg_wal_replay_resume() on a standby")
    left = errors.Left.OPEN

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__(listing="; ".join(reasons))


def beside(environment: Environment) -> tuple[Target, ...]:
    """The poolers' consoles and the standbys of a database, as the settings know them: the only places gone to."""
    return (*(pooler.target.with_database(CONSOLE_DATABASE) for pooler in environment.poolers),
            *environment.replicas.targets)


async def reopen_all(environment: Environment, *, reactor: Any = None) -> Recovered:
    """`reopen` each database of an environment, some at a time. Raises what one raised, after all others were done.

    Of several each line names its database, and those where something was undone come last.
    """
    members = environment.members()
    at_a_time = DeferredSemaphore(AT_A_TIME)

    def one(member: Environment) -> Deferred[Recovered]:
        return Deferred.fromCoroutine(reopen(member.target, places=beside(member), reactor=reactor))

    async def in_turn(member: Environment) -> Recovered:
        return await at_a_time.run(one, member)

    outcomes = await in_parallel(map(in_turn, members))
    for failure in failures(outcomes):
        raise failure
    found = sorted(zip(members, results(outcomes), strict=True), key=lambda each: each[1].changed)
    return Recovered(lines=tuple(f"{member.member}: {line}" if len(members) > 1 else line
                                 for member, one in found for line in one.lines),
                     changed=any(one.changed for _, one in found))


async def reopen(target: Target, *, places: Sequence[Target] = (), reactor: Any = None) -> Recovered:
    """Open the database if a dead deployment closed it, and let go of what that held of `places`: see `beside`.

    Raises StillDeploying or DeploymentUnderWay; StillHeld where something could not be let go of, after all else was;
    or NodeError where the server cannot be asked: DeadlineExceeded where a gate "hold" is closed at the moment, which
    opens by itself.
    """
    if reactor is None:
        from twisted.internet import reactor
    opened, is_open = await open_door(target, reactor=reactor)
    if not is_open:
        return opened  # an administrator has closed it, and nobody gets in to read what is held
    released = await _let_go(target, places, reactor)
    return Recovered(lines=(*opened.lines, *released), changed=opened.changed or bool(released))


async def open_door(target: Target, *, reactor: Any) -> tuple[Recovered, bool]:
    """Open the database if a dead deployment closed it, and no more; whether it is open then. Raises as `reopen`."""
    node = await connect(target.with_database("postgres"), application_name=APPLICATION_NAME,
                         statement_timeout_seconds=STATEMENT_SECONDS, settings=NO_STANDBY, reactor=reactor)
    try:
        return await _reopen(node, target.database), (await marker.read(node, target.database)).open
    finally:
        node.close()


async def _let_go(target: Target, places: Sequence[Target], reactor: Any) -> tuple[str, ...]:
    """Undo everything that is held, beside each other. Raises as `reopen` does."""
    node = await connect(target, application_name=APPLICATION_NAME, statement_timeout_seconds=STATEMENT_SECONDS,
                         settings=NO_STANDBY, reactor=reactor)
    try:
        if not await held.read(node):
            return ()
        await deployment_lock.take(node)  # while it is ours nobody deploys
        holdings = await held.read(node)
        # a standby that took over from the primary it was held beside is the database itself now
        known = {place.label: place for place in reversed((*places, node.target))}
        outcomes = await in_parallel(_undo(each, known.get(each.place), node, reactor) for each in holdings)
        if failed := failures(outcomes):
            raise StillHeld([str(failure) for failure in failed])
        return tuple(line for lines in results(outcomes) for line in lines)
    finally:
        node.close()


async def _undo(holding: Holding, where: Target | None, node: Node, reactor: Any) -> tuple[str, ...]:
    if where is None:
        raise errors.NodeError(node=holding.place, reason="the settings name no such server any more;"
                               f" {holding.sentence}: put it back there, or let it go on by hand and DELETE its row"
                               " from fastdowntime.held")
    lines = await held.undo(holding, where, reactor=reactor)
    await held.remove(node, [holding])
    return (f"{holding.sentence}; its deployer is gone", *lines)


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

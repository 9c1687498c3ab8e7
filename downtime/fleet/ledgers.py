"""What all databases of an environment have, read at once, and what is pending while any of them lacks it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.internet.defer import DeferredSemaphore, gatherResults

from downtime import deployment_lock, errors, ledger
from downtime.node import Node
from downtime.patches import Inventory, Patch
from downtime.plan import Plan, listing, plan
from downtime.settings import Environment

T = TypeVar("T")

READ_AT_ONCE = 10  # sessions: more, and a hundred databases of one server meet its max_connections

Ledgers = Mapping[str, tuple[ledger.Entry, ...]]  # by the member's name, the canary's first


class MembersUnreadable(errors.NodeError):
    """Nobody can say what is pending while some database cannot be asked."""

    happened = "{count} of {all} databases cannot be asked: {listing}"
    next_step = "python -m downtime status shows each of them"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOfSeveral(Plan):
    """What any of several databases still lacks; whatever speaks against a patch is said with their names."""

    ledgers: Ledgers
    inventory: Inventory

    def objections_to(self, patch: Patch) -> tuple[str, ...]:
        return objections(self.ledgers, self.inventory, patch)


async def read(environment: Environment, *, reactor: Any) -> Ledgers:
    """Every member's ledger. Raises MembersUnreadable, which names those that cannot be read.

    A database that is alone raises NodeError, DeploymentUnderWay or NotInstalled itself.
    """
    return await _ask_all(environment, ledger.read, reactor)


async def deployers(environment: Environment, *, reactor: Any) -> Mapping[str, str]:
    """Who holds the deployment lock of which member, where anybody does. Raises as `read` does."""
    async def ask(node: Node) -> str:
        found = await deployment_lock.holder(node, node.target.database)
        return deployment_lock.describe(found) if found is not None else ""

    return {name: found for name, found in (await _ask_all(environment, ask, reactor)).items() if found}


def in_all(ledgers: Ledgers) -> tuple[ledger.Entry, ...]:
    """The canary's entries that every database has. Pure."""
    canary, *others = ledgers.values()
    known = [{entry.id for entry in entries} for entries in others]
    return tuple(entry for entry in canary if all(entry.id in ids for ids in known))


def half_way(ledgers: Ledgers, inventory: Inventory) -> Mapping[str, tuple[str, ...]]:
    """By patch, in order: which databases lack what others have. Pure."""
    if len(ledgers) == 1:
        return {}
    pending = {name: {patch.id for patch in plan(inventory, entries).pending} for name, entries in ledgers.items()}
    lacking = {patch.id: tuple(name for name, ids in pending.items() if patch.id in ids)
               for patch in inventory.patches}
    return {patch: names for patch, names in lacking.items() if 0 < len(names) < len(pending)}


def plan_of(ledgers: Ledgers, inventory: Inventory) -> Plan:
    """What any database still lacks, in order, and what any of them says against it. Pure."""
    plans = [plan(inventory, entries) for entries in ledgers.values()]
    if len(plans) == 1:
        return plans[0]
    pending = {patch.id for each in plans for patch in each.pending}
    late = {patch.id for each in plans for patch in each.late}
    reached = sorted((each.last_applied for each in plans), key=lambda name: (bool(name), inventory.number_of(name)))
    return PlanOfSeveral(
        ledgers=ledgers, inventory=inventory,
        pending=tuple(patch for patch in inventory.patches if patch.id in pending),
        drift=tuple(dict.fromkeys(drift for each in plans for drift in each.drift)),
        missing=_united([each.missing for each in plans]),
        late=tuple(patch for patch in inventory.patches if patch.id in late),
        last_applied=reached[-1] if late else reached[0])  # what is late has been overtaken somewhere


def objections(ledgers: Ledgers, inventory: Inventory, patch: Patch) -> tuple[str, ...]:
    """What keeps the patch from the databases that lack it, and which of them; none where it may go on. Pure."""
    plans = {name: plan(inventory, entries) for name, entries in ledgers.items()}
    lacking = {name: each for name, each in plans.items() if patch in each.pending}
    found: dict[str, list[str]] = {}
    for name, each in (lacking or plans).items():
        for reason in each.objections_to(patch):
            found.setdefault(reason, []).append(name)
    for name, each in plans.items():
        for drift in (drift for drift in each.drift if name not in lacking and lacking):
            found.setdefault(drift.sentence, []).append(name)
    return tuple(reason if len(names) == len(plans) else f"{listing(names)}: {reason}"
                 for reason, names in found.items())


async def _ask_all(environment: Environment, ask: Callable[[Node], Awaitable[T]], reactor: Any) -> Mapping[str, T]:
    members = environment.members()
    if len(members) == 1:
        return {environment.member: await _ask(environment, ask, reactor)}
    places = DeferredSemaphore(READ_AT_ONCE)
    found = await gatherResults([places.run(_ask_or_say, member, ask, reactor) for member in members])
    told: dict[str, T] = {}
    silent = []
    for member, said in zip(members, found, strict=True):
        if isinstance(said, errors.DowntimeError):
            silent.append(f"{member.member} ({str(said).splitlines()[0]})")
        else:
            told[member.member] = said
    if silent:
        raise MembersUnreadable(count=len(silent), all=len(members), listing=listing(silent))
    return told


async def _ask_or_say(member: Environment, ask: Callable[[Node], Awaitable[T]], reactor: Any
                      ) -> T | errors.DowntimeError:
    try:
        return await _ask(member, ask, reactor)
    except errors.DowntimeError as error:
        return error


async def _ask(member: Environment, ask: Callable[[Node], Awaitable[T]], reactor: Any) -> T:
    node = await deployment_lock.session(member.target, application_name="fastdowntime reading the ledger",
                                         reactor=reactor)
    try:
        return await ask(node)
    finally:
        node.close()


def _united(lists: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in lists for name in names))

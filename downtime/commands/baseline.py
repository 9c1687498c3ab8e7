"""Record patches as applied without running them: for a database that had them before it had a ledger."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from downtime import deployment_lock, deployments, errors, ledger
from downtime.commands.context import Context, whoever_asks
from downtime.errors import ExitStatus
from downtime.fleet import ledgers
from downtime.node import Node
from downtime.patches import Inventory, Patch
from downtime.plan import listing, plan
from downtime.settings import Environment

SUMMARY = "record all patches up to this one as applied, without running them"
EXAMPLE = "baseline patch-2211-03-0 --environment production"


class AppliedOtherwise(errors.Refused):
    """Among the patches to record are some that were applied with other bytes."""

    happened = "not recorded:\n{listing}"
    next_step = "restore the files, then run the command again"

    def __init__(self, sentences: Sequence[str]) -> None:
        super().__init__(listing="\n".join(f"  {sentence}" for sentence in sentences))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("patch", metavar="PATCH", help="id, file name or path of the last one to record")
    parser.add_argument("--yes", action="store_true", help="do not ask; needed where standard input is no terminal")


async def run(context: Context, arguments: argparse.Namespace) -> ExitStatus:
    environment = context.environment()
    commit = await context.commit()
    inventory = await context.inventory(commit)
    last = deployments.find(inventory, arguments.patch, context.settings, commit)
    had = await ledgers.read(environment, reactor=context.reactor)
    lacking = {name: to_record(inventory, last, entries) for name, entries in had.items()}
    any_lacking = _in_any(inventory, lacking)
    where = _where(environment, sum(map(bool, lacking.values())))
    if any_lacking:
        context.confirm(f"Record {_count(any_lacking)} ({listing([patch.id for patch in any_lacking])}) as applied to "
                        f"{environment.name} ({where}), without running them?", agreed=arguments.yes)
    recorded = {member.member: await _record(context, member, inventory, last) if lacking[member.member] else ()
                for member in environment.members()}
    written = _in_any(inventory, recorded)
    context.output.answer(
        f"{_count(written)} recorded as applied to {environment.name} ({where})"
        + "".join(f"\n  {patch.id}" for patch in written),
        environment=environment.name, database=environment.target.label, commit=commit,
        recorded=[patch.id for patch in written],
        databases={name: [patch.id for patch in patches] for name, patches in recorded.items()})
    return ExitStatus.DONE


def _in_any(inventory: Inventory, of_databases: Mapping[str, Sequence[Patch]]) -> list[Patch]:
    """The patches of at least one database, in their order."""
    ids = {patch.id for patches in of_databases.values() for patch in patches}
    return [patch for patch in inventory.patches if patch.id in ids]


def _where(environment: Environment, lacking: int) -> str:
    count = len(environment.members())
    return environment.target.label if count == 1 else f"{lacking} of its {count} databases"


def to_record(inventory: Inventory, last: Patch, entries: Sequence[ledger.Entry]) -> tuple[Patch, ...]:
    """The patches up to `last` that the ledger lacks. Pure. Raises AppliedOtherwise."""
    planned = plan(inventory, entries)
    drift = [drift.sentence for drift in planned.drift if inventory.number_of(drift.patch) <= last.number]
    if drift:
        raise AppliedOtherwise(drift)
    return (*planned.before(last), *(patch for patch in planned.pending if patch.id == last.id))


async def _record(context: Context, environment: Environment, inventory: Inventory, last: Patch) -> tuple[Patch, ...]:
    """Write the rows in one transaction, while no deployment can run."""
    with context.interruption.postponed("the ledger to be written"):
        async with context.session(environment, "baseline") as node:
            await deployment_lock.take(node)
            lacking = to_record(inventory, last, await ledger.read(node))  # a deployment may have been quicker
            async with node.transaction():
                for patch in lacking:
                    await _write(node, patch)
    return lacking


async def _write(node: Node, patch: Patch) -> None:
    await ledger.write(node, patch_id=patch.id, sha256=patch.sha256, lane=ledger.BASELINE, commit=patch.commit,
                       started_at=datetime.now(UTC), seconds=0.0, origin=ledger.Origin(requested_by=whoever_asks()))


def _count(patches: Sequence[Patch]) -> str:
    return "1 patch" if len(patches) == 1 else f"{len(patches)} patches"

"""Record patches as applied without running them: for a database that had them before it had a ledger."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime

from downtime import deployment_lock, deployments, errors, ledger
from downtime.commands.context import Context, whoever_asks
from downtime.errors import ExitStatus
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
    lacking = to_record(inventory, last, await context.entries(environment))
    if lacking:
        context.confirm(
            f"Record {_count(lacking)} ({listing([patch.id for patch in lacking])}) as applied to {environment.name} "
            f"({environment.target.label}), without running them?", agreed=arguments.yes)
    recorded = await _record(context, environment, inventory, last) if lacking else ()
    context.output.answer(
        f"{_count(recorded)} recorded as applied to {environment.name} ({environment.target.label})"
        + "".join(f"\n  {patch.id}" for patch in recorded),
        environment=environment.name, database=environment.target.label, commit=commit,
        recorded=[patch.id for patch in recorded])
    return ExitStatus.DONE


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

"""Apply patches on staging with all phases of production, and report the evidence an approver needs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from downtime import deployments, errors
from downtime.apply import Deployment
from downtime.commands.context import Context, whoever_asks
from downtime.commands.interruption import Interrupted
from downtime.commands.reports import outage_text, statement_lines
from downtime.errors import ExitStatus
from downtime.ledger import Origin
from downtime.patches import Inventory, Patch
from downtime.plan import plan
from downtime.rehearsal import Rehearsal, Rehearsing

SUMMARY = "apply patches on staging with all phases of production and report the evidence"
EXAMPLE = "rehearse patch-2211-03-0 --rollback"


class OneAtATime(errors.Refused):
    """Several patches were to be rolled back one by one."""

    happened = ("with --rollback only one patch can be rehearsed, not {count}: each is rolled back, so the second "
                "would run without what the first one does")
    next_step = "python -m downtime rehearse --rollback {first}, or rehearse all without --rollback"


class NoWayBack(errors.Refused):
    """A patch that cannot be rolled back was to be."""

    happened = "{path}, line {line}: {kind} cannot run inside a transaction, so it cannot be rolled back"
    next_step = "rehearse it without --rollback"


class OnStagingOnly(errors.SettingsError):
    """Another environment was named."""

    def __init__(self, environment: str) -> None:
        super().__init__(f"rehearse --environment {environment}", [
            "rehearsals run on staging; leave --environment out, or apply the patch with the command apply."])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("patches", metavar="PATCH", nargs="*",
                        help="id, file name or path; default: all that are pending on staging, in order")
    parser.add_argument("--rollback", action="store_true",
                        help="leave nothing behind: roll the patch back at its end, its ledger row too")


async def run(context: Context, arguments: argparse.Namespace) -> ExitStatus:
    if context.environment_name not in (None, "staging"):
        raise OnStagingOnly(context.environment_name)
    commit = await context.commit()
    inventory = await context.inventory(commit)
    chosen = await _chosen(context, inventory, arguments.patches, commit)
    # all are examined before the first one runs: a refusal has touched nothing
    ready = [await deployments.deployment(patch, Origin(requested_by=whoever_asks())) for patch in chosen]
    if arguments.rollback:
        _check_way_back(ready)
    if not ready:
        context.output.answer("Nothing is pending on staging.", rehearsed=[])
    await _rehearse_all(context, inventory, ready, keep=not arguments.rollback)
    return ExitStatus.DONE


def _check_way_back(ready: Sequence[Deployment]) -> None:
    """Raises OneAtATime or NoWayBack where rolling back would not show what production will do."""
    if len(ready) > 1:
        raise OneAtATime(count=len(ready), first=ready[0].patch.id)
    for deployment in ready:
        for statement in deployment.statements:
            if not statement.transactional:
                raise NoWayBack(path=deployment.patch.path, line=statement.line, kind=statement.kind)


async def _rehearse_all(context: Context, inventory: Inventory, ready: Sequence[Deployment], *, keep: bool) -> None:
    rehearsed: list[Rehearsal] = []
    for deployment in ready:
        if context.interruption.asked:
            raise Interrupted(left=errors.Left.APPLIED)  # it came too late for the patch before this one
        rehearsed.append(await _rehearse(context, inventory, deployment, keep=keep))
        context.output.answer(_text(rehearsed[-1], keep=keep), rehearsed=[_facts(each) for each in rehearsed],
                              rolled_back=not keep)


async def _chosen(context: Context, inventory: Inventory, names: Sequence[str], commit: str) -> list[Patch]:
    """The patches to rehearse, in the order in which they run."""
    if names:
        named = {deployments.find(inventory, name, context.settings, commit).id for name in names}
        return [patch for patch in inventory.patches if patch.id in named]
    return list(plan(inventory, await context.entries(context.environment("staging"))).pending)


async def _rehearse(context: Context, inventory: Inventory, deployment: Deployment, *, keep: bool) -> Rehearsal:
    context.output.progress(f"rehearsing {deployment.patch.id} ({deployment.patch.lane})")
    rehearsing = Rehearsing(context.settings, deployment, progress=context.output.progress, keep=keep,
                            reactor=context.reactor)
    with context.interruption.aborting(rehearsing.abort, awaiting="staging to open"):
        return await rehearsing.run(deployments.objections(inventory, deployment.patch))


def _text(rehearsal: Rehearsal, *, keep: bool) -> str:
    evidence, outage = rehearsal.evidence, rehearsal.outage
    lines = [evidence.sentence + ("" if keep else "; rolled back as asked"), evidence.table]
    if outage is not None:
        lines += [f"outage on staging: {outage.outage_seconds:.3f} s", outage_text(outage)]
    elif rehearsal.live is not None:
        lines += statement_lines(rehearsal.live.statements)
    return "\n".join([*lines, ""])


def _facts(rehearsal: Rehearsal) -> dict[str, object]:
    evidence, outage = rehearsal.evidence, rehearsal.outage
    return {**json.loads(evidence.to_json()), "verdict": evidence.verdict, "needs_signoff": evidence.needs_signoff,
            "digest": evidence.digest, "kicked": outage.kicked if outage is not None else ()}

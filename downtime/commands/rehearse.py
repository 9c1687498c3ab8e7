"""Apply patches on staging with all phases of production, and report the evidence an approver needs.

With `--database` files are tried out on any database instead: see `downtime.commands.any_database`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from downtime import deployments, errors, evidence_text, sessions
from downtime.apply import Deployment
from downtime.commands.context import Context, whoever_asks
from downtime.commands.interruption import Interrupted
from downtime.errors import ExitStatus
from downtime.evidence import Evidence
from downtime.ledger import Origin
from downtime.patches import Inventory, Patch
from downtime.phases import timeline
from downtime.plan import plan
from downtime.rehearsal import Rehearsal, Rehearsing, outside_transactions
from downtime.settings.values import MOST_TIMES

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


class NotRepeatable(errors.Refused):
    """A patch that cannot be rolled back was to be run several times."""

    happened = "{path}, line {line}: {kind} cannot run inside a transaction, so it cannot be rolled back and repeated"
    next_step = "rehearse it without --repeat"


class OnStagingOnly(errors.SettingsError):
    """Another environment was named."""

    def __init__(self, environment: str) -> None:
        super().__init__(f"rehearse --environment {environment}", [
            "rehearsals run on staging; leave --environment out, or apply the patch with the command apply."])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("patches", metavar="PATCH", nargs="*",
                        help="id, file name or path; default: all that are pending on staging, in order; with "
                             "--database: files of SQL")
    parser.add_argument("--rollback", action="store_true",
                        help="leave nothing behind: roll the patch back at its end, its ledger row too")
    parser.add_argument("--repeat", metavar="N", type=_times,
                        help="run each patch N times, all but the last rolled back; the slowest run counts (default: "
                             "rehearsal.repeat of the settings)")
    parser.add_argument("--database", metavar="CONNECTION",
                        help="with --rollback: try files out on this database (URI or DSN; password from PGPASSWORD or "
                             ".pgpass) in a transaction each; needs neither settings, repository nor ledger")


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
    if (arguments.repeat or 1) > 1:
        _check_repeatable(ready)
    if not ready:
        context.output.answer("Nothing is pending on staging.", rehearsed=[])
    await _rehearse_all(context, inventory, ready, keep=not arguments.rollback, repeat=arguments.repeat)
    return ExitStatus.DONE


def _check_way_back(ready: Sequence[Deployment]) -> None:
    """Raises OneAtATime or NoWayBack where rolling back would not show what production will do."""
    if len(ready) > 1:
        raise OneAtATime(count=len(ready), first=ready[0].patch.id)
    for deployment in ready:
        check_rolls_back(deployment, NoWayBack)


def _check_repeatable(ready: Sequence[Deployment]) -> None:
    for deployment in ready:
        check_rolls_back(deployment, NotRepeatable)


def check_rolls_back(deployment: Deployment, otherwise: type[errors.Refused]) -> None:
    """Raises the error for the first statement that does not fit a transaction."""
    if (alone := outside_transactions(deployment)) is not None:
        raise otherwise(path=deployment.patch.path, line=alone.line, kind=alone.kind)


async def _rehearse_all(context: Context, inventory: Inventory, ready: Sequence[Deployment], *, keep: bool,
                        repeat: int | None) -> None:
    rehearsed: list[Rehearsal] = []
    for deployment in ready:
        if context.interruption.asked:
            raise Interrupted(left=errors.Left.APPLIED)  # it came too late for the patch before this one
        rehearsed.append(await _rehearse(context, inventory, deployment, keep=keep, repeat=repeat))
        context.output.answer(_text(rehearsed[-1], keep=keep), rehearsed=[_facts(each) for each in rehearsed],
                              rolled_back=not keep)


async def _chosen(context: Context, inventory: Inventory, names: Sequence[str], commit: str) -> list[Patch]:
    """The patches to rehearse, in the order in which they run."""
    if names:
        named = {deployments.find(inventory, name, context.settings, commit).id for name in names}
        return [patch for patch in inventory.patches if patch.id in named]
    return list(plan(inventory, await context.entries(context.environment("staging"))).pending)


async def _rehearse(context: Context, inventory: Inventory, deployment: Deployment, *, keep: bool,
                    repeat: int | None) -> Rehearsal:
    context.output.progress(f"rehearsing {deployment.patch.id} ({deployment.patch.lane})")
    rehearsing = Rehearsing(context.settings, deployment, progress=context.output.progress, keep=keep, repeat=repeat,
                            reactor=context.reactor)
    with context.interruption.aborting(rehearsing.abort, awaiting="staging to open"):
        return await rehearsing.run(deployments.objections(inventory, deployment.patch))


def _text(rehearsal: Rehearsal, *, keep: bool) -> str:
    evidence, outage = rehearsal.evidence, rehearsal.outage
    parts = [evidence_text.text(evidence)] + ([] if keep else ["Rolled back as asked."])
    if outage is not None:
        parts += [f"The downtime on staging, with self-test and measuring {outage.outage_seconds:.3f} s:\n"
                  f"{timeline(outage.phases)}",
                  f"kicked {len(outage.kicked)} sessions:\n"
                  + "\n".join(f"  {line}" for line in sessions.report(outage.kicked).splitlines())]
    statements = rehearsal.outage.statements if rehearsal.outage is not None else (
        rehearsal.live.statements if rehearsal.live is not None else ())
    notices = [f"line {each.statement.line}: {notice}" for each in statements for notice in each.notices]
    return "\n\n".join([*parts, *(["notices:\n" + "\n".join(notices)] if notices else []), ""])


def _facts(rehearsal: Rehearsal) -> dict[str, object]:
    outage = rehearsal.outage
    return {**evidence_facts(rehearsal.evidence), "kicked": outage.kicked if outage is not None else ()}


def evidence_facts(evidence: Evidence) -> dict[str, object]:
    """The document, and what follows from it, for JSON."""
    return {**json.loads(evidence.to_json()), "expected_seconds": evidence.expected_seconds,
            "verdict": evidence.verdict, "needs_signoff": evidence.needs_signoff, "digest": evidence.digest}


def _times(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_TIMES:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {MOST_TIMES}")
    return int(text)

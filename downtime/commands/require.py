"""Say whether a patch is applied: a gate for the deploy of the code that needs it."""

from __future__ import annotations

import argparse
from time import monotonic

from twisted.internet.task import deferLater

from downtime import deployment_lock, deployments, errors, ledger
from downtime.commands.arguments import seconds
from downtime.commands.context import Context
from downtime.errors import ExitStatus
from downtime.fleet import ledgers
from downtime.patches import Patch
from downtime.plan import listing
from downtime.settings import Environment

SUMMARY = "exit 0 only where the patch is applied: for the deploy of the code that needs it"
EXAMPLE = "require patch-2211-03-0 --environment production --wait 600"

POLL_SECONDS = 1.0  # one connection each; a deploy can spare a second


class NotApplied(errors.Refused):
    """The database does not have the patch yet."""

    happened = "{patch} is not applied to {environment} ({database})"
    next_step = "deploy the code when the patch is applied; --wait SECONDS waits for it"


class OtherBytesApplied(errors.Refused):
    """The database has a patch of that name, but not this one."""

    happened = ("{patch} was applied to {environment} ({database}) with other content: {applied} there, {wanted} in "
                "commit {commit}")
    next_step = "restore {path} as it was applied, and land the change as a new patch"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("patch", metavar="PATCH", help="id, file name or path")
    parser.add_argument("--commit", metavar="REV", help="a commit of the branch; default: its tip")
    parser.add_argument("--wait", metavar="SECONDS", type=seconds, default=0.0,
                        help="wait so long for the patch to be applied; default: do not wait")


async def run(context: Context, arguments: argparse.Namespace) -> ExitStatus:
    environment = context.environment()
    commit = await context.commit(arguments.commit)
    patch = deployments.find(await context.inventory(commit), arguments.patch, context.settings, commit)
    entry = await _wait_for(context, environment, patch, deadline=monotonic() + arguments.wait)
    others = len(environment.fleet.databases)
    where = f"{environment.target.label}{f' and {others} more' if others else ''}"
    context.output.answer(
        f"{patch.id} is applied to {environment.name} ({where}) since "
        f"{entry.finished_at.isoformat(sep=' ', timespec='seconds')}",
        environment=environment.name, database=environment.target.label, patch=patch.id, sha256=patch.sha256,
        applied=True, finished_at=entry.finished_at)
    return ExitStatus.DONE


async def _wait_for(context: Context, environment: Environment, patch: Patch, *, deadline: float) -> ledger.Entry:
    """The patch's row; of several databases that of the last one.

    Raises NotApplied or OtherBytesApplied, or NodeError or DeploymentUnderWay where the last look failed.
    """
    while True:
        try:
            had = await ledgers.read(environment, reactor=context.reactor)
            found = [(member, _find(had[member.member], member, patch)) for member in environment.members()]
            if all(entry for _, entry in found):
                return max((entry for _, entry in found if entry), key=lambda entry: entry.finished_at)
            problem: errors.DowntimeError = NotApplied(
                patch=patch.id, environment=environment.name,
                database=listing([member.target.label for member, entry in found if entry is None]))
        except (errors.NodeError, deployment_lock.DeploymentUnderWay) as error:
            problem = error  # the very downtime that is waited for keeps us out
        left_seconds = deadline - monotonic()
        if left_seconds <= 0:
            raise problem
        context.output.progress(f"{problem}; looking again until {left_seconds:.0f} s from now")
        await deferLater(context.reactor, min(POLL_SECONDS, left_seconds), lambda: None)


def _find(entries: tuple[ledger.Entry, ...], environment: Environment, patch: Patch) -> ledger.Entry | None:
    for entry in entries:
        if entry.id == patch.id:
            if entry.sha256 != patch.sha256:
                raise OtherBytesApplied(
                    patch=patch.id, environment=environment.title, database=environment.target.label, path=patch.path,
                    applied=entry.sha256[:12], wanted=patch.sha256[:12], commit=patch.commit[:12])
            return entry
    return None

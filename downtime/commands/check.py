"""Judge a landing before it lands: a range of commits, or the working tree one stands in."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from downtime import deployments, landing, patches
from downtime.commands.context import Context
from downtime.errors import ExitStatus
from downtime.landing import ChangedFile
from downtime.patches import Inventory
from downtime.repository import Repository
from downtime.settings import Settings

SUMMARY = "judge a landing (a range of commits, or the working tree) before it lands"
EXAMPLE = "check --base origin/devel"

KINDS = {landing.NotDatabase: "not a database landing", landing.Accepted: "accepted", landing.Rejected: "rejected"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base", metavar="REV", required=True,
                        help="where it would land; judged is what came since the common ancestor")
    parser.add_argument("--head", metavar="REV",
                        help="what would land; default: the working tree, untracked files too")
    parser.add_argument("--repository", metavar="FOLDER", type=Path, default=Path(),
                        help="any folder of the working tree; default: the current one")
    parser.add_argument("--offline", action="store_true",
                        help="do not ask the database what is applied; late and edited patches pass unnoticed")


async def run(context: Context, arguments: argparse.Namespace) -> ExitStatus:
    repository = Repository.local(arguments.repository, reactor=context.reactor)
    base = await repository.merge_base(arguments.base, arguments.head or "HEAD")
    changes, inventory = await _landing(repository, context.settings, base, arguments.head)
    applied = None if arguments.offline else await context.entries_if_reachable(
        context.environment(), "late and edited patches pass unnoticed")
    judged = landing.judge(changes, context.settings.landing, inventory, applied or ())
    context.output.answer(
        judged.sentence, base=base, head=arguments.head or "working tree", landing=KINDS[type(judged)],
        sentence=judged.sentence, knows_what_is_applied=applied is not None, **_facts(judged))
    return ExitStatus.REFUSED if isinstance(judged, landing.Rejected) else ExitStatus.DONE


async def _landing(repository: Repository, settings: Settings, base: str, head: str | None
                   ) -> tuple[tuple[ChangedFile, ...], Inventory]:
    """What changed since the base, and the patches as they would then be."""
    if head is not None:
        commit = await repository.resolve(head)
        return (await repository.changed_files(base, commit),
                await deployments.inventory_at(repository, settings, commit))
    files = await repository.working_tree_files(settings.patches.directory)
    return (await repository.working_tree_changes(base),
            patches.inventory(files, settings.patches, not_schema=settings.landing.not_schema, commit=""))


def _facts(judged: landing.Landing) -> dict[str, Any]:
    """The landing as JSON has it."""
    landed = () if isinstance(judged, landing.NotDatabase) else judged.patches
    return {
        "patches": [{"patch": patch.id, "path": patch.path, "lane": patch.lane} for patch in landed],
        "reasons": judged.reasons if isinstance(judged, landing.Rejected) else ()}

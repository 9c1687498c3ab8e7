"""Judge a landing before it lands: a range of commits, or the working tree one stands in."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from downtime import deployments, landing, ledger, lint, patches
from downtime.commands.context import Context
from downtime.errors import ExitStatus
from downtime.findings import Finding
from downtime.landing import ChangedFile
from downtime.patches import Inventory, Patch
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
    applied, version = (None, None) if arguments.offline else await _database(context)
    judged = landing.judge(changes, context.settings.landing, inventory, applied or ())
    landed = () if isinstance(judged, landing.NotDatabase) else judged.patches
    if landed and version is None:
        context.output.progress("the linter takes its own default for the server's version, which nobody told it")
    found = await lint.lint(landed, server_version=version, rules=context.settings.lint, reactor=context.reactor)
    judged = landing.with_lint(judged, found)
    context.output.answer(
        "\n".join([judged.sentence, *_lint_lines(landed, found)]), base=base, head=arguments.head or "working tree",
        landing=KINDS[type(judged)], sentence=judged.sentence, knows_what_is_applied=applied is not None,
        linted_for=version, **_facts(judged, found))
    return ExitStatus.REFUSED if isinstance(judged, landing.Rejected) else ExitStatus.DONE


async def _database(context: Context) -> tuple[Sequence[ledger.Entry] | None, int | None]:
    """What is applied, and the server's version as libpq gives it; None for both where it cannot be asked."""
    environment = context.environment()
    applied = await context.entries_if_reachable(environment, "late and edited patches pass unnoticed")
    if applied is None:
        return None, None
    async with context.session(environment, "check") as node:
        return applied, node.server_version


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


def _lint_lines(landed: Sequence[Patch], found: Mapping[str, Sequence[Finding]]) -> list[str]:
    lines = [f"  {line}" for patch in landed for line in lint.lines(patch.path, found[patch.id])]
    return ["The linter:", *lines] if lines else []


def _facts(judged: landing.Landing, found: Mapping[str, Sequence[Finding]]) -> dict[str, Any]:
    """The landing as JSON has it."""
    landed = () if isinstance(judged, landing.NotDatabase) else judged.patches
    return {
        "patches": [{"patch": patch.id, "path": patch.path, "lane": patch.lane,
                     "lint": [asdict(each) for each in found[patch.id]]} for patch in landed],
        "reasons": judged.reasons if isinstance(judged, landing.Rejected) else ()}

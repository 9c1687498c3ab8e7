"""Show what a database still lacks of the branch, in order, and what speaks against running it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from downtime import ledger, lint, statements
from downtime.commands.context import Context
from downtime.commands.output import table
from downtime.errors import ExitStatus
from downtime.findings import Finding
from downtime.fleet import ledgers
from downtime.patches import Patch
from downtime.plan import Plan, listing
from downtime.settings import Environment

SUMMARY = "show which patches are pending, in order, with lane and findings"
EXAMPLE = "plan --environment production"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One pending patch as it is shown."""

    patch: str
    path: str
    lane: str
    declared: bool
    sha256: str
    staging_seconds: float | None  # None: these bytes are not in staging's ledger
    findings: tuple[str, ...]      # what keeps it from running, in complete sentences
    lint: tuple[Finding, ...]      # all that the linter found; what refuses the patch is among `findings`, too


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--commit", metavar="REV", help="a commit of the branch; default: its tip")


async def run(context: Context, arguments: argparse.Namespace) -> ExitStatus:
    environment = context.environment()
    commit = await context.commit(arguments.commit)
    async with context.session(environment, "plan") as node:
        version = node.server_version
        had = (await ledgers.read(environment, reactor=context.reactor) if environment.fleet.databases
               else {environment.member: await ledger.read(node)})
    inventory = await context.inventory(commit)
    planned, half_way = ledgers.plan_of(had, inventory), ledgers.half_way(had, inventory)
    applied = len(ledgers.in_all(had))
    rehearsed = await _rehearsed(context, environment) if planned.pending else ()
    linted = await lint.lint(planned.pending, server_version=version, rules=context.settings.lint,
                             reactor=context.reactor)
    lines = pending_lines(planned, rehearsed, linted)
    refused = bool(planned.drift) or any(line.findings for line in lines)
    context.output.answer(
        "\n".join([_text(environment, commit, planned, lines, applied=applied), *half_way_lines(half_way)]),
        environment=environment.name, database=environment.target.label, commit=commit, applied=applied,
        last_applied=planned.last_applied, half_way=half_way,
        pending=[asdict(line) for line in lines], drift=[asdict(drift) for drift in planned.drift],
        missing=planned.missing, refused=refused)
    return ExitStatus.REFUSED if refused else ExitStatus.DONE


def half_way_lines(half_way: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """What some of several databases have; the next deployment of each goes on with the others. Pure."""
    if not half_way:
        return ()
    return ("", "Half way:", *(f"  {patch} is lacking in {listing(names)}, and others have it"
                               for patch, names in half_way.items()))


async def _rehearsed(context: Context, environment: Environment) -> Sequence[ledger.Entry]:
    if environment.name != "production":
        return ()
    staging = context.settings.environment("staging")
    return await context.entries_if_reachable(staging, "no seconds on staging are shown") or ()


def pending_lines(planned: Plan, rehearsed: Sequence[ledger.Entry], linted: Mapping[str, tuple[Finding, ...]]
                  ) -> tuple[Line, ...]:
    """The pending patches with what is known of them. Pure."""
    seconds = {(entry.id, entry.sha256): entry.seconds for entry in rehearsed if entry.lane != ledger.BASELINE}
    return tuple(
        Line(patch=patch.id, path=patch.path, lane=patch.lane, declared=patch.declared, sha256=patch.sha256,
             staging_seconds=seconds.get((patch.id, patch.sha256)), lint=linted[patch.id],
             findings=(*_findings(planned, patch), *lint.sentences(patch.path, linted[patch.id])))
        for patch in planned.pending)


def _findings(planned: Plan, patch: Patch) -> tuple[str, ...]:
    # the statements of a file that is no text are none: its problem says all
    return (*planned.lateness_of(patch), *patch.problems, *(statements.objections_to(patch) if patch.sql else ()))


def _text(environment: Environment, commit: str, planned: Plan, lines: Sequence[Line], *, applied: int) -> str:
    last = f", the last one {planned.last_applied}" if planned.last_applied else ""
    said = [f"{environment.name} ({environment.target.label}) against commit {commit[:12]}: {applied} applied{last}; "
            f"{len(lines)} pending."]
    if lines:
        said += ["", table(("", "patch", "lane", "on staging", "findings", "lint"), [
            (str(number), line.patch, line.lane if line.declared else f"{line.lane} (undeclared)",
             "-" if line.staging_seconds is None else f"{line.staging_seconds:.3f} s", str(len(line.findings) or "-"),
             str(len(line.lint) or "-"))
            for number, line in enumerate(lines, start=1)])]
    findings = [*(drift.sentence for drift in planned.drift), *(f for line in lines for f in line.findings)]
    notes = [f"{name} is applied, and no longer in the repository." for name in planned.missing]
    if findings:
        said += ["", "Refused:", *(f"  {finding}" for finding in findings)]
    if remarks := [remark for line in lines for remark in lint.lines(line.path, line.lint)]:
        said += ["", "The linter:", *(f"  {remark}" for remark in remarks)]
    if notes:
        said += ["", "To know:", *(f"  {note}" for note in notes)]
    return "\n".join(said)

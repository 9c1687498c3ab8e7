"""Try SQL files out on any database: `rehearse --rollback --database CONNECTION FILE.sql …`.

Needs no Buildbot, no repository, no ledger, and no settings: those that are found give budget and rules, else the
defaults hold. Each file runs in one transaction, measured, without a gate and with clients connected, and is rolled
back: it leaves nothing behind, but its locks are real until then.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions

from downtime import deployments, errors, evidence_text, opinions, patches, runs, settings, trial
from downtime.apply import Deployment
from downtime.commands.output import Output
from downtime.commands.rehearse import check_rolls_back, evidence_facts
from downtime.errors import ExitStatus
from downtime.evidence import Evidence
from downtime.ledger import Origin
from downtime.node import connect
from downtime.patches import Patch
from downtime.runs import Circumstances
from downtime.settings import Settings
from downtime.settings.file import FILE_NAME
from downtime.settings.sections import Budget, Lint, Live, Patches
from downtime.target import Target


class CannotBeTriedOut(errors.Refused):
    """A statement of a file would leave something behind."""

    happened = "{path}, line {line}: {kind} cannot run inside a transaction, so it cannot be rolled back"
    next_step = "rehearse it on staging without --rollback, or take the statement out of the file"


class IsProduction(errors.Refused):
    """The connection leads to the database of the settings that must not be tried out on."""

    happened = "{node} is environments.production of the settings: a patch would lock clients out of it"
    next_step = "use staging, or another copy of production"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What of the settings counts here."""

    budget: Budget
    live: Live
    lint: Lint
    patches: Patches


def wrong_usage(arguments: argparse.Namespace) -> list[str]:
    """What is wrong with the options that go with --database, in complete sentences."""
    problems = []
    if not arguments.rollback:
        problems.append("--database goes with --rollback: on a database without a ledger nothing may stay.")
    if not arguments.patches:
        problems.append("name the files to try out.")
    if arguments.repeat is not None:
        problems.append("--repeat is for rehearsals on staging; try the file out again.")
    if arguments.environment is not None:
        problems.append("--environment names a database of the settings; --database is another one.")
    return problems


async def run(arguments: argparse.Namespace, output: Output, *, environ: Mapping[str, str], default_folder: Path,
              reactor: Any) -> ExitStatus:
    """Try out each file by itself. Raises DowntimeError."""
    if problems := wrong_usage(arguments):
        raise errors.SettingsError("rehearse --database", problems)
    loaded = _settings(arguments.settings, environ, default_folder)
    target = _target(arguments.database)
    if loaded is not None and _is_production(target, loaded):
        raise IsProduction(node=target.label)
    rules = _rules(loaded)
    # all are examined before the first one runs
    ready = [await deployments.deployment(_patch(Path(name), rules.patches), Origin()) for name in arguments.patches]
    for deployment in ready:
        check_rolls_back(deployment, CannotBeTriedOut)
    facts = []
    for deployment in ready:
        output.progress(f"trying out {deployment.patch.path} on {target.label}")
        evidence = await _try_out(target, deployment, rules, reactor)
        facts.append(evidence_facts(evidence))
        output.answer(f"{evidence_text.text(evidence)}\n\nRolled back: nothing is left behind.\n", rehearsed=facts,
                      rolled_back=True)
    return ExitStatus.DONE


async def _try_out(target: Target, deployment: Deployment, rules: Rules, reactor: Any) -> Evidence:
    node = await connect(target, application_name="fastdowntime rehearsal", reactor=reactor)
    server_version = node.server_version
    node.close()
    patch = deployment.patch
    findings = await opinions.of_linter(patch, rules.lint, server_version=server_version, reactor=reactor)
    if refusing := [finding for finding in findings if finding.refuses]:
        raise opinions.LintRefused.over(patch, refusing)
    started_at = datetime.now(UTC)
    # Ctrl-C ends the process, and with it the session: the server rolls back
    tried = await trial.try_out(target, deployment, limit_seconds=rules.budget.outage_limit_seconds,
                                go_on=lambda: None, whole=True, reactor=reactor)
    measured = runs.of_transaction(tried.statements, started_at=started_at, seconds=tried.seconds, cold=True)
    return runs.evidence_of(patch, [measured], budget=rules.budget, moment_seconds=rules.live.moment_seconds,
                            known=Circumstances(environment="", server=target.label, server_version=server_version,
                                                findings=findings, factor=opinions.NOT_LEARNT))


def _settings(named: str | None, environ: Mapping[str, str], default_folder: Path) -> Settings | None:
    """The settings, or None where none are named and none lie where they usually do. Raises SettingsError."""
    path = settings.find(named, environ, default_folder)
    if path == default_folder / FILE_NAME and not path.exists():
        return None
    return settings.load(path)


def _rules(loaded: Settings | None) -> Rules:
    if loaded is None:
        return Rules(budget=Budget(), live=Live(), lint=Lint(), patches=Patches(directory="."))
    return Rules(budget=loaded.budget, live=loaded.live, lint=loaded.lint, patches=loaded.patches)


def _target(connection: str) -> Target:
    try:
        parts = psycopg2.extensions.parse_dsn(connection)
    except psycopg2.ProgrammingError:
        raise errors.SettingsError("--database", [
            "is no connection of PostgreSQL; write postgresql://user@host:port/database."]) from None
    password = parts.pop("password", None)
    return Target(dsn=psycopg2.extensions.make_dsn(**parts), password=password)


def _is_production(target: Target, loaded: Settings) -> bool:
    production = loaded.environment("production").target
    return (target.server, target.database) == (production.server, production.database)


def _patch(path: Path, rules: Patches) -> Patch:
    """Raises SettingsError where the file cannot be read."""
    try:
        return patches.alone(str(path), path.read_bytes(), rules)
    except OSError as error:
        raise errors.SettingsError(str(path), [f"cannot be read: {error.strerror}."]) from None

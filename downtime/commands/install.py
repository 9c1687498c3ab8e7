"""Print the SQL that a DBA runs once per database; no connection is opened."""

from __future__ import annotations

import argparse

from downtime import errors, install
from downtime.commands.context import Context
from downtime.errors import ExitStatus
from downtime.plan import listing
from downtime.settings import Environment

SUMMARY = "print the SQL a DBA runs once on a database: role, grants, functions, ledger"
EXAMPLE = "install --environment production | psql -v ON_ERROR_STOP=1 service=dba"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--member", metavar="NAME", default=None,
                        help="of several databases the one with this name in fleet.databases; default: the canary")


async def run(context: Context, arguments: argparse.Namespace) -> ExitStatus:
    environment = _member(context, arguments.member)
    database, role = _names(environment)
    script = install.script(database, role, environment.gate.value)
    context.output.answer(script.rstrip("\n"), environment=environment.name, database=database, role=role,
                          gate=environment.gate, sql=script)
    return ExitStatus.DONE


def _member(context: Context, name: str | None) -> Environment:
    """Raises SettingsError where nobody is called so."""
    environment = context.environment()
    canary, *others = environment.members()
    if name is None and others:
        names = listing([member.member for member in others])
        context.output.progress(f"this is for {canary.member}; print that of each other with --member: {names}")
    found = next((member for member in (canary, *others) if member.member == (name or canary.member)), None)
    if found is None:
        raise errors.SettingsError(f"environments.{environment.name}.fleet", [f"no database is called {name}."])
    return found


def _names(environment: Environment) -> tuple[str, str]:
    """Database and role. Raises SettingsError where the connection leaves them to a service file."""
    parts = environment.target.parameters
    if "dbname" not in parts or "user" not in parts:
        raise errors.SettingsError(f"environments.{environment.name}.database", [
            "the script needs the names of database and user; write them beside service=, for example "
            "service=app dbname=app user=patcher."])
    return parts["dbname"], parts["user"]

"""Open a database that a dead deployment has left closed; safe at any time."""

from __future__ import annotations

import argparse

from downtime import recovery
from downtime.commands.context import Context
from downtime.errors import ExitStatus

SUMMARY = "undo what a dead run left closed; safe at any time, and never opens what an administrator closed"
EXAMPLE = "reopen --environment production"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It has none of its own."""


async def run(context: Context, arguments: argparse.Namespace) -> ExitStatus:
    environment = context.environment()
    with context.interruption.postponed("the database to open"):
        recovered = await recovery.reopen_all(environment, reactor=context.reactor)
    context.output.answer("\n".join(recovered.lines), environment=environment.name,
                          database=environment.target.label, changed=recovered.changed, found=recovered.lines)
    return ExitStatus.DONE

"""The command line: `python -m downtime [--settings FILE] COMMAND [--environment NAME] [--json]`.

The twin of the base step: the one place of the command line where a DowntimeError is caught, told, and made into the
exit status.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from twisted.internet.task import react

from downtime import errors, settings
from downtime.commands import COMMANDS, any_database
from downtime.commands.arguments import parser
from downtime.commands.context import Context
from downtime.commands.interruption import Interruption
from downtime.commands.output import Output

BESIDE_MASTER_CFG = Path(__file__).resolve().parent.parent


class InternalError(errors.DowntimeError):
    """A mistake in this program."""

    happened = "internal error: {kind}: {reason}"
    next_step = "python -m downtime status, and report the error with the lines above"
    left = errors.Left.UNKNOWN


async def main(reactor: Any, arguments: argparse.Namespace) -> None:
    """Run one command and leave with its exit status (SystemExit)."""
    output = Output(as_json=arguments.json)
    output.show_warnings_of_the_log()
    failure: errors.DowntimeError | None = None
    status = errors.ExitStatus.DONE
    try:
        status = await _run(reactor, arguments, output)
    except errors.DowntimeError as error:
        failure = error
    except Exception as error:
        output.progress(traceback.format_exc())
        failure = InternalError(kind=type(error).__name__, reason=str(error))
    output.end(failure)
    raise SystemExit(int(failure.exit_status if failure is not None else status))


async def _run(reactor: Any, arguments: argparse.Namespace, output: Output) -> errors.ExitStatus:
    interruption = Interruption(output, reactor)
    if getattr(arguments, "database", None) is not None:  # of `rehearse`: the one way that needs no settings
        return await interruption.run(any_database.run(arguments, output, environ=os.environ,
                                                       default_folder=BESIDE_MASTER_CFG, reactor=reactor))
    loaded = settings.load(settings.find(arguments.settings, os.environ, BESIDE_MASTER_CFG))
    for warning in loaded.warnings:
        output.progress(f"warning: {warning}")
    context = Context(settings=loaded, environment_name=arguments.environment, output=output,
                      interruption=interruption, reactor=reactor)
    return await interruption.run(COMMANDS[arguments.command].run(context, arguments))


if __name__ == "__main__":
    react(main, [parser(COMMANDS).parse_args(sys.argv[1:])])

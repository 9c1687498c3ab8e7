"""The parser of the command line. The options that all commands share may stand before the command or behind it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Protocol

from downtime.commands.context import Context
from downtime.errors import ExitStatus
from downtime.settings import Environments

PROGRAM = "python -m downtime"

DESCRIPTION = """\
Fast downtimes for PostgreSQL schema changes: the same code as the steps of Buildbot, for a terminal, a check before
a merge, a deploy script, or a day when Buildbot is down."""

EXIT_STATUSES = """\
exit status:
  0  done
  1  refused by a rule; nothing was touched
  2  wrong usage or settings
  3  failed, rolled back, reopened
  4  the state needs an operator; the message names the next command"""


class Command(Protocol):
    """What a command module has."""

    SUMMARY: str  # a sentence for the list of commands, without capital and full stop
    EXAMPLE: str  # what to type after `python -m downtime`

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    async def run(self, context: Context, arguments: argparse.Namespace) -> ExitStatus:
        """Do it and give the answer to `context.output`. Raises DowntimeError."""


def parser(commands: Mapping[str, Command]) -> argparse.ArgumentParser:
    """The parser of the whole command line; the namespace has `command` beside each command's own arguments."""
    whole = argparse.ArgumentParser(
        prog=PROGRAM, description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
        epilog=f"example:\n  {PROGRAM} --settings settings.yaml plan --environment staging\n\n{EXIT_STATUSES}")
    _add_shared(whole, default=None)
    subparsers = whole.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in commands.items():
        one = subparsers.add_parser(
            name, help=command.SUMMARY, description=f"{command.SUMMARY[0].upper()}{command.SUMMARY[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
            epilog=f"example:\n  {PROGRAM} {command.EXAMPLE}\n\n{EXIT_STATUSES}")
        command.add_arguments(one)
        # without a default here what was given before the command would be overwritten
        _add_shared(one, default=argparse.SUPPRESS)
    return whole


def seconds(text: str) -> float:
    """A duration given on the command line: a number that is not negative."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds") from None
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds that can be waited")
    return value


def _add_shared(one: argparse.ArgumentParser, *, default: str | None) -> None:
    group = one.add_argument_group("options of every command")
    group.add_argument("--settings", metavar="FILE", default=default,
                       help="the settings file; default: $FASTDOWNTIME_SETTINGS, else settings.yaml beside master.cfg")
    group.add_argument("--environment", metavar="NAME", choices=list(Environments.model_fields), default=default,
                       help=f"the database: {' or '.join(Environments.model_fields)}")
    group.add_argument("--json", action="store_true", default=default if default is not None else False,
                       help="answer with one JSON object; progress still goes to standard error")

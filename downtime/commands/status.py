"""Show in which condition the databases are, and test a gate on request."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults

from downtime import errors, forecast, selftest
from downtime.commands import queue_of_buildbot, queue_table
from downtime.commands.context import Context
from downtime.commands.queue_of_buildbot import Answer
from downtime.commands.standings import PRODUCTION, Seen, ToCome, of_all
from downtime.condition import Condition, observe
from downtime.errors import ExitStatus
from downtime.ledger import Entry
from downtime.patches import Inventory
from downtime.plan import plan
from downtime.repository import RepositoryError
from downtime.settings import Environment

SUMMARY = "show gate, deployments, waiting clients and ledger of every database, and the deployments to come"
EXAMPLE = "status --environment production"
READ_AT_ONCE = 10  # databases; two sessions each, one after the other


class EnvironmentMissing(errors.SettingsError):
    """A self-test closes a gate: nobody should have to guess which."""

    def __init__(self) -> None:
        super().__init__("status --self-test", ["name the database whose gate is to be tested: --environment NAME."])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--self-test", action="store_true",
                        help="first close the gate of the environment for a moment and try to get in; new clients "
                             "wait or are refused for 0.4 s")
    parser.add_argument("--yes", action="store_true",
                        help="with --self-test on production: do not ask; needed where standard input is no terminal")


async def run(context: Context, arguments: argparse.Namespace) -> ExitStatus:
    if arguments.self_test:
        await _test_gate(context, agreed=arguments.yes)
    names = [context.environment_name] if context.environment_name else context.settings.environment_names
    inventory = await _inventory(context)
    seen = {name: await _look_at_all(context, context.settings.environment(name)) for name in names}
    to_come = await _to_come(context, seen, inventory)
    standings = [of_all(seen[name], inventory, to_come if name == PRODUCTION else None) for name in names]
    commands = [standing.next_command for standing in standings if standing.next_command]
    lines = [line for standing in standings for line in (*standing.lines, "")]
    context.output.answer("\n".join([*lines, *(f"Next: {command}" for command in commands)]).rstrip("\n"),
                          environments=[standing.facts for standing in standings], next=commands)
    if commands:
        return ExitStatus.NEEDS_OPERATOR
    silent = any(isinstance(each, errors.NodeError) for name in names for _, each in seen[name])
    return ExitStatus.FAILED if silent else ExitStatus.DONE  # who runs it in a monitor must not read silence as health


async def _test_gate(context: Context, *, agreed: bool) -> None:
    if context.environment_name is None:
        raise EnvironmentMissing
    environment = context.environment()
    context.confirm(
        f"Close gate {environment.gate} of {environment.name} ({environment.target.label}) for about 0.4 s?",
        agreed=agreed or environment.name != PRODUCTION)
    with context.interruption.postponed("the gate to open"):
        seconds = await selftest.run(environment.target, environment.gate, context.reactor)
    context.output.answer(
        f"gate {environment.gate} of {environment.name} keeps new connections out; it was closed for {seconds:.3f} s\n",
        self_test={"environment": environment.name, "gate": environment.gate, "closed_seconds": seconds})


async def _inventory(context: Context) -> Inventory | None:
    try:
        return await context.inventory(await context.commit())
    except RepositoryError as error:
        context.output.progress(f"pending patches are not shown: {error}")
        return None


async def _look_at_all(context: Context, environment: Environment) -> list[tuple[Environment, Seen]]:
    """Every database of the environment, the canary first, some at a time."""
    at_a_time = DeferredSemaphore(READ_AT_ONCE)

    def look(member: Environment) -> Deferred[Seen]:
        return Deferred.fromCoroutine(_look(context, member))

    members = environment.members()
    return list(zip(members, await gatherResults([at_a_time.run(look, member) for member in members]), strict=True))


async def _look(context: Context, environment: Environment) -> Seen:
    try:
        return await observe(environment.target, reactor=context.reactor)
    except errors.NodeError as error:
        return error


async def _to_come(context: Context, seen: Mapping[str, Sequence[tuple[Environment, Seen]]],
                   inventory: Inventory | None) -> ToCome | None:
    """None where it cannot be told, or nobody has asked about production."""
    production, *others = [_entries(each) for _, each in seen.get(PRODUCTION, ())] or [None]
    staging = _entries(seen["staging"][0][1]) if "staging" in seen else None
    if production is None or inventory is None:
        return None
    lacking = {patch.id for entries in (production, *others) if entries is not None
               for patch in plan(inventory, entries).pending}  # one that does not answer shows so in its own line
    pending, url = [patch for patch in inventory.patches if patch.id in lacking], context.settings.buildmaster.url
    answer = await queue_of_buildbot.ask(url, reactor=context.reactor) if pending else Answer(url=url)
    return ToCome(queue=queue_table.queue(pending, staging, forecast.learnt(production), answer.told), answer=answer,
                  now=datetime.now(UTC), columns=shutil.get_terminal_size((queue_table.WIDEST, 0)).columns)


def _entries(seen: Seen) -> Sequence[Entry] | None:
    """What the ledger has; None where it was not asked, or did not answer."""
    return seen.inside.entries if isinstance(seen, Condition) and seen.inside is not None else None

"""Show in which condition the databases are, and test a gate on request."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from downtime import errors, forecast, selftest
from downtime.commands import queue_of_buildbot, queue_table
from downtime.commands.context import Context
from downtime.commands.queue_of_buildbot import Answer
from downtime.condition import Condition, Inside, observe
from downtime.errors import ExitStatus
from downtime.history.queue import Queue, to_json
from downtime.ledger import Entry
from downtime.patches import Inventory
from downtime.plan import listing, plan
from downtime.repository import RepositoryError
from downtime.settings import Environment

SUMMARY = "show gate, deployments, waiting clients and ledger of every database, and the deployments to come"
EXAMPLE = "status --environment production"

PRODUCTION = "production"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One environment as it is shown."""

    lines: tuple[str, ...]
    facts: dict[str, Any]
    next_command: str = ""  # what an operator has to type; empty: nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class ToCome:
    """The deployments to come; about an empty queue Buildbot is not asked."""

    queue: Queue
    answer: Answer  # of Buildbot
    now: datetime
    columns: int    # of the terminal

    @property
    def lines(self) -> Sequence[str]:
        return queue_table.lines(self.queue, self.answer, columns=self.columns) if self.queue.entries else ()

    @property
    def facts(self) -> dict[str, Any]:
        asked = {"url": self.answer.url, "answers": not self.answer.silence, "reason": self.answer.silence}
        return to_json(self.queue, now=self.now) | {"buildbot": asked if self.queue.entries else None}


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
    seen = {name: await _look(context, context.settings.environment(name)) for name in names}
    to_come = await _to_come(context, seen, inventory)
    standings = [_standing(context.settings.environment(name), seen[name], inventory,
                           to_come if name == PRODUCTION else None) for name in names]
    commands = [standing.next_command for standing in standings if standing.next_command]
    lines = [line for standing in standings for line in (*standing.lines, "")]
    context.output.answer("\n".join([*lines, *(f"Next: {command}" for command in commands)]).rstrip("\n"),
                          environments=[standing.facts for standing in standings], next=commands)
    return ExitStatus.NEEDS_OPERATOR if commands else ExitStatus.DONE


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


async def _look(context: Context, environment: Environment) -> Condition | errors.NodeError:
    try:
        return await observe(environment.target, reactor=context.reactor)
    except errors.NodeError as error:
        return error


async def _to_come(context: Context, seen: Mapping[str, Condition | errors.NodeError], inventory: Inventory | None
                   ) -> ToCome | None:
    """None where it cannot be told, or nobody has asked about production."""
    production, staging = _entries(seen.get(PRODUCTION)), _entries(seen.get("staging"))
    if production is None or inventory is None:
        return None
    pending, url = plan(inventory, production).pending, context.settings.buildmaster.url
    answer = await queue_of_buildbot.ask(url, reactor=context.reactor) if pending else Answer(url=url)
    return ToCome(queue=queue_table.queue(pending, staging, forecast.learnt(production), answer.told), answer=answer,
                  now=datetime.now(UTC), columns=shutil.get_terminal_size((queue_table.WIDEST, 0)).columns)


def _entries(seen: Condition | errors.NodeError | None) -> Sequence[Entry] | None:
    """What the ledger has; None where it was not asked, or did not answer."""
    return seen.inside.entries if isinstance(seen, Condition) and seen.inside is not None else None


def _standing(environment: Environment, seen: Condition | errors.NodeError, inventory: Inventory | None,
              to_come: ToCome | None) -> Standing:
    if isinstance(seen, errors.NodeError):
        return unreachable(environment, seen)
    return standing(environment, seen, inventory, to_come)


def unreachable(environment: Environment, error: errors.NodeError) -> Standing:
    """A server that cannot be asked. Pure."""
    hint = ("a downtime with gate hold may be under way: it opens by itself"
            if isinstance(error, errors.DeadlineExceeded) else error.advice)
    return Standing(lines=(_head(environment), f"  cannot be asked: {error}", f"  {hint}"),
                    facts=_name(environment) | {"reachable": False, "reason": str(error)})


def standing(environment: Environment, seen: Condition, inventory: Inventory | None, to_come: ToCome | None = None
             ) -> Standing:
    """What was seen, in words and for JSON. Pure."""
    inside, learnt = seen.inside, _learnt(environment, seen.inside)
    listed = inventory if to_come is None or not to_come.queue.entries else None  # its table lists what is pending
    return Standing(
        lines=(_head(environment), f"  {_door_line(seen)}",
               *(f"  {line}" for line in (_inside_lines(inside, listed) if inside else ())),
               *([f"  a forecast is what staging has measured × {learnt.sentence}"] if learnt else ()),
               *(f"  {line}" for line in (to_come.lines if to_come else ()))),
        facts=_name(environment) | {
            "reachable": True, "accepts_connections": seen.door.open, "marked": seen.door.text,
            "closed_by_dead_run": seen.closed_by_dead_run, **(_inside_facts(inside, inventory) if inside else {}),
            **({"learnt": learnt} if learnt else {}), **({"queue": to_come.facts} if to_come else {})},
        next_command=f"python -m downtime reopen --environment {environment.name}" if seen.closed_by_dead_run else "")


def _door_line(seen: Condition) -> str:
    door = seen.door
    if door.open:
        return "accepts connections" + (f", and still carries the mark “{door.text}”" if door.closed_by_us else "")
    if not door.closed_by_us:
        return "does not accept connections, and no deployment of ours closed it: an administrator did"
    return f"{door.text}: " + ("a deployment is under way" if seen.lease_held else "its deployer is dead")


def _inside_lines(inside: Inside, inventory: Inventory | None) -> Sequence[str]:
    lines = [f"deployment under way: {inside.deployer}" if inside.deployer else "no deployment is under way",
             f"{inside.waiting_clients} clients are waiting to get in"]
    if inside.invalid_indexes:
        lines.append(f"invalid indexes: {listing(inside.invalid_indexes)}: DROP INDEX CONCURRENTLY each, and apply "
                     "its patch again")
    if inside.entries is None:
        return [*lines, "no ledger: python -m downtime install prints the SQL a DBA runs once, and again where the "
                        "ledger is of an older version"]
    lines.append(f"{len(inside.entries)} patches applied")
    if inside.entries:
        last = inside.entries[-1]
        lines.append(f"last applied: {last.id} at {last.finished_at.isoformat(sep=' ', timespec='seconds')} "
                     f"({last.lane}, {last.seconds:.3f} s)")
    if inventory is not None:
        pending = [patch.id for patch in plan(inventory, inside.entries).pending]
        lines.append(f"{len(pending)} pending" + (f": {listing(pending)}" if pending else ""))
    return lines


def _learnt(environment: Environment, inside: Inside | None) -> forecast.Factor | None:
    """What production's times have taught; a copy of its ledger on staging says nothing of staging."""
    factor = forecast.learnt(inside.entries or ()) if inside and environment.name == PRODUCTION else None
    return factor if factor and factor.patches else None


def _inside_facts(inside: Inside, inventory: Inventory | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"deployment": inside.deployer, "waiting_clients": inside.waiting_clients,
                             "invalid_indexes": inside.invalid_indexes, "installed": inside.entries is not None}
    if inside.entries is not None:
        facts |= {"applied": len(inside.entries), "last_applied": inside.entries[-1] if inside.entries else None}
        if inventory is not None:
            facts["pending"] = [patch.id for patch in plan(inventory, inside.entries).pending]
    return facts


def _head(environment: Environment) -> str:
    return f"{environment.name} ({environment.target.label}, gate {environment.gate})"


def _name(environment: Environment) -> dict[str, Any]:
    return {"environment": environment.name, "database": environment.target.label, "gate": environment.gate}

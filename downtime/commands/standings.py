"""What `status` has seen, in words and for JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from downtime import errors, forecast
from downtime.commands import queue_table
from downtime.commands.output import table
from downtime.commands.queue_of_buildbot import Answer
from downtime.condition import Condition, Inside
from downtime.history.queue import Queue, to_json
from downtime.patches import Inventory
from downtime.plan import listing, plan
from downtime.settings import Environment

PRODUCTION = "production"
COLUMNS = ("database", "where", "connections", "applied", "pending", "")

Seen = Condition | errors.NodeError  # one database, or why it could not be asked


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


def of_all(members: Sequence[tuple[Environment, Seen]], inventory: Inventory | None, to_come: ToCome | None = None
           ) -> Standing:
    """An environment as it is shown: its canary, and a table where other databases get the same patches."""
    (canary, seen), *others = members
    shown = _standing(canary, seen, inventory, to_come)
    if not others:
        return shown
    each = [_standing(member, seen, inventory, None) for member, seen in members]
    rows = [_row(member, seen, inventory) for member, seen in members]
    return replace(
        shown, lines=(*shown.lines, f"  {len(members)} databases get the same patches:",
                      *(f"    {line}" for line in table(COLUMNS, rows).splitlines())),
        facts=shown.facts | {"databases": [{"member": member.member, **standing.facts}
                                           for (member, _), standing in zip(members, each, strict=True)]},
        next_command=next((standing.next_command for standing in each if standing.next_command), ""))


def _standing(environment: Environment, seen: Seen, inventory: Inventory | None, to_come: ToCome | None) -> Standing:
    if isinstance(seen, errors.NodeError):
        return unreachable(environment, seen)
    return standing(environment, seen, inventory, to_come)


def _row(member: Environment, seen: Seen, inventory: Inventory | None) -> tuple[str, ...]:
    """Of several databases each in one line, with what is not as it usually is."""
    where = (member.member, member.target.label)
    if isinstance(seen, errors.NodeError):
        return (*where, "unknown", "-", "-", f"cannot be asked: {seen}")
    inside = seen.inside
    if inside is None:
        return (*where, "closed", "-", "-", _door_line(seen))
    if inside.entries is None:
        return (*where, "open", "-", "-", "no ledger, or that of an older version")
    pending = "-" if inventory is None else str(len(plan(inventory, inside.entries).pending))
    unusual = [*([f"deployment under way: {inside.deployer}"] if inside.deployer else []), *_held_lines(inside),
               *([f"invalid indexes: {listing(inside.invalid_indexes)}"] if inside.invalid_indexes else [])]
    return (*where, "open", str(len(inside.entries)), pending, "; ".join(unusual))


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
            "closed_by_dead_run": seen.closed_by_dead_run, "held_by_dead_run": bool(seen.held_by_dead_run),
            **(_inside_facts(inside, inventory) if inside else {}),
            **({"learnt": learnt} if learnt else {}), **({"queue": to_come.facts} if to_come else {})},
        next_command=f"python -m downtime reopen --environment {environment.name}"
        if seen.closed_by_dead_run or seen.held_by_dead_run else "")


def _door_line(seen: Condition) -> str:
    door = seen.door
    if door.open:
        return "accepts connections" + (f", and still carries the mark “{door.text}”" if door.closed_by_us else "")
    if not door.closed_by_us:
        return "does not accept connections, and no deployment of ours closed it: an administrator did"
    return f"{door.text}: " + ("a deployment is under way" if seen.lease_held else "its deployer is dead")


def _inside_lines(inside: Inside, inventory: Inventory | None) -> Sequence[str]:
    lines = [f"deployment under way: {inside.deployer}" if inside.deployer else "no deployment is under way",
             f"{inside.waiting_clients} clients are waiting to get in", *_held_lines(inside)]
    if inside.invalid_indexes:
        lines.append(f"invalid indexes: {listing(inside.invalid_indexes)}: DROP INDEX CONCURRENTLY each, and apply "
                     "its patch again")
    if inside.entries is None:
        return [*lines, "no ledger: python -m downtime install prints the SQL a DBA runs once, and again where the "
                        "ledger is of an older version"]
    number = len(inside.entries)
    lines.append(f"{number} patch{'' if number == 1 else 'es'} applied")
    if inside.entries:
        last = inside.entries[-1]
        lines.append(f"last applied: {last.id} at {last.finished_at.isoformat(sep=' ', timespec='seconds')} "
                     f"({last.lane}, {last.seconds:.3f} s)")
    if inventory is not None:
        pending = [patch.id for patch in plan(inventory, inside.entries).pending]
        lines.append(f"{len(pending)} pending" + (f": {listing(pending)}" if pending else ""))
    return lines


def _held_lines(inside: Inside) -> Sequence[str]:
    return [each.sentence + ("" if inside.deployer else ": that deployment is dead") for each in inside.held]


def _learnt(environment: Environment, inside: Inside | None) -> forecast.Factor | None:
    """What production's times have taught; a copy of its ledger on staging says nothing of staging."""
    factor = forecast.learnt(inside.entries or ()) if inside and environment.name == PRODUCTION else None
    return factor if factor and factor.patches else None


def _inside_facts(inside: Inside, inventory: Inventory | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"deployment": inside.deployer, "waiting_clients": inside.waiting_clients,
                             "invalid_indexes": inside.invalid_indexes, "installed": inside.entries is not None,
                             "held": [{"kind": each.kind, "place": each.place, "by": each.by, "since": each.since}
                                      for each in inside.held]}
    if inside.entries is not None:
        facts |= {"applied": len(inside.entries), "last_applied": inside.entries[-1] if inside.entries else None}
        if inventory is not None:
            facts["pending"] = [patch.id for patch in plan(inventory, inside.entries).pending]
    return facts


def _head(environment: Environment) -> str:
    return f"{environment.title} ({environment.target.label}, gate {environment.gate})"


def _name(environment: Environment) -> dict[str, Any]:
    return {"environment": environment.name, "database": environment.target.label, "gate": environment.gate}

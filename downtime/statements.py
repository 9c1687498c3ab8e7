"""The statements of a patch as PostgreSQL's own parser sees them, and what a patch may not contain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from downtime import dividing, errors, parsing, statement_kinds
from downtime.parsing import SqlSyntaxError as SqlSyntaxError  # what splitting raises
from downtime.patches import Lane, Patch


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement of a patch."""

    text: str       # as the file has it, from its first word, without the semicolon
    line: int       # of its first word, from 1
    offset: int     # of its first word, in characters from the start of the file
    kind: str       # what a DBA calls it: CREATE INDEX CONCURRENTLY
    transactional: bool        # it can run inside a transaction
    transaction_control: bool  # it begins, ends or divides one, or says of which sort it is
    may_change_settings: bool  # of the session it runs in
    only_returns_rows: bool    # a query that a cursor can run
    instead: str    # what to write for a statement that locks clients out of a table all the while; else empty
    relations: tuple[str, ...] = ()  # that a statement outside transactions names, as written, ready for SQL
    index: str = ""  # the name that CREATE INDEX CONCURRENTLY gives, ready for SQL; empty where it gives none


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """Why a patch may not run, and the line that is to blame."""

    line: int
    reason: str  # without a full stop, to stand behind "file, line 3:"


class PatchRefused(errors.Refused):
    """A pending patch may not run; `objections` are complete sentences, each naming file and line."""

    happened = "{patch} may not run:\n{listing}"
    next_step = "correct the patch, land the correction and let it be rehearsed again"

    def __init__(self, *, patch: str, objections: Sequence[str]) -> None:
        self.objections = tuple(objections)
        super().__init__(patch=patch, listing="\n".join(f"  {objection}" for objection in objections))


def split(sql: str) -> tuple[Statement, ...]:
    """The statements of a text, in order. Raises SqlSyntaxError at the first thing that is none."""
    return tuple(_statement(parsed) for parsed in parsing.parse(sql))


def index_on(statement: Statement, relation: str, *, index: str) -> str:
    """The text of the same CREATE INDEX on another relation, to see what the server would make of it.

    Without CONCURRENTLY and IF NOT EXISTS; a column that is qualified with its table's name is so no longer.
    `relation` and `index` are names as SQL has them. Raises ValueError for a statement that is no CREATE INDEX, and
    SqlSyntaxError for one that is nested too deeply to be written again.
    """
    return parsing.index_on(statement.text, relation, index=index)


def objections(statements: Sequence[Statement], lane: Lane) -> tuple[Objection, ...]:
    """Everything that keeps these statements from being a patch of that lane."""
    reasons = [_objection(statement, lane) for statement in statements]
    if lane is Lane.COLD:
        reasons = _with_those_outside_transactions(statements, reasons)
    return tuple(Objection(line=statement.line, reason=reason)
                 for statement, reason in zip(statements, reasons, strict=True) if reason)


def examine(patch: Patch) -> tuple[Statement, ...]:
    """The statements of a patch that is about to run. Raises PatchRefused with everything that is wrong with it."""
    statements, found = _read(patch)
    if patch.problems or found:
        raise PatchRefused(patch=patch.id, objections=[*patch.problems, *found])
    return statements


def objections_to(patch: Patch) -> tuple[str, ...]:
    """What is wrong with a patch's statements, in complete sentences, beside the problems the inventory found."""
    return tuple(_read(patch)[1])


def _read(patch: Patch) -> tuple[tuple[Statement, ...], list[str]]:
    try:
        statements = split(patch.sql)
    except SqlSyntaxError as error:
        return (), [f"{patch.path}, {error}."]
    found = objections(statements, patch.lane)
    return statements, [f"{patch.path}, line {each.line}: {each.reason}." for each in found]


def _objection(statement: Statement, lane: Lane) -> str:
    kind = statement.kind
    if statement.transaction_control:
        return f"{kind} in a patch: its transaction is begun and ended by the deployment; remove the statement"
    if kind in (statement_kinds.COPY_FROM_CLIENT, statement_kinds.COPY_TO_CLIENT):
        return f"{kind} needs a client that holds the data; write INSERT instead, or let the server read a file"
    if statement.instead and (lane is Lane.LIVE or not statement.transactional):
        return f"{kind} locks clients out of a table for as long as it takes; {statement.instead}"
    if kind == statement_kinds.DISCARD_ALL:
        return f"{kind} gives up the deployment lock; reset what you have set, or DISCARD PLANS, SEQUENCES or TEMP"
    if lane is Lane.LIVE and kind == statement_kinds.SET_LOCAL:
        return f"{kind} ends with the transaction, which in a live patch is that statement's own; write SET"
    if lane is Lane.LIVE and kind == statement_kinds.CREATE_INDEX_CONCURRENTLY and not statement.index:
        return f"{kind} without a name: a run that was cut off could not find its index again; give it one"
    return ""


def _with_those_outside_transactions(statements: Sequence[Statement], reasons: Sequence[str]) -> list[str]:
    """The reasons against a cold patch, with one for every part of it that cannot run in a transaction."""
    found = list(reasons)
    lanes = [None if reason or statement.kind == statement_kinds.SET
             else Lane.COLD if statement.transactional else Lane.LIVE
             for statement, reason in zip(statements, reasons, strict=True)]
    divided = dividing.parts(lanes)
    for part in divided:
        if part.lane is Lane.LIVE:
            first, *more = (place for place in range(part.first, part.end) if lanes[place] is Lane.LIVE)
            also = f" and {len(more)} more statement{'s' if more[1:] else ''}" if more else ""
            found[first] = (f"{statements[first].kind}{also} cannot run inside a transaction, as a cold patch does; "
                            f"{dividing.advice(statements, divided, part)}")
    return found


def _statement(parsed: parsing.Parsed) -> Statement:
    name, node = parsed.name, parsed.node
    kind = statement_kinds.words(name, node)
    transactional = statement_kinds.is_transactional(name, node)
    return Statement(
        text=parsed.text, line=parsed.line, offset=parsed.offset, kind=kind, transactional=transactional,
        transaction_control=statement_kinds.is_transaction_control(name, node),
        may_change_settings=statement_kinds.may_change_settings(kind, parsed.text),
        only_returns_rows=statement_kinds.only_returns_rows(name, node),
        instead=statement_kinds.locks_out(name, node),
        relations=() if transactional else tuple(map(parsing.written, statement_kinds.relations(name, node))),
        index="" if transactional else _index(name, node))


def _index(name: str, node: Any) -> str:
    given = statement_kinds.index(name, node)
    return parsing.written([given]) if given else ""

"""The statements of a patch as PostgreSQL's own parser sees them, and what a patch may not contain.

The only module that knows postgast (libpg_query of PostgreSQL 18). What it leaves open is closed here, once:

* The parser counts bytes in statements and characters in errors; we give characters and lines of the file.
* C ends a text at a NUL: the rest would be hidden from us, so a NUL is refused.
* protobuf refuses trees deeper than 100 levels, which a chain of fifty `||` makes. The outermost level of such a
  tree is read without the rest: it is all we ask about.
* The parser writes its tree recursively, and at some 50,000 levels the C stack ends, and with it the process (the
  buildmaster's, perhaps in the middle of an outage). Such texts are refused unparsed; the server would, too.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import postgast
from google.protobuf.empty_pb2 import Empty  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from google.protobuf.unknown_fields import UnknownFieldSet  # type: ignore[import-untyped]
from postgast import pg_query_pb2 as protocol
from postgast.errors import check_error
from postgast.native import lib

from downtime import errors, statement_kinds
from downtime.patches import Lane, Patch

DEEPEST_CHAIN = 20_000  # tokens between two commas; as many levels are parsed safely, 100,000 end the process
TOO_DEEP = f"an expression of more than {DEEPEST_CHAIN:,} words and operators is too deep to be parsed; divide it"

MOST_STATEMENTS = 100_000  # 50,000 take the parser 2 s and 110 MB; as many as fit a patch's bytes took 1 GB
TOO_MANY = f"more than {MOST_STATEMENTS:,} statements are too many for one patch; divide it"
COMMENTS = (protocol.SQL_COMMENT, protocol.C_COMMENT)

LONGEST_REASON = 120  # characters; the line and the column tell the rest

META_COMMAND = re.compile(r"\\\S*")
PSQL_VARIABLE = re.compile(r""":(['"]?)\w+\1""")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """Why a patch may not run, and the line that is to blame."""

    line: int
    reason: str  # without a full stop, to stand behind "file, line 3:"


class SqlSyntaxError(errors.Refused):
    """The text is no SQL, or none that can be sent to a server."""

    happened = "line {line}, column {column}: {reason}"
    next_step = "correct the patch and land the correction"

    def __init__(self, *, line: int, column: int, reason: str) -> None:
        self.line = line        # from 1
        self.column = column    # in characters, from 1
        self.reason = reason
        super().__init__(line=line, column=column, reason=reason)


class PatchRefused(errors.Refused):
    """A pending patch may not run; `objections` are complete sentences, each naming file and line."""

    happened = "{patch} may not run:\n{listing}"
    next_step = "correct the patch, land the correction and let it be rehearsed again"

    def __init__(self, *, patch: str, objections: Sequence[str]) -> None:
        self.objections = tuple(objections)
        super().__init__(patch=patch, listing="\n".join(f"  {objection}" for objection in objections))


def split(sql: str) -> tuple[Statement, ...]:
    """The statements of a text, in order. Raises SqlSyntaxError at the first thing that is none."""
    if (zero := sql.find("\0")) >= 0:
        raise _syntax_error(sql, zero, "there is a NUL character")
    try:
        _refuse_deep_chains(sql)
        tree = _parse(sql)
    except postgast.PgQueryError as error:
        raise _explained(sql, error) from error
    return tuple(_statements(sql, tree))


def objections(statements: Sequence[Statement], lane: Lane) -> tuple[Objection, ...]:
    """Everything that keeps these statements from being a patch of that lane."""
    return tuple(Objection(line=statement.line, reason=reason) for statement in statements
                 if (reason := _objection(statement, lane)))


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
    if lane is Lane.COLD and not statement.transactional:
        return (f"{kind} cannot run inside a transaction, as a cold patch does; put it into a patch of its own that "
                "declares `-- apply: live`")
    return ""


def _statements(sql: str, tree: bytes) -> Iterator[Statement]:
    source = sql.encode()
    byte_at = offset = 0
    line, count = 1, 0
    for raw in _fields(tree):
        if raw.field_number != protocol.ParseResult.STMTS_FIELD_NUMBER:
            continue
        parts = {part.field_number: part.data for part in _fields(raw.data)}
        start = parts.get(protocol.RawStmt.STMT_LOCATION_FIELD_NUMBER, 0)
        length = parts.get(protocol.RawStmt.STMT_LEN_FIELD_NUMBER, 0)  # 0: to the end
        skipped = source[byte_at:start].decode()
        byte_at, offset, line = start, offset + len(skipped), line + skipped.count("\n")
        if (count := count + 1) > MOST_STATEMENTS:
            raise _syntax_error(sql, offset, TOO_MANY)
        name, node = _node(parts[protocol.RawStmt.STMT_FIELD_NUMBER])
        text = source[start:start + length if length else None].decode().rstrip()
        kind = statement_kinds.words(name, node)
        yield Statement(
            text=text, line=line, offset=offset, kind=kind,
            transactional=statement_kinds.is_transactional(name, node),
            transaction_control=statement_kinds.is_transaction_control(name, node),
            may_change_settings=statement_kinds.may_change_settings(kind, text),
            only_returns_rows=statement_kinds.only_returns_rows(name, node),
            instead=statement_kinds.locks_out(name, node))


def _parse(sql: str) -> bytes:
    """The tree of the whole text, still encoded: postgast's own `parse` fails on deep trees as a whole."""
    result = lib.pg_query_parse_protobuf(sql.encode())
    try:
        check_error(result)
        return ctypes.string_at(result.parse_tree.data, result.parse_tree.len)
    finally:
        lib.pg_query_free_protobuf_parse_result(result)


def _fields(message: bytes) -> Any:
    """The fields of an encoded message without a look into them."""
    return UnknownFieldSet(Empty.FromString(message))


def _node(encoded: bytes) -> tuple[str, Any]:
    """The name of a parse node and the node; of one too deep for protobuf only the outermost scalars."""
    try:
        node = protocol.Node.FromString(encoded)
    except DecodeError:
        node = _outermost(encoded)
    name = str(node.WhichOneof("node"))
    return name, getattr(node, name)


def _outermost(encoded: bytes) -> protocol.Node:
    node = protocol.Node()
    (field,) = _fields(encoded)
    inner = getattr(node, node.DESCRIPTOR.fields_by_number[field.field_number].name)
    inner.SetInParent()
    for part in _fields(field.data):
        described = inner.DESCRIPTOR.fields_by_number[part.field_number]
        if described.message_type is None:
            setattr(inner, described.name, part.data.decode() if isinstance(part.data, bytes) else part.data)
    return node


def _refuse_deep_chains(sql: str) -> None:
    if len(sql) <= DEEPEST_CHAIN:
        return  # too short for a chain that long
    for start, depth in _depths(postgast.scan(sql).tokens):
        if depth > DEEPEST_CHAIN:
            at = len(sql.encode()[:start].decode())
            raise _copy_refused(sql, at) or _syntax_error(sql, at, TOO_DEEP)


def _depths(tokens: Iterable[Any]) -> Iterator[tuple[int, int]]:
    """For every statement its start (in bytes) and how deep its tree may be at most.

    Every token may nest what stands before it once more, except commas, which make flat lists; UNION and its like
    nest across commas, too.
    """
    start, level, outer = -1, _Level(), list[_Level]()
    for token in tokens:
        if token.token in COMMENTS:
            continue
        start = token.start if start < 0 else start
        match token.token:
            case protocol.ASCII_59:  # ;
                yield start, max((level.depth, *(each.depth for each in outer)))
                start, level, outer = -1, _Level(), []
            case protocol.ASCII_44:  # ,
                level.longest, level.current = max(level.longest, level.current), 0
            case protocol.ASCII_40:  # (
                outer.append(level)
                level = _Level()
            case protocol.ASCII_41 if outer:  # )
                inner, level = level, outer.pop()
                level.current += inner.depth + 1
            case protocol.UNION | protocol.EXCEPT | protocol.INTERSECT:
                level.unions += 1
            case _:
                level.current += 1
    yield start, max((level.depth, *(each.depth for each in outer)))


@dataclass(slots=True)
class _Level:
    """Token counts between one pair of parentheses."""

    longest: int = 0  # between two commas
    current: int = 0  # since the last comma
    unions: int = 0

    @property
    def depth(self) -> int:
        return max(self.longest, self.current) + self.unions


def _explained(sql: str, error: postgast.PgQueryError) -> SqlSyntaxError:
    """The parser's error at its line, in words that help those who wrote for psql."""
    at = max(error.cursorpos - 1, 0)  # characters, whatever postgast's documentation says
    if refused := _copy_refused(sql, at):
        return refused
    if command := META_COMMAND.match(sql, at):
        return _syntax_error(sql, at, f"psql meta-command {command[0]}: patches are sent to the server, not to psql")
    if variable := PSQL_VARIABLE.match(sql, at):
        return _syntax_error(sql, at, f"psql variable {variable[0]}: patches are sent to the server, not to psql")
    return _syntax_error(sql, at, _cut(error.message))


def _copy_refused(sql: str, at: int) -> SqlSyntaxError | None:
    """The error for the COPY FROM STDIN whose data the parser stumbled over, if that is what happened."""
    try:
        before = tuple(_statements(sql, _parse(sql[:sql.rfind(";", 0, at) + 1])))
    except postgast.PgQueryError:
        return None
    if not before or before[-1].kind != statement_kinds.COPY_FROM_CLIENT:
        return None
    return _syntax_error(sql, before[-1].offset, f"{statement_kinds.COPY_FROM_CLIENT} with its data in the file is "
                                                 "psql's own; write INSERT instead, or let the server read a file")


def _cut(message: str) -> str:
    """The parser's message in one line: of an unfinished quote it repeats the whole rest of the file."""
    line = " ".join(message.split())
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}…"


def _syntax_error(sql: str, at: int, reason: str) -> SqlSyntaxError:
    line_start = sql.rfind("\n", 0, at) + 1
    return SqlSyntaxError(line=sql.count("\n", 0, at) + 1, column=at - line_start + 1, reason=reason)

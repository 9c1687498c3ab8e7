"""SQL as PostgreSQL's own parser sees it: a text's statements with their places, names, an index written again.

The only module that knows postgast (libpg_query of PostgreSQL 18). What it leaves open is closed here, once:

* The parser counts bytes in statements and characters in errors; we give characters and lines of the file.
* C ends a text at a NUL: the rest would be hidden from us, so a NUL is refused.
* protobuf refuses trees deeper than 100 levels, which a chain of fifty `||` makes. The outermost level of such a
  tree is read without the rest: it is all we ask about, but for an index that is to be written again.
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

DEEPEST_CHAIN = 20_000  # tokens between two commas; as many levels are parsed safely, 100,000 end the process
TOO_DEEP = f"an expression of more than {DEEPEST_CHAIN:,} words and operators is too deep to be parsed; divide it"

TOO_DEEP_TO_WRITE = "the index has an expression of more than 100 levels, which cannot be compared; simplify it"

MOST_STATEMENTS = 100_000  # 50,000 take the parser 2 s and 110 MB; as many as fit a patch's bytes took 1 GB
TOO_MANY = f"more than {MOST_STATEMENTS:,} statements are too many for one patch; divide it"
COMMENTS = (protocol.SQL_COMMENT, protocol.C_COMMENT)

LONGEST_REASON = 120  # characters; the line and the column tell the rest

META_COMMAND = re.compile(r"\\\S*")
PSQL_VARIABLE = re.compile(r""":(['"]?)\w+\1""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """One statement of a text: where it is, and its parse node for `downtime.statement_kinds`."""

    text: str    # from its first word, without the semicolon
    line: int    # of its first word, from 1
    offset: int  # of its first word, in characters from the start
    name: str    # of the node: index_stmt
    node: Any    # of a statement that is too deep only the outermost level


class SqlSyntaxError(errors.Refused):
    """The text is no SQL, or none that can be sent to a server."""

    happened = "line {line}, column {column}: {reason}"
    next_step = "correct the patch and land the correction"

    def __init__(self, *, line: int, column: int, reason: str) -> None:
        self.line = line        # from 1
        self.column = column    # in characters, from 1
        self.reason = reason
        super().__init__(line=line, column=column, reason=reason)


def parse(sql: str) -> Iterator[Parsed]:
    """The statements of a text, in order. Raises SqlSyntaxError at the first thing that is none."""
    if (zero := sql.find("\0")) >= 0:
        raise _syntax_error(sql, zero, "there is a NUL character")
    try:
        _refuse_deep_chains(sql)
        tree = _parse(sql)
    except postgast.PgQueryError as error:
        raise _explained(sql, error) from error
    yield from _statements(sql, tree)


def written(name: Sequence[str]) -> str:
    """The name of a relation as SQL wants it: its parts (database, schema, relation) quoted where they have to be."""
    result = protocol.ParseResult()
    relation = result.stmts.add().stmt.cluster_stmt.relation
    relation.inh = True  # no ONLY before it
    for part, field in zip(reversed(name), ("relname", "schemaname", "catalogname"), strict=False):
        setattr(relation, field, part)
    return str(postgast.deparse(result)).removeprefix("CLUSTER ")


def index_on(create_index: str, relation: str, *, index: str) -> str:
    """The same CREATE INDEX on another relation: see `downtime.statements.index_on`."""
    tree = _whole(create_index)
    statement = _create_index(tree)
    place = _create_index(_whole(f"CREATE INDEX {index} ON {relation} (x)"))
    statement.concurrent = statement.if_not_exists = False
    statement.idxname = place.idxname
    place.relation.inh = statement.relation.inh  # its ONLY stays
    statement.relation.CopyFrom(place.relation)
    for _, node in postgast.walk(statement):
        if isinstance(node, protocol.ColumnRef):
            del node.fields[:-1]  # the old relation's name, which qualifies a column here and there
    return str(postgast.deparse(tree))


def _whole(sql: str) -> Any:
    try:
        return protocol.ParseResult.FromString(_parse(sql))
    except DecodeError as error:
        raise _syntax_error(sql, 0, TOO_DEEP_TO_WRITE) from error


def _create_index(tree: Any) -> Any:
    if tree.stmts[0].stmt.WhichOneof("node") != "index_stmt":
        raise ValueError("this statement is no CREATE INDEX")
    return tree.stmts[0].stmt.index_stmt


def _statements(sql: str, tree: bytes) -> Iterator[Parsed]:
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
        yield Parsed(text=text, line=line, offset=offset, name=name, node=node)


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
    """The name of a parse node and the node; of one too deep for protobuf only the outermost level."""
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
        elif described.message_type is protocol.RangeVar.DESCRIPTOR:
            getattr(inner, described.name).ParseFromString(part.data)
    return node


def is_too_deep(sql: str) -> bool:
    """Whether an expression of it is refused unread: other parsers would not come to an end of it either."""
    try:
        return _too_deep_at(sql) is not None
    except postgast.PgQueryError:
        return False  # it is no SQL for another reason


def _refuse_deep_chains(sql: str) -> None:
    if (start := _too_deep_at(sql)) is not None:
        at = len(sql.encode()[:start].decode())
        raise _copy_refused(sql, at) or _syntax_error(sql, at, TOO_DEEP)


def _too_deep_at(sql: str) -> int | None:
    """Where the first statement starts (in bytes) that is too deep to be parsed."""
    if len(sql) <= DEEPEST_CHAIN:
        return None  # too short for a chain that long
    return next((start for start, depth in _depths(postgast.scan(sql).tokens) if depth > DEEPEST_CHAIN), None)


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
    if not before or statement_kinds.words(before[-1].name, before[-1].node) != statement_kinds.COPY_FROM_CLIENT:
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

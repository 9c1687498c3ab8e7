"""What the patching session sees of itself between two statements, and the footprint that two such looks make. Pure.

Nothing is sampled: a transaction keeps its locks to its end, and its counters and the storage of what it has changed
are its own. What cannot be seen so:

* a mode of a relation that the transaction held already;
* locks that were given up again, with a subtransaction that was rolled back (EXCEPTION in a DO block);
* rows that parallel workers have read: they report to nobody in the transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from downtime.footprints import Change, Footprint, Lock, LockMode, Scan, TableSize

KINDS = {"r": "table", "p": "partitioned table", "i": "index", "I": "partitioned index", "v": "view",
         "m": "materialized view", "S": "sequence", "f": "foreign table", "c": "composite type", "t": "TOAST table"}
TOAST = "pg_toast."
STORED = {"table", "materialized view"}  # whose rows are somewhere

# Statements that may end in the middle of a table (LIMIT, a function's cursor). Others that read a table read it all.
MAY_STOP = {"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "DO", "CALL", "EXECUTE", "EXPLAIN", "DECLARE", "FETCH",
            "MOVE", "CREATE TABLE AS", "CREATE MATERIALIZED VIEW", "REFRESH MATERIALIZED VIEW", "COPY TO"}
NEARLY_ALL = 0.9  # of the planner's estimate of rows, which is an estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A relation as the catalog of one session has it."""

    oid: int
    name: str         # schema.name, as SQL would quote it
    kind: str
    storage: int      # its relfilenode; another number is other storage
    rows: int = -1    # the planner's estimate; -1 where it was never analysed
    table: int = 0    # of an index: the oid of its table


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The session's own counters of one table, since they were last handed over to the server's statistics."""

    scans: int = 0
    read: int = 0
    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    def since(self, before: Counts) -> Counts:
        """Never negative: TRUNCATE takes back what the transaction had counted."""
        return Counts(scans=max(0, self.scans - before.scans), read=max(0, self.read - before.read),
                      inserted=max(0, self.inserted - before.inserted), updated=max(0, self.updated - before.updated),
                      deleted=max(0, self.deleted - before.deleted))


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look of the patching session at itself. All by oid."""

    wal_bytes: int
    modes: Mapping[int, frozenset[LockMode]] = field(default_factory=dict)  # that the transaction holds
    relations: Mapping[int, Relation] = field(default_factory=dict)         # of them those that there are (still)
    counts: Mapping[int, Counts] = field(default_factory=dict)
    sizes: Mapping[int, tuple[int, int]] = field(default_factory=dict)      # bytes: table with TOAST, indexes


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedLook(Look):
    """The same outside transactions, at what a statement names; no locks and no counters are there to be seen."""

    named: tuple[int, ...] = ()  # oids in the order of the statement; `relations` has their indexes and tables too


# What was there before the patch, as another session sees it, by oid. None: it is the patch's own.
Committed: TypeAlias = Mapping[int, Relation | None]


def reads_all(kind: str) -> bool:
    """Whether a statement of that kind, in the words of `downtime.statement_kinds`, reads a table to its end."""
    return kind not in MAY_STOP


def footprint(before: Look, after: Look, committed: Committed, *, reads_all: bool, statements: int = 1) -> Footprint:
    """What has happened between two looks; `committed` knows every relation that is locked in the later one."""
    counts = {oid: each.since(before.counts.get(oid, Counts())) for oid, each in after.counts.items()}
    anew = {oid: modes - before.modes.get(oid, frozenset()) for oid, modes in after.modes.items()}
    rewritten = list(_rewritten(before, after, committed))
    whole = set(after.counts if reads_all else rewritten)  # what is written anew was read to its end
    return Footprint(
        wal_bytes=max(0, after.wal_bytes - before.wal_bytes), locks=tuple(_locks(anew, after, committed)),
        rewritten=tuple(_name(oid, after, committed) for oid in rewritten),
        rebuilt=tuple(_rebuilt(before, after, committed)),
        scans=tuple(_scans(counts, after, committed, whole)), changes=tuple(_changes(counts, after, committed)),
        sizes=sizes(after, committed, of=_concerned(anew, counts, after)), statements=statements)


def sizes(after: Look, committed: Committed, *, of: Collection[int]) -> tuple[TableSize, ...]:
    """Of these tables, as far as they are still there."""
    return tuple(
        TableSize(relation=_name(oid, after, committed), table_bytes=table_bytes, index_bytes=index_bytes,
                  rows=after.relations[oid].rows)
        for oid, (table_bytes, index_bytes) in after.sizes.items() if oid in of and oid in after.relations)


def _existed(oid: int, committed: Committed) -> bool:
    return committed.get(oid) is not None


def _name(oid: int, look: Look, committed: Committed) -> str:
    """Its name before the patch; of what is new, its own; empty for what came and went within one statement."""
    known = committed.get(oid) or look.relations.get(oid)
    return known.name if known is not None else ""


def _locks(anew: Mapping[int, frozenset[LockMode]], after: Look, committed: Committed) -> Iterator[Lock]:
    for oid, modes in anew.items():
        known = committed.get(oid) or after.relations.get(oid)
        if known is None or _is_of_a_table_locked_alike(known, modes, after):
            continue
        for mode in sorted(modes, key=lambda each: each.strength):
            yield Lock(relation=known.name, mode=mode, kind=known.kind, existing=_existed(oid, committed),
                       table=_name(known.table, after, committed) if known.table else "")


def _is_of_a_table_locked_alike(known: Relation, modes: frozenset[LockMode], after: Look) -> bool:
    """TOAST that is locked with its table, and no more strongly, says nothing that the table does not say."""
    # it is named after its table's oid: pg_toast_16384, pg_toast_16384_index
    parts = known.name.removeprefix(f"{TOAST}pg_toast_").split("_")
    if not known.name.startswith(TOAST) or not parts[0].isdigit():
        return False
    held = after.modes.get(int(parts[0]), frozenset())
    return bool(held) and max(each.strength for each in held) >= max((each.strength for each in modes), default=0)


def _rewritten(before: Look, after: Look, committed: Committed) -> Iterator[int]:
    """Oids of the tables that were there before and have other storage now."""
    for oid, now in after.relations.items():
        then = before.relations.get(oid) or committed.get(oid)
        if _existed(oid, committed) and then is not None and now.kind in STORED and now.storage != then.storage:
            yield oid


def _rebuilt(before: Look, after: Look, committed: Committed) -> Iterator[str]:
    """Indexes with other storage; also those that ALTER TABLE has dropped and made again under their old name."""
    gone = {each.name: each for oid, each in committed.items()
            if each is not None and each.kind == "index" and oid not in after.relations}
    for oid, now in after.relations.items():
        if now.kind != "index" or now.name.startswith(TOAST):
            continue
        then = before.relations.get(oid) or committed.get(oid) or gone.get(now.name)
        there_before = _existed(oid, committed) or oid not in before.relations
        if then is not None and there_before and then.storage != now.storage:
            yield now.name


def _scans(counts: Mapping[int, Counts], after: Look, committed: Committed, whole: Collection[int]) -> Iterator[Scan]:
    for oid, each in counts.items():
        if each.scans and (name := _name(oid, after, committed)):
            yield Scan(relation=name, rows=each.read, whole=oid in whole or _is_all(each, after, oid))


def _is_all(counts: Counts, after: Look, oid: int) -> bool:
    known = after.relations.get(oid)
    return known is not None and known.rows >= 0 and counts.read >= NEARLY_ALL * known.rows * counts.scans


def _changes(counts: Mapping[int, Counts], after: Look, committed: Committed) -> Iterator[Change]:
    for oid, each in counts.items():
        if (each.inserted or each.updated or each.deleted) and (name := _name(oid, after, committed)):
            yield Change(relation=name, inserted=each.inserted, updated=each.updated, deleted=each.deleted)


def _concerned(anew: Mapping[int, frozenset[LockMode]], counts: Mapping[int, Counts], after: Look) -> set[int]:
    """Tables that were locked, read or written, or whose index was."""
    touched = {oid for oid, modes in anew.items() if modes}
    touched |= {oid for oid, each in counts.items() if each != Counts()}
    return touched | {known.table for oid in touched if (known := after.relations.get(oid)) is not None}


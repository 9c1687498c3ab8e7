"""Takes footprints on a server: what each statement of a rehearsed patch locked, rewrote, read and wrote.

After a statement the patching session looks at itself, in one round trip: at its own locks, at the storage, counters
and sizes of what it has locked, and at the server's position in the WAL. What was there before the patch another
session is asked, the *observer*, and only about relations that were not seen yet. The observer reads nothing but
pg_class, pg_namespace and pg_index: whatever the patch has locked, it does not wait for it.

Names are qualified, so that a patch's search_path is neither used nor changed; all that is read is open to every role.
A relation's counters may still hold what earlier transactions of the session have counted, so they are read at the
begin of each as well.

Of patches with very many statements the later ones are measured in groups: locks stay held and counters add up, so
that nothing is lost but which statement of the group it was. A group is never longer than GROUP_SECONDS.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic

from downtime import documented_locks
from downtime.apply import AppliedStatement
from downtime.footprints import Footprint, LockMode
from downtime.node import Node, Row
from downtime.observations import KINDS, Counts, Look, NamedLook, Relation, footprint, reads_all, sizes
from downtime.statements import Statement

MEASURED_ALONE = 300   # statements; a look costs 1 to 3 ms
GROUP_SECONDS = 0.1    # of a group's statements; longer: a moment's lock is lost in it; shorter: more looks
SIZED_AGAIN = 50       # locked tables; with more of them a size is asked once per table, since each costs 0.05 ms
FIRST_OF_USERS = 16384  # oid; what is below belongs to PostgreSQL
OUR_SCHEMA = "fastdowntime."

# What the transaction has locked, its storage, counters and sizes. Waits for nothing: what it sizes, it has locked.
# Of PostgreSQL's own relations only locks that no ordinary statement takes. Operators are qualified like all names: the
# search_path is the patch's, which may have operators of its own.
SELECT_OWN = """
WITH held AS MATERIALIZED (
    SELECT l.relation AS oid, pg_catalog.array_agg(l.mode) AS modes
      FROM pg_catalog.pg_locks l
     WHERE l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()
       AND l.locktype OPERATOR(pg_catalog.=) 'relation' AND l.granted
       AND (l.relation OPERATOR(pg_catalog.>=) %(first_of_users)s::pg_catalog.oid
            OR l.mode OPERATOR(pg_catalog.<>) ALL ('{AccessShareLock,RowShareLock,RowExclusiveLock}'))
     GROUP BY l.relation
), seen AS (
    SELECT h.oid, h.modes, (SELECT pg_catalog.count(*) FROM held) OPERATOR(pg_catalog.<=) %(sized_again)s
                           OR h.oid OPERATOR(pg_catalog.<>) ALL (%(sized)s::pg_catalog.oid[]) AS to_size
      FROM held h
     UNION ALL
    SELECT k.oid, '{}', false FROM pg_catalog.unnest(%(known)s::pg_catalog.oid[]) AS k(oid)
     WHERE NOT EXISTS (SELECT FROM held h WHERE h.oid OPERATOR(pg_catalog.=) k.oid)
)
SELECT w.bytes AS wal_bytes, s.oid, s.modes, c.relkind AS kind, c.relfilenode AS storage,
       CASE WHEN c.relname IS NOT NULL THEN pg_catalog.format('%%I.%%I', n.nspname, c.relname) END AS name,
       c.reltuples::pg_catalog.int8 AS rows, i.indrelid AS table, x.*, z.*
  FROM (SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0')::pg_catalog.int8 AS bytes) w
  LEFT JOIN seen s ON true
  LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) s.oid
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid OPERATOR(pg_catalog.=) c.oid
  LEFT JOIN LATERAL (SELECT pg_catalog.pg_stat_get_xact_numscans(c.oid) AS scans,
                            pg_catalog.pg_stat_get_xact_tuples_returned(c.oid) AS read,
                            pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid) AS inserted,
                            pg_catalog.pg_stat_get_xact_tuples_updated(c.oid) AS updated,
                            pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid) AS deleted
                     WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,m}')) x ON true
  LEFT JOIN LATERAL (SELECT pg_catalog.pg_table_size(c.oid) AS table_bytes,
                            pg_catalog.pg_indexes_size(c.oid) AS index_bytes
                      WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,m}') AND s.to_size) z ON true
"""

# What was there before, with the tables of indexes. Takes ACCESS SHARE on catalogs only, and looks into no table.
SELECT_COMMITTED = """
WITH asked AS (SELECT a.oid FROM pg_catalog.unnest(%(oids)s::pg_catalog.oid[]) AS a(oid)),
     wanted AS (SELECT a.oid FROM asked a UNION
                SELECT i.indrelid FROM pg_catalog.pg_index i JOIN asked a ON a.oid = i.indexrelid)
SELECT c.oid, c.relkind AS kind, c.relfilenode AS storage, i.indrelid AS table, c.reltuples::pg_catalog.int8 AS rows,
       pg_catalog.format('%%I.%%I', n.nspname, c.relname) AS name
  FROM wanted w JOIN pg_catalog.pg_class c ON c.oid = w.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
"""
# The relations of these names, as the session's search_path finds them, their indexes and the indexes' tables.
# Waits where somebody else holds one of them ACCESS EXCLUSIVE, as the statement itself would.
SELECT_NAMED = """
WITH named AS (
    SELECT pg_catalog.to_regclass(t.name)::pg_catalog.oid AS oid, t.place
      FROM pg_catalog.unnest(%(names)s::pg_catalog.text[]) WITH ORDINALITY AS t(name, place)
), wanted AS (
    SELECT n.oid FROM named n
     UNION SELECT i.indexrelid FROM pg_catalog.pg_index i JOIN named n ON n.oid OPERATOR(pg_catalog.=) i.indrelid
     UNION SELECT i.indrelid FROM pg_catalog.pg_index i JOIN named n ON n.oid OPERATOR(pg_catalog.=) i.indexrelid
     UNION SELECT o.oid FROM pg_catalog.unnest(%(oids)s::pg_catalog.oid[]) AS o(oid)
)
SELECT w.bytes AS wal_bytes, c.oid, n.place, c.relkind AS kind, c.relfilenode AS storage, c.name, c.rows,
       i.indrelid AS table, z.*
  FROM (SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0')::pg_catalog.int8 AS bytes) w
  LEFT JOIN (SELECT r.oid, r.relkind, r.relfilenode, r.reltuples::pg_catalog.int8 AS rows,
                    pg_catalog.format('%%I.%%I', s.nspname, r.relname) AS name
               FROM wanted JOIN pg_catalog.pg_class r ON r.oid OPERATOR(pg_catalog.=) wanted.oid
               JOIN pg_catalog.pg_namespace s ON s.oid OPERATOR(pg_catalog.=) r.relnamespace) c ON true
  LEFT JOIN named n ON n.oid OPERATOR(pg_catalog.=) c.oid
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid OPERATOR(pg_catalog.=) c.oid
  LEFT JOIN LATERAL (SELECT pg_catalog.pg_table_size(c.oid) AS table_bytes,
                            pg_catalog.pg_indexes_size(c.oid) AS index_bytes
                      WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,m}')) z ON true
"""


class Measuring:
    """Footprints of the statements of one session. `begin()` in each transaction, then `after()` each statement."""

    def __init__(self, patcher: Node, observer: Node) -> None:
        """`observer` is another session of the same database, outside transactions."""
        self.seconds = 0.0  # spent measuring so far; nobody's figures should have them in it
        self._patcher = patcher
        self._observer = observer
        self._before = Look(wal_bytes=0)
        self._committed: dict[int, Relation | None] = {}
        self._measured = 0
        self._group: list[AppliedStatement] = []
        self._named = NamedLook(wal_bytes=0)
        self._counted_alone: set[int] = set()  # their counters go on counting into the next transaction's

    async def begin(self) -> None:
        """In the patching session's transaction, before its first statement. Raises NodeError."""
        with self._timed():
            # what an earlier transaction has changed is committed by now, but what the patch has made stays its own
            self._committed = {oid: None for oid, each in self._committed.items() if each is None}
            self._group.clear()
            self._before = await self._look(known=[*{*self._before.counts, *self._counted_alone}])

    async def after(self, applied: AppliedStatement, *, last: bool = True) -> AppliedStatement:
        """The statement with its footprint, in the same transaction, before the next statement.

        With `last=False` others follow it, so that it may be measured with them: then it comes back with an empty
        footprint of 0 statements. Raises NodeError; the transaction has failed then.
        """
        self._group.append(applied)
        if not last and self._measured >= MEASURED_ALONE and self._group_seconds < GROUP_SECONDS:
            return replace(applied, footprint=Footprint(wal_bytes=0, statements=0))
        count = len(self._group)
        with self._timed():
            look = await self._look(behind=self._before)
            await self._ask_observer(look.modes)
            taken = footprint(self._before, look, self._committed, statements=count,
                              reads_all=count == 1 and reads_all(applied.statement.kind))
        self._before, self._measured = look, self._measured + 1
        self._group.clear()
        return replace(applied, footprint=taken)

    async def begin_alone(self, statement: Statement) -> None:
        """Outside transactions, before a statement that cannot run in one. Raises NodeError."""
        with self._timed():
            self._named = await self._look_at_named(list(statement.relations), [])

    async def after_alone(self, applied: AppliedStatement) -> AppliedStatement:
        """The statement with its footprint: locks as documented, the rest measured. Raises NodeError."""
        before, kind = self._named, applied.statement.kind
        self._counted_alone.update(before.relations)
        with self._timed():
            after = await self._look_at_named([], list(before.relations))
        named = [before.relations[oid] for oid in before.named]
        locks = documented_locks.of(kind, named, list(before.relations.values()))
        taken = footprint(before, after, before.relations, reads_all=True)
        return replace(applied, footprint=replace(
            taken, locks=tuple(locks), documented=True,
            sizes=sizes(after, before.relations, of={each.table or each.oid for each in named})))

    # -- looks ---------------------------------------------------------------------------------------------------

    async def _look(self, *, known: Sequence[int] = (), behind: Look | None = None) -> Look:
        """At what the transaction has locked, and at the counters of the tables `known`."""
        sized = list(behind.sizes) if behind is not None else []
        rows = (await self._patcher.execute(SELECT_OWN, {
            "first_of_users": FIRST_OF_USERS, "sized_again": SIZED_AGAIN, "sized": sized, "known": list(known)})).rows
        seen = [row for row in rows if row["oid"] is not None and not _is_ours(row)]
        return Look(
            wal_bytes=rows[0]["wal_bytes"],
            modes={row["oid"]: frozenset(map(LockMode.of_pg_locks, row["modes"])) for row in seen if row["modes"]},
            relations=_relations(seen),
            counts={**(behind.counts if behind is not None else {}), **_counts(seen)},
            sizes={**(behind.sizes if behind is not None else {}), **_sizes(seen)})

    async def _ask_observer(self, oids: Collection[int]) -> None:
        unknown = [oid for oid in oids if oid not in self._committed]
        if not unknown:
            return
        rows = (await self._observer.execute(SELECT_COMMITTED, {"oids": unknown})).rows
        # what the patch has made in an earlier transaction stays the patch's own
        found = {oid: each for oid, each in _relations(rows).items() if oid not in self._committed}
        self._committed.update({**dict.fromkeys(unknown), **found})

    async def _look_at_named(self, names: Sequence[str], oids: Sequence[int]) -> NamedLook:
        rows = (await self._patcher.execute(SELECT_NAMED, {"names": list(names), "oids": list(oids)})).rows
        seen = [row for row in rows if row["oid"] is not None]
        return NamedLook(
            wal_bytes=rows[0]["wal_bytes"], relations=_relations(seen), sizes=_sizes(seen),
            named=tuple(row["oid"] for row in sorted(seen, key=lambda row: row["place"] or 0) if row["place"]))

    @property
    def _group_seconds(self) -> float:
        return sum(each.seconds for each in self._group)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = monotonic()
        try:
            yield
        finally:
            self.seconds += monotonic() - began


def _is_ours(row: Row) -> bool:
    return str(row["name"]).startswith(OUR_SCHEMA)


def _relations(rows: Sequence[Row]) -> dict[int, Relation]:
    return {row["oid"]: Relation(oid=row["oid"], name=row["name"], kind=KINDS.get(row["kind"], str(row["kind"])),
                                 storage=row["storage"], rows=row["rows"], table=row["table"] or 0)
            for row in rows if row["kind"] is not None}


def _counts(rows: Sequence[Row]) -> dict[int, Counts]:
    return {row["oid"]: Counts(scans=row["scans"], read=row["read"], inserted=row["inserted"],
                               updated=row["updated"], deleted=row["deleted"])
            for row in rows if row["scans"] is not None}


def _sizes(rows: Sequence[Row]) -> dict[int, tuple[int, int]]:
    return {row["oid"]: (row["table_bytes"], row["index_bytes"]) for row in rows if row["table_bytes"] is not None}

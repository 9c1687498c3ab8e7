"""The locks of statements that run in transactions of their own, as PostgreSQL documents them. Pure.

Nobody can see such a statement's locks from inside: it has given them up when it answers. The source is PostgreSQL's
documentation, section 13.3.1 "Table-Level Locks" and each command's own page, 15 to 18; on real servers it is proved
by `tests/downtime/test_documented_locks.py`. Of a statement that names no relation (VACUUM of the whole database,
REINDEX SCHEMA) no locks are told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from downtime.footprints import Lock, LockMode
from downtime.observations import Relation

# By kind: what every named relation, and every index of it, is locked with.
NAMED = {
    "CREATE INDEX CONCURRENTLY": (LockMode.SHARE_UPDATE_EXCLUSIVE, None),
    "DROP INDEX CONCURRENTLY": (LockMode.SHARE_UPDATE_EXCLUSIVE, None),
    "REINDEX TABLE CONCURRENTLY": (LockMode.SHARE_UPDATE_EXCLUSIVE, LockMode.SHARE_UPDATE_EXCLUSIVE),
    "REINDEX INDEX CONCURRENTLY": (LockMode.SHARE_UPDATE_EXCLUSIVE, None),
    "VACUUM": (LockMode.SHARE_UPDATE_EXCLUSIVE, LockMode.ROW_EXCLUSIVE),
    "VACUUM FULL": (LockMode.ACCESS_EXCLUSIVE, LockMode.ACCESS_EXCLUSIVE),
    "ALTER TABLE DETACH PARTITION CONCURRENTLY": (LockMode.SHARE_UPDATE_EXCLUSIVE, None),
}
DETACHED = LockMode.ACCESS_EXCLUSIVE  # the partition, in the last of its transactions, when nobody uses it any more


def of(kind: str, named: Sequence[Relation], known: Sequence[Relation]) -> Iterator[Lock]:
    """The locks of a statement of that kind on `named`; `known` are these, their indexes and the indexes' tables."""
    if kind not in NAMED:
        return
    mode, on_indexes = NAMED[kind]
    names = {each.oid: each.name for each in known}
    tables = {each.oid for each in named}
    for each in named:
        yield _lock(each, mode, names)
        if each.table:
            yield from (_lock(table, mode, names) for table in known if table.oid == each.table)
    for each in known if on_indexes is not None else ():
        if each.table in tables:
            yield _lock(each, on_indexes or mode, names)
    if kind.endswith("DETACH PARTITION CONCURRENTLY") and len(named) > 1:
        yield _lock(named[1], DETACHED, names)


def _lock(relation: Relation, mode: LockMode, names: dict[int, str]) -> Lock:
    return Lock(relation=relation.name, mode=mode, kind=relation.kind, existing=True,
                table=names.get(relation.table, ""))

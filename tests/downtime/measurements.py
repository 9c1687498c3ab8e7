"""What a rehearsal has measured, made up: statements with the footprint that a test wants them to have."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from downtime.apply import AppliedStatement
from downtime.footprints import Footprint, Lock, LockMode
from downtime.statements import split

AT = datetime(2024, 2, 29, 12, 0, 0, 5, tzinfo=UTC)


def a_lock(mode: LockMode = LockMode.ACCESS_EXCLUSIVE, relation: str = "public.account", *, kind: str = "table",
           existing: bool = True, table: str = "") -> Lock:
    return Lock(relation=relation, mode=mode, kind=kind, existing=existing, table=table)


def measured(sql: str, *locks: Lock, line: int = 1, seconds: float = 0.001, status: str = "OK",
             **footprint: Any) -> AppliedStatement:
    """One statement of a patch as it was run; the keywords beside ours are the footprint's."""
    (statement,) = split(sql)
    return AppliedStatement(
        statement=replace(statement, line=line), started_at=AT, seconds=seconds, status=status, notices=(),
        footprint=Footprint(**{"wal_bytes": 0, "locks": locks, **footprint}))


def unmeasured(sql: str, **changes: Any) -> AppliedStatement:
    return replace(measured(sql, **changes), footprint=None)

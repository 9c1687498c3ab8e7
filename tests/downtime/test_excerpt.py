"""What is shown of a patch with more statements than anybody reads."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from downtime import excerpt
from downtime.apply import AppliedStatement
from downtime.excerpt import DETAILS, EACH, Gap
from downtime.footprints import Footprint, LockMode, TableSize
from downtime.statements import split
from tests.downtime.measurements import a_lock

(STATEMENT,) = split("INSERT INTO t VALUES (1);")


def applied(count: int, *, slow: tuple[int, ...] = ()) -> list[AppliedStatement]:
    """Statements on lines 1 to `count`, each of 0.001 s but for those on the slow lines."""
    return [AppliedStatement(statement=replace(STATEMENT, line=line), started_at=datetime.now(UTC),
                             seconds=1.0 if line in slow else 0.001, status="INSERT 0 1", notices=())
            for line in range(1, count + 1)]


def test_a_patch_of_ordinary_length_is_shown_whole() -> None:
    """Nothing is left out as long as somebody may read it."""
    statements = applied(3 * EACH)

    assert excerpt.of(statements) == statements


def test_of_many_the_first_the_last_and_the_slowest_are_shown() -> None:
    """Where it began, where it ended, and where to look; the gaps say how much they hide."""
    parts = excerpt.of(applied(50_000, slow=(20_000, 30_000)))
    shown = [part.statement.line for part in parts if isinstance(part, AppliedStatement)]
    gaps = [part for part in parts if isinstance(part, Gap)]

    assert len(shown) == 3 * EACH
    assert {1, EACH, 20_000, 30_000, 50_000 - EACH + 1, 50_000} <= set(shown)
    assert shown == sorted(shown)
    assert sum(gap.count for gap in gaps) == 50_000 - 3 * EACH
    assert sum(gap.seconds for gap in gaps) == pytest.approx((50_000 - 3 * EACH) / 1000)
    assert str(Gap(count=49_700, seconds=49.7)) == "… 49,700 statements, 49.700 s in all, are not shown"


def test_an_ordinary_footprint_is_kept_whole() -> None:
    """Nothing is left out as long as somebody may read it."""
    footprint = Footprint(wal_bytes=5, locks=(a_lock(),) * DETAILS)

    assert excerpt.of_footprint(footprint) == (footprint, 0)


def test_of_a_vast_footprint_the_strongest_locks_and_the_largest_tables_are_kept() -> None:
    """A statement that locks every partition must not fill Buildbot's database; it says how much is missing."""
    weak = [a_lock(LockMode.ACCESS_SHARE, f"public.p{number}") for number in range(5000)]
    strong, own = a_lock(relation="public.last"), a_lock(relation="public.own", existing=False)
    sizes = [TableSize(relation=f"public.p{number}", table_bytes=number, index_bytes=0, rows=1)
             for number in range(5000)]
    kept, left_out = excerpt.of_footprint(Footprint(wal_bytes=5, locks=(*weak, own, strong), sizes=tuple(sizes)))

    assert (len(kept.locks), strong in kept.locks, own in kept.locks) == (DETAILS, True, False)
    assert [size.table_bytes for size in kept.sizes] == list(range(5000 - DETAILS, 5000))
    assert left_out == 10_002 - 2 * DETAILS

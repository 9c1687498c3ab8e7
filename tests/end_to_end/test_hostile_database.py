"""Clients, administrators and servers that stand in the way of a deployment by a real buildmaster: see
`demo.faults.database`, whose rows `make faults` prints."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.faults.database import DATABASE_ROWS
from demo.faults.rows import Row, played
from tests.end_to_end.worlds import WorldOf

BUSY = 5.0          # times the limit: timings never decide on a busy machine,
BUSY_SECONDS = 2.0  # and so much for the shortest


def _items() -> Iterator[object]:
    for row in DATABASE_ROWS:
        for gate in row.gates:
            yield pytest.param(row, gate, id=f"{row.name} [{gate}]",
                               marks=pytest.mark.xdist_group(name=f"faults-{gate}"))


@pytest.mark.parametrize(("row", "gate"), _items())
def test_what_stands_in_the_way_is_ended_or_named(world_of: WorldOf, row: Row, gate: str) -> None:
    """What may be kicked is, and the patch goes in; what may not is named, and the database is open at once."""
    finding = played(row, world_of(gate))
    print(f"{finding.said}; {finding.seconds} s")

    assert finding.broken == []
    assert row.limit_seconds is None or (finding.seconds or 0.0) < BUSY * row.limit_seconds + BUSY_SECONDS

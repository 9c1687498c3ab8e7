"""What becomes of a deployment by a real buildmaster when something dies, hangs, is broken or stands in the way: see
`demo.faults`, whose rows `make faults` plays with both gates and prints.

Here timings decide nothing but whether anything hangs. What kills or cuts is played with both gates, which open again
in different ways then; the other rows with one or the other in turn.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.faults.rows import Row, played
from demo.faults.table import all_rows
from tests.end_to_end.worlds import WorldOf

BUSY = 5.0          # times the limit,
BUSY_SECONDS = 2.0  # and so much for the shortest
SUDDEN = ("kill -9", "network cut")


def _items() -> Iterator[object]:
    for number, row in enumerate(all_rows()):
        both = row.fault.startswith(SUDDEN)
        for gate in row.gates if both else (row.gates[number % len(row.gates)],):
            yield pytest.param(row, gate, id=f"{row.name} [{gate}]")


@pytest.mark.parametrize(("row", "gate"), _items())
def test_the_database_is_open_again_and_the_build_is_honest(world_of: WorldOf, row: Row, gate: str) -> None:
    """Open within moments; patch and ledger agree; nothing is deployed unasked; the last build says what happened."""
    finding = played(row, world_of(gate))
    print(f"{row.name} [{gate}]: {finding.seconds} s; {finding.said}")

    assert finding.broken == []
    assert row.limit_seconds is None or (finding.seconds or 0.0) < BUSY * row.limit_seconds + BUSY_SECONDS

"""What becomes of a deployment by a real buildmaster when something dies, hangs, is broken or stands in the way: see
`demo.faults`, whose rows `make faults` plays with both gates and prints.

Here timings decide nothing but whether anything hangs, and not everything is played: each row with one gate, a fault's
rows with one and the other in turn; and what only asks a deployment to end, at every second moment of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from demo.faults import master_killed
from demo.faults.rows import Row, played
from demo.faults.table import all_rows
from demo.installations import ServerError
from demo.pgbouncer import program
from tests.end_to_end.worlds import WorldOf
from tests.side_by_side import SURROUNDED

BUSY = 5.0          # times the limit,
BUSY_SECONDS = 2.0  # and so much for the shortest


ALL_MOMENTS = master_killed.FAULT
MANY_MOMENTS = 5


def _items() -> Iterator[object]:
    """`turn` counts the rows of a fault; the first of each fault begins with the other gate than the one before."""
    turns: dict[str, int] = {}
    moments = Counter(row.fault for row in all_rows())
    for row in all_rows():
        turn = turns[row.fault] = turns.get(row.fault, -1) + 1
        every_second = moments[row.fault] >= MANY_MOMENTS and row.fault != ALL_MOMENTS
        if every_second and turn % 2:
            continue
        gate = row.gates[(list(turns).index(row.fault) + (turn // 2 if every_second else turn)) % len(row.gates)]
        yield pytest.param(row, gate, id=f"{row.name} [{gate}{SURROUNDED if row.surrounded else ''}]")


@pytest.mark.parametrize(("row", "gate"), _items())
def test_the_database_is_open_again_and_the_build_is_honest(world_of: WorldOf, row: Row, gate: str) -> None:
    """Open within moments; patch and ledger agree; nothing is deployed unasked; the last build says what happened."""
    if row.surrounded:
        _skip_without_a_pooler()
    finding = played(row, world_of(gate, surrounded=row.surrounded))
    print(f"{row.name} [{gate}]: {finding.seconds} s; {finding.said}")

    assert finding.broken == []
    assert row.limit_seconds is None or (finding.seconds or 0.0) < BUSY * row.limit_seconds + BUSY_SECONDS


def _skip_without_a_pooler() -> None:
    try:
        program()
    except ServerError as error:
        pytest.skip(str(error))

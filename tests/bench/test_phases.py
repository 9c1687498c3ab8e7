"""Where a critical section spends its time: what is counted, and what is made of it."""

from __future__ import annotations

from bench import phases, stopwatch
from bench.phases import Measured
from bench.stopwatch import Spent
from downtime import node
from downtime.chronicle import Chronicle
from downtime.phases import Phase
from tests.databases import Database


async def test_every_phase_is_watched(database: Database) -> None:
    """Each asks the server, and what it waits for is a part of its time; afterwards nothing is watched."""
    unwatched = (node._within, Chronicle.start, Chronicle.done, Chronicle.note)
    spent = {name: Spent(**each) for name, each in (
        await stopwatch.section(database.target, stopwatch.a_patch(1), gate="hold", kick="all")).items()}

    assert list(spent) == list(Phase)
    assert all(each.round_trips > 0 for each in spent.values())
    assert all(each.seconds > each.server_seconds > 0 for each in spent.values())
    assert (node._within, Chronicle.start, Chronicle.done, Chronicle.note) == unwatched


async def test_the_floor_leaves_what_ours_leaves(database: Database) -> None:
    """The same patch, and its row in the ledger: otherwise it would be no floor of ours."""
    stopwatch.floor(database.target, stopwatch.a_patch(7))

    assert database.admin_sql("SELECT obj_description('account'::regclass)") == [("phase by phase, 7",)]
    assert database.admin_sql("SELECT id, lane FROM fastdowntime.ledger") == [("phases-7", "cold")]


def test_a_phase_has_its_row_and_every_way_its_total() -> None:
    """With the times of the rounds side by side, in milliseconds."""
    measured = Measured(clients=200)
    for seconds in (0.001, 0.003):
        for variant in phases.VARIANTS:
            measured.rounds[variant].append({str(phase): Spent(seconds=seconds, round_trips=2) for phase in Phase})
        measured.rounds[phases.FLOOR].append({phases.FLOOR: Spent(seconds=0.005, round_trips=1)})
    text = phases.section([measured]).text

    assert "### 200 idle clients" in text
    assert "| `refuse`, `all`: kick connections | 2.00 (1.50–2.50) | 2.00 |" in text
    assert "| **`hold`, `all`: in all** | 10.0 (7.50–12.5) | 10.0 |" in text
    assert "2.00 times the one round trip with 200 idle clients" in text

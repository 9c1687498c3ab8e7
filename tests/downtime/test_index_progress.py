"""How far an index is: a line when something changes, and a summary every second."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from downtime import live
from downtime.index_progress import stage
from downtime.settings.sections import Live
from tests.builders import no_objections, until
from tests.databases import Database
from tests.downtime.live import INDEX, a_live_patch, an_old_transaction


def a_row(**given: Any) -> dict[str, Any]:
    return {"command": "CREATE INDEX CONCURRENTLY", "table": "account", "phase": "building index: scanning table",
            "blocks_total": 0, "blocks_done": 0, "tuples_total": 0, "tuples_done": 0, "lockers_total": 0,
            "lockers_done": 0, **given}


def test_blocks_are_told_in_per_cent() -> None:
    """Another line of the log only at another ten per cent; the text itself is exact."""
    first = stage(a_row(blocks_total=10_000, blocks_done=4_321), waits_for="")
    second = stage(a_row(blocks_total=10_000, blocks_done=4_999), waits_for="")
    third = stage(a_row(blocks_total=10_000, blocks_done=5_000), waits_for="")

    assert first.text == ("CREATE INDEX CONCURRENTLY on account: building index: scanning table, 43 % "
                          "(4,321 of 10,000 blocks)")
    assert (first.step == second.step, second.step == third.step) == (True, False)


def test_tuples_are_told_where_no_blocks_are_left() -> None:
    """The server leaves the old count of blocks in place when it goes on with tuples."""
    seen = stage(a_row(blocks_total=10, blocks_done=10, tuples_total=1_000, tuples_done=100), waits_for="")

    assert seen.text.endswith("10 % (100 of 1,000 tuples)")


def test_a_wait_names_whom_it_waits_for() -> None:
    """Only their owner can make it shorter."""
    seen = stage(a_row(phase="waiting for writers before build", lockers_total=2, lockers_done=1),
                 waits_for="pid 7 app (report, idle in transaction)")

    assert seen.text.endswith("waiting for writers before build, 1 of 2 have ended; waiting for pid 7 app "
                              "(report, idle in transaction)")


async def test_the_summary_is_told_again_and_again_and_the_log_once(each_database: Database) -> None:
    """On every server; four hours are no 14,400 lines."""
    old = an_old_transaction(each_database)
    lines, summaries = list[str](), list[str]()
    running = Deferred.fromCoroutine(live.LiveApplication(
        each_database.target, a_live_patch(INDEX), progress=lines.append, summary=summaries.append, rules=Live()
        ).run(no_objections))
    await until(lambda: len(summaries) >= 3, "three looks")
    told = [line for line in lines if "waiting for writers before build" in line]
    old.rollback()
    await running

    assert (len(told), told[0].strip()) == (1, summaries[0])

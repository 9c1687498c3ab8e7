"""What is pending where several databases get the same patches."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet import reactor

from downtime import patches
from downtime.fleet import ledgers
from downtime.ledger import Entry
from downtime.patches import Inventory, Patch
from downtime.plan import plan
from downtime.settings.sections import Patches
from tests.databases import Database, MakeDatabase
from tests.downtime.commands.conftest import write_settings
from tests.downtime.fleet.fleets import with_others
from tests.downtime.ledgers import an_entry, written


def an_inventory(*ids: str) -> Inventory:
    files = {f"db/{patch_id}.sql": f"SELECT '{patch_id}';".encode() for patch_id in ids}
    return patches.inventory(files, Patches(directory="db"), not_schema=(), commit="c" * 40)


STOCK = an_inventory("patch-1", "patch-2", "patch-3")
ONE, TWO, THREE = STOCK.patches


def entries(*applied: Patch | str) -> tuple[Entry, ...]:
    """Rows of these patches; of a name alone with other bytes."""
    found = []
    for day, patch in enumerate(applied):
        entry = an_entry(patch if isinstance(patch, str) else patch.id, day=day)
        sha256 = entry.sha256 if isinstance(patch, str) else patch.sha256
        found.append(Entry(**{name: getattr(entry, name) for name in Entry.__slots__} | {"sha256": sha256}))
    return tuple(found)


def test_a_patch_is_pending_while_any_database_lacks_it() -> None:
    """In order; a run that ended half way has made no patch late, and the next patch waits for it everywhere."""
    had = {"canary": entries(ONE, TWO), "one": entries(ONE, TWO), "two": entries(ONE)}

    planned = ledgers.plan_of(had, STOCK)

    assert ([patch.id for patch in planned.pending], planned.late) == (["patch-2", "patch-3"], ())
    assert ledgers.objections(had, STOCK, TWO) == ()
    assert planned.objections_to(THREE) == ("two: patch-2 must be applied before patch-3.",)
    assert [entry.id for entry in ledgers.in_all(had)] == ["patch-1"]


def test_what_one_database_has_overtaken_is_late() -> None:
    """Half of the databases would get it and the others never could: it is refused before any is touched."""
    had = {"canary": entries(ONE), "one": entries(ONE, THREE), "two": entries(ONE, THREE)}

    planned = ledgers.plan_of(had, STOCK)

    assert planned.late == (TWO,)
    (reason,) = planned.objections_to(TWO)
    assert reason.startswith("one, two: patch-2 comes too late: patch-3 is applied already")


def test_drift_in_one_database_is_named_and_stops_all() -> None:
    """Of the patch itself as of an earlier one; what all of them say is said once."""
    drifted = {"canary": entries(ONE), "one": entries(ONE, "patch-2")}

    (reason,) = ledgers.objections(drifted, STOCK, TWO)

    assert reason.startswith("one: patch-2 was changed after it was applied")
    assert ledgers.plan_of(drifted, STOCK).drift
    (everywhere,) = ledgers.objections({"canary": entries("patch-1"), "one": entries("patch-1")}, STOCK, TWO)
    assert everywhere.startswith("patch-1 was changed")


def test_a_patch_that_all_have_is_not_pending() -> None:
    """As with one database."""
    had = {"canary": entries(ONE), "one": entries(ONE)}

    assert ledgers.objections(had, STOCK, ONE) == ("patch-1 is not pending: it is applied already.",)


def test_one_database_is_planned_as_ever() -> None:
    """Nothing changes for who has one."""

    assert ledgers.plan_of({"canary": entries(ONE)}, STOCK) == plan(STOCK, entries(ONE))


async def test_every_ledger_is_read_and_a_silent_database_is_named(
        database: Database, make_database: MakeDatabase, tmp_path: Path) -> None:
    """Nobody takes a database that did not answer for one that has nothing, or that has everything."""
    others = [make_database(database.server), make_database(database.server)]
    write_settings(tmp_path, production=database.target.dsn)
    production = with_others(tmp_path, others).environment("production")
    await written(others[0], "patch-1", seconds=1.0)

    found = await ledgers.read(production, reactor=reactor)
    assert {name: [entry.id for entry in had] for name, had in found.items()} == {
        "canary": [], "tenant-1": ["patch-1"], "tenant-2": []}

    others[1].admin_sql("DROP SCHEMA fastdowntime CASCADE")
    with pytest.raises(ledgers.MembersUnreadable, match=r"1 of 3 databases cannot be asked: tenant-2 \("):
        await ledgers.read(production, reactor=reactor)

from __future__ import annotations

from dataclasses import dataclass

from downtime import patches
from downtime.patches import Inventory, Patch
from downtime.plan import Drift, plan
from downtime.settings.sections import Patches


@dataclass(frozen=True)
class Row:
    id: str
    sha256: str


def an_inventory(*ids: str) -> Inventory:
    files = {f"db/{patch_id}.sql": f"SELECT '{patch_id}';".encode() for patch_id in ids}
    return patches.inventory(files, Patches(directory="db"), not_schema=(), commit="c" * 40)


def a_patch(inventory: Inventory, patch_id: str) -> Patch:
    patch = inventory.find(patch_id)
    assert patch is not None
    return patch


def applied_as_in(inventory: Inventory, *ids: str) -> list[Row]:
    return [Row(id=patch_id, sha256=a_patch(inventory, patch_id).sha256) for patch_id in ids]


def test_pending_is_what_the_ledger_lacks_in_order() -> None:
    """By number, not by spelling."""
    stock = an_inventory("patch-10", "patch-9", "patch-1")

    planned = plan(stock, applied_as_in(stock, "patch-1"))

    assert [patch.id for patch in planned.pending] == ["patch-9", "patch-10"]
    assert (planned.drift, planned.missing, planned.late) == ((), (), ())


def test_nothing_is_pending_when_all_is_applied() -> None:
    """A database that has everything is left alone."""
    stock = an_inventory("patch-1")

    assert plan(stock, applied_as_in(stock, "patch-1")).pending == ()


def test_changed_bytes_of_an_applied_patch_are_drift() -> None:
    """Drift is named with both digests, and keeps every patch from running."""
    stock = an_inventory("patch-1", "patch-2")

    planned = plan(stock, [Row(id="patch-1", sha256="0" * 64)])

    file_sha256 = a_patch(stock, "patch-1").sha256
    assert planned.drift == (Drift(patch="patch-1", applied_sha256="0" * 64, file_sha256=file_sha256),)
    assert planned.objections_to(a_patch(stock, "patch-2")) == (
        f"patch-1 was changed after it was applied (applied 000000000000, in the repository {file_sha256[:12]}); "
        "restore the file and land the change as a new patch.",)


def test_applied_patch_without_a_file_is_missing() -> None:
    """It is told, and holds nothing up: old patches are tidied away."""
    stock = an_inventory("patch-2")

    planned = plan(stock, [Row(id="patch-1", sha256="0" * 64)])

    assert planned.missing == ("patch-1",)
    assert planned.objections_to(a_patch(stock, "patch-2")) == ()


def test_lower_number_than_an_applied_one_is_late() -> None:
    """Numbers are compared as numbers, against the highest one applied and not the last one."""
    stock = an_inventory("patch-9", "patch-10", "patch-11")

    planned = plan(stock, applied_as_in(stock, "patch-10"))

    assert [patch.id for patch in planned.late] == ["patch-9"]
    assert planned.objections_to(a_patch(stock, "patch-9")) == (
        "patch-9 comes too late: patch-10 is applied already; land it again with a higher number.",)


def test_patch_renamed_after_it_was_applied_does_not_run_twice() -> None:
    """Its number is not higher than itself."""
    stock = an_inventory("patch-1-new-name")

    planned = plan(stock, [Row(id="patch-1-old-name", sha256=stock.patches[0].sha256)])

    assert planned.late == stock.patches


def test_earlier_pending_patches_come_first_and_are_named() -> None:
    """Five of them by name, the rest by number."""
    stock = an_inventory(*(f"patch-{number}" for number in range(1, 9)))
    planned = plan(stock, [])

    assert planned.before(stock.patches[2]) == stock.patches[:2]
    assert planned.objections_to(stock.patches[2]) == ("patch-1, patch-2 must be applied before patch-3.",)
    assert planned.objections_to(stock.patches[7]) == (
        "patch-1, patch-2, patch-3, patch-4, patch-5 and 2 more must be applied before patch-8.",)
    assert planned.objections_to(stock.patches[0]) == ()


def test_applied_patch_is_not_pending() -> None:
    """Asking for it again is refused, whatever else is wrong."""
    stock = an_inventory("patch-1")

    planned = plan(stock, applied_as_in(stock, "patch-1"))

    assert planned.objections_to(stock.patches[0]) == (
        "patch-1 is not pending: it is applied already.",)


def test_problems_of_the_patch_itself_speak_against_it() -> None:
    """And only against it: an old file's problem holds up nobody else."""
    files = {"db/patch-1.sql": b"", "db/patch-2.sql": b"SELECT 2;"}
    stock = patches.inventory(files, Patches(directory="db"), not_schema=(), commit="c" * 40)

    assert plan(stock, []).objections_to(stock.patches[0]) == stock.patches[0].problems
    assert plan(stock, applied_as_in(stock, "patch-1")).objections_to(stock.patches[1]) == ()

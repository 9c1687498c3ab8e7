"""`python -m downtime baseline`."""

from __future__ import annotations

from tests.downtime.commands.conftest import Project


def _ledger(project: Project) -> list[tuple[str, ...]]:
    return project.production.admin_sql("SELECT id, lane FROM fastdowntime.ledger ORDER BY id")


def test_all_patches_up_to_this_one_are_recorded_without_being_run(project: Project) -> None:
    """A second time there is nothing to record; what comes later stays pending."""
    project.land(patch_1="SELECT 1 / 0;", patch_2="SELECT 2;", patch_3="SELECT 3;")

    first = project.run("baseline", "patch-2", "--yes", "--json")
    again = project.run("baseline", "patch-2")

    assert (first.status, first.document["recorded"]) == (0, ["patch-1", "patch-2"])
    assert (again.status, again.out.startswith("0 patches recorded")) == (0, True)
    assert _ledger(project) == [("patch-1", "baseline"), ("patch-2", "baseline")]


def test_it_wants_to_be_confirmed(project: Project) -> None:
    """Without a terminal --yes is needed; the message says what would have been recorded."""
    project.land(patch_1="SELECT 1;")

    answer = project.run("baseline", "patch-1")

    assert answer.status == 1
    assert "Record 1 patch (patch-1) as applied to production" in answer.err
    assert _ledger(project) == []


def test_a_patch_that_was_applied_with_other_bytes_refuses_it(project: Project) -> None:
    """Nothing is recorded over a drift; a drift further up does not matter."""
    project.land(patch_2="SELECT 2;")
    project.run("baseline", "patch-2", "--yes")
    project.land(patch_1="SELECT 1;", patch_2="SELECT 'edited';", patch_3="SELECT 3;")

    over = project.run("baseline", "patch-3", "--yes")
    below = project.run("baseline", "patch-1", "--yes")

    assert over.status == 1
    assert "patch-2 was changed after it was applied" in over.err
    assert below.status == 0
    assert [name for name, _ in _ledger(project)] == ["patch-1", "patch-2"]

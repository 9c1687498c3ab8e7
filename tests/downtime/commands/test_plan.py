"""`python -m downtime plan`."""

from __future__ import annotations

from tests.downtime.commands.conftest import Project, write_settings

COLD = "-- apply: cold\nALTER TABLE account ADD COLUMN note_{} text;\n"


def test_pending_patches_are_listed_in_order_with_lane_and_findings(project: Project) -> None:
    """One that may not run is named with its line, and the exit status says that something refuses."""
    commit = project.land(patch_10="SELECT 1;", patch_9="-- apply: live\nSELECT 1;\n", patch_11="BEGIN;")

    text, answer = project.run("plan"), project.run("plan", "--json")
    document = answer.document

    assert (text.status, answer.status, document["commit"]) == (1, 1, commit)
    assert [(line["patch"], line["lane"], line["declared"]) for line in document["pending"]] == [
        ("patch-9", "live", True), ("patch-10", "cold", False), ("patch-11", "cold", False)]
    assert [bool(line["findings"]) for line in document["pending"]] == [False, False, True]
    assert "cold (undeclared)" in text.out
    assert "database/schema/patch-11.sql, line 1: BEGIN" in text.out


def test_what_staging_has_is_shown_with_its_seconds_and_drift_is_refused(project: Project) -> None:
    """Seconds are of the same bytes; a patch edited after it was applied refuses the plan."""
    project.land(patch_1=COLD.format(1), patch_2=COLD.format(2))
    rehearsed = project.run("rehearse", "patch-1")
    pending = project.run("plan", "--json").document["pending"]
    project.land(patch_1=COLD.format("other"))
    edited = project.run("plan", "--environment", "staging")

    assert rehearsed.status == 0
    assert [line["staging_seconds"] is not None for line in pending] == [True, False]
    assert edited.status == 1
    assert "patch-1 was changed after it was applied" in edited.out


def test_a_plan_needs_no_staging(project: Project) -> None:
    """Where staging cannot be reached a line says so, and the plan is good."""
    project.land(patch_1=COLD.format(1))
    write_settings(project.folder, repository_url=project.repository.url, production=project.production.target.dsn)

    answer = project.run("plan")

    assert answer.status == 0
    assert "the ledger of staging could not be read" in answer.err


def test_an_unknown_commit_is_wrong_usage(project: Project) -> None:
    """The message names it."""
    project.land(patch_1=COLD.format(1))

    answer = project.run("plan", "--commit", "nowhere")

    assert answer.status == 2
    assert "there is no commit 'nowhere'" in answer.err


def test_the_linters_findings_are_listed_and_refuse_as_the_settings_have_it(project: Project) -> None:
    """For the version of the server that the plan is for."""
    project.land(patch_1="ALTER TABLE account DROP COLUMN name;",
                 patch_2="-- waive ban-drop-table: empty since spring\nDROP TABLE account;")
    told = project.run("plan")
    with (project.folder / "settings.yaml").open("a") as settings:
        settings.write("lint: {block: [ban-drop-column, ban-drop-table]}\n")
    text, document = project.run("plan"), project.run("plan", "--json").document

    finding = "database/schema/patch-1.sql:1: ban-drop-column: Dropping a column may break existing clients."
    assert told.status == 0
    assert f"The linter:\n  {finding}\n" in told.out
    assert text.status == 1
    assert "database/schema/patch-1.sql, line 1: the linter's rule ban-drop-column refuses it" in text.out
    assert "[waived: empty since spring]" in text.out
    assert [bool(line["findings"]) for line in document["pending"]] == [True, False]
    assert [[each["rule"] for each in line["lint"]] for line in document["pending"]] == [
        ["ban-drop-column"], ["ban-drop-table"]]

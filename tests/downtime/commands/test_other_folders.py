"""The command line on a folder that another migration tool has left."""

from __future__ import annotations

from tests.downtime.commands.conftest import DIRECTORY, MakeProject

FIRST, SECOND = "20240131120000_init_10/migration", "20240201090000_v2.1/migration"


def test_patches_go_by_their_paths(make_project: MakeProject) -> None:
    """With folders and dots in the name, from the first look to the deploy of the code that needs the patch."""
    project = make_project(patches={"directory": DIRECTORY, "pattern": "*/migration.sql", "number": "^[0-9]+",
                                    "begin": "-- migrate:up", "end": "-- migrate:down"})
    project.repository.land({
        f"{DIRECTORY}/{name}.sql": f"-- migrate:up\nCREATE TABLE {table} ();\n-- migrate:down\nDROP TABLE {table};\n"
        for name, table in ((SECOND, "second"), (FIRST, "first"))}, "land")

    planned = project.run("plan", "--json").document
    baseline = project.run("baseline", FIRST, "--yes")
    applied = project.run("apply", f"{DIRECTORY}/{SECOND}.sql", "--yes", "--no-probe")
    required = project.run("require", SECOND)
    status = project.run("status", "--json").document

    assert [line["patch"] for line in planned["pending"]] == [FIRST, SECOND]
    assert (baseline.status, applied.status, required.status) == (0, 0, 0), (baseline, applied, required)
    assert project.production.admin_sql("SELECT id, lane FROM fastdowntime.ledger ORDER BY finished_at") == [
        (FIRST, "baseline"), (SECOND, "cold")]
    assert project.production.admin_sql("SELECT to_regclass('first'), to_regclass('second')") == [(None, "second")]
    (production,) = (each for each in status["environments"] if each["environment"] == "production")
    assert (production["last_applied"]["id"], production["pending"]) == (SECOND, [])

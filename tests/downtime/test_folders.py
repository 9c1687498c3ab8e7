"""The folders of other migration tools, read with the settings that docs/folders.md shows for them.

Each is as small as shows what is particular to it: names whose spelling is not their order, files that are no
patches, and what of a file is not applied.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from downtime import ledger, patches, settings, statements
from downtime.apply import Deployment
from downtime.patches import Inventory, Lane
from downtime.plan import plan
from tests.builders import a_node
from tests.databases import Database
from tests.downtime import outages

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "folders.md"
CHAPTER = re.compile(r"^## (?P<tool>[^\n]+)\n(?:(?!^## ).)*?^```yaml\n(?P<settings>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """One tool's folder, and what is to be applied of it: id, lane and statements, in order."""

    tool: str
    files: Mapping[str, str]
    applied: tuple[tuple[str, Lane, tuple[str, ...]], ...]


FOLDERS = (
    Folder(
        tool="A folder without a tool",
        files={
            "database/schema/patch-2211-10-0.sql": "SELECT 3;",
            "database/schema/patch-2211-03-0.sql":
                "SET client_min_messages=ERROR;\nSELECT 1;\nINSERT INTO revision VALUES (2211, 3, 0);",
            "database/schema/patch-2211-09-1.sql": "-- apply: live\nCREATE INDEX CONCURRENTLY i ON t (a);",
            "database/schema/security.cfg": "[public]",
        },
        applied=(
            ("patch-2211-03-0", Lane.COLD, (
                "SET client_min_messages=ERROR", "SELECT 1", "INSERT INTO revision VALUES (2211, 3, 0)")),
            ("patch-2211-09-1", Lane.LIVE, ("CREATE INDEX CONCURRENTLY i ON t (a)",)),
            ("patch-2211-10-0", Lane.COLD, ("SELECT 3",))),
    ),
    Folder(
        tool="Flyway",
        files={
            "src/main/resources/db/migration/V10__last.sql": "SELECT 10;",
            "src/main/resources/db/migration/V2__utf8_and_2_tables.sql": "SELECT 2;",
            "src/main/resources/db/migration/V2.1__add_3__columns.sql": "SELECT 2.1;",
            "src/main/resources/db/migration/2024/V3_1__in_a_folder.sql": "SELECT 3.1;",
            "src/main/resources/db/migration/V1__init.sql": "SELECT 1;",
            "src/main/resources/db/migration/U2__undo.sql": "SELECT -2;",
            "src/main/resources/db/migration/R__views.sql": "SELECT 'again and again';",
            "src/main/resources/db/migration/V4__Code.java": "class V4__Code {}",
        },
        applied=(
            ("V1__init", Lane.COLD, ("SELECT 1",)),
            ("V2__utf8_and_2_tables", Lane.COLD, ("SELECT 2",)),
            ("V2.1__add_3__columns", Lane.COLD, ("SELECT 2.1",)),
            ("2024/V3_1__in_a_folder", Lane.COLD, ("SELECT 3.1",)),
            ("V10__last", Lane.COLD, ("SELECT 10",))),
    ),
    Folder(
        tool="Prisma",
        files={
            "prisma/migrations/migration_lock.toml": 'provider = "postgresql"',
            "prisma/migrations/20240201090000_v2/migration.sql": "-- AlterTable\nSELECT 2;",
            "prisma/migrations/20240131120000_init_10/migration.sql": "-- CreateTable\nSELECT 1;",
        },
        applied=(
            ("20240131120000_init_10/migration", Lane.COLD, ("SELECT 1",)),
            ("20240201090000_v2/migration", Lane.COLD, ("SELECT 2",))),
    ),
    Folder(
        tool="Diesel",
        files={
            "migrations/2024-01-31-120000_create_posts_2/up.sql": "-- Your SQL goes here\nSELECT 1;",
            "migrations/2024-01-31-120000_create_posts_2/down.sql": "SELECT -1;",
            "migrations/2024-10-01-080000_index/up.sql": "-- apply: live\nCREATE INDEX CONCURRENTLY i ON t (a);",
            "migrations/2024-10-01-080000_index/metadata.toml": "run_in_transaction = false",
            "migrations/00000000000000_diesel_initial_setup/up.sql": "SELECT 0;",
            "migrations/.keep": "",
        },
        applied=(
            ("00000000000000_diesel_initial_setup/up", Lane.COLD, ("SELECT 0",)),
            ("2024-01-31-120000_create_posts_2/up", Lane.COLD, ("SELECT 1",)),
            ("2024-10-01-080000_index/up", Lane.LIVE, ("CREATE INDEX CONCURRENTLY i ON t (a)",))),
    ),
    Folder(
        tool="goose",
        files={
            "db/migrations/00002_functions_v3.sql":
                "-- +goose Up\n-- +goose StatementBegin\nCREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$\n"
                "BEGIN RETURN 1; END $$;\n-- +goose StatementEnd\nSELECT f();\n\n"
                "-- +goose Down\n-- +goose StatementBegin\nDROP FUNCTION f();\n-- +goose StatementEnd\n",
            "db/migrations/00010_index.sql":
                "-- +goose NO TRANSACTION\n-- +goose Up\nCREATE INDEX CONCURRENTLY i ON t (a);\n"
                "-- +goose Down\nDROP INDEX CONCURRENTLY i;\n",
            "db/migrations/00001_init.sql": "-- +goose Up\nSELECT 1;\n-- +goose Down\nSELECT -1;\n",
            "db/migrations/00003_code.go": "package migrations",
        },
        applied=(
            ("00001_init", Lane.COLD, ("SELECT 1",)),
            ("00002_functions_v3", Lane.COLD, (
                "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$\nBEGIN RETURN 1; END $$", "SELECT f()")),
            ("00010_index", Lane.LIVE, ("CREATE INDEX CONCURRENTLY i ON t (a)",))),
    ),
    Folder(
        tool="dbmate",
        files={
            "db/migrations/20240201090000_index_2.sql":
                "-- migrate:up transaction:false\nCREATE INDEX CONCURRENTLY i ON t (a);\n\n"
                "-- migrate:down transaction:false\nDROP INDEX CONCURRENTLY i;\n",
            "db/migrations/20240131120000_init.sql": "-- migrate:up\nSELECT 1;\n\n-- migrate:down\nSELECT -1;\n",
            "db/schema.sql": "SELECT 'a dump';",
        },
        applied=(
            ("20240131120000_init", Lane.COLD, ("SELECT 1",)),
            ("20240201090000_index_2", Lane.LIVE, ("CREATE INDEX CONCURRENTLY i ON t (a)",))),
    ),
    Folder(
        tool="golang-migrate",
        files={
            "db/migrations/000010_v2.up.sql": "SELECT 10;", "db/migrations/000010_v2.down.sql": "SELECT -10;",
            "db/migrations/9_users_v3.up.sql": "SELECT 9;", "db/migrations/9_users_v3.down.sql": "SELECT -9;",
        },
        applied=(
            ("9_users_v3.up", Lane.COLD, ("SELECT 9",)),
            ("000010_v2.up", Lane.COLD, ("SELECT 10",))),
    ),
    Folder(
        tool="morph",
        files={
            "db/migrations/postgres/000002_index.up.sql":
                "-- morph:nontransactional\nCREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a);",
            "db/migrations/postgres/000002_index.down.sql":
                "-- morph:nontransactional\nDROP INDEX CONCURRENTLY IF EXISTS i;",
            "db/migrations/postgres/000001_x.up.sql": "SELECT 1;",
            "db/migrations/postgres/000001_x.down.sql": "SELECT -1;",
            "db/migrations/mysql/000001_x.up.sql": "SELECT 1;",
        },
        applied=(
            ("000001_x.up", Lane.COLD, ("SELECT 1",)),
            ("000002_index.up", Lane.LIVE, ("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)",))),
    ),
)


def inventory_of(folder: Folder, tmp_path: Path) -> Inventory:
    """As a commit's patches are read with the settings of the page."""
    shown = {chapter["tool"]: chapter["settings"] for chapter in CHAPTER.finditer(PAGE.read_text(encoding="utf-8"))}
    (tmp_path / "settings.yaml").write_text(shown[folder.tool], encoding="utf-8")
    rules = settings.load(tmp_path / "settings.yaml", {})
    return patches.inventory({path: sql.encode() for path, sql in folder.files.items()}, rules.patches,
                             not_schema=rules.landing.not_schema, commit="c" * 40)


def test_every_tool_of_the_page_is_tried() -> None:
    """Nobody copies settings that were not seen to work."""

    assert [chapter["tool"] for chapter in CHAPTER.finditer(PAGE.read_text(encoding="utf-8"))] == [
        folder.tool for folder in FOLDERS]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.tool)
def test_folder_is_read_as_its_tool_reads_it(folder: Folder, tmp_path: Path) -> None:
    """The same files, in the same order, and of each the same statements; nothing speaks against any of them."""
    found = inventory_of(folder, tmp_path).patches

    assert [(patch.id, patch.lane, tuple(each.text for each in statements.split(patch.sql)))
            for patch in found] == list(folder.applied)
    assert [problem for patch in found for problem in (*patch.problems, *statements.objections_to(patch))] == []


@pytest.mark.parametrize("tool", ["Flyway", "Prisma", "golang-migrate"])
async def test_database_remembers_ids_with_folders_and_dots(database: Database, tool: str, tmp_path: Path) -> None:
    """What was applied under such a name is pending no more, and its number counts against later ones."""
    (folder,) = (each for each in FOLDERS if each.tool == tool)
    stock = inventory_of(folder, tmp_path)
    first, *rest = stock.patches
    last = rest[-1]

    for patch in (first, last):
        deployment = Deployment(patch=patch, statements=statements.examine(patch), origin=ledger.Origin())
        assert (await outages.run(database, deployment)).applied

    node = await a_node(database.target)
    try:
        planned = plan(stock, await ledger.read(node))
    finally:
        node.close()
    assert (planned.last_applied, planned.drift, planned.missing) == (last.id, (), ())
    assert [patch.id for patch in planned.late] == [patch.id for patch in rest[:-1]]

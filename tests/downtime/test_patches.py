from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pytest

from downtime import patches
from downtime.patches import Inventory, Lane, Patch
from downtime.settings.sections import Patches

COMMIT = "c" * 40
SELECT = b"SELECT 1;\n"


def an_inventory(files: Mapping[str, bytes], *, not_schema: tuple[str, ...] = (), **rules: Any) -> Inventory:
    return patches.inventory(files, Patches(**{"directory": "db", **rules}), not_schema=not_schema, commit=COMMIT)


def a_patch(content: bytes, **rules: Any) -> Patch:
    (patch,) = an_inventory({"db/patch-1.sql": content}, **rules).patches
    return patch


def problems_of(content: bytes, **rules: Any) -> tuple[str, ...]:
    return a_patch(content, **rules).problems


def test_patches_are_ordered_by_their_numbers() -> None:
    """10 comes after 9, and leading zeros count for nothing."""
    names = ["patch-2211-10-0", "patch-2211-9-1", "patch-2211-09-0", "patch-99-0-0"]

    ordered = an_inventory({f"db/{name}.sql": SELECT for name in names})

    assert [patch.id for patch in ordered.patches] == [
        "patch-99-0-0", "patch-2211-09-0", "patch-2211-9-1", "patch-2211-10-0"]
    assert ordered.patches[-1].number == (2211, 10, 0)


def test_patch_knows_its_bytes_and_its_commit() -> None:
    """The digest is that of the file as it is, so `sha256sum` agrees."""
    content = "-- apply: live\nSELECT 'ä';\r\n".encode()

    (patch,) = an_inventory({"db/patch-1.sql": content}).patches

    assert patch == patches.Patch(
        id="patch-1", path="db/patch-1.sql", number=(1,), lane=Lane.LIVE, declared=True,
        sha256=hashlib.sha256(content).hexdigest(), sql=content.decode(), commit=COMMIT)


@pytest.mark.parametrize(("pattern", "path", "patch_id"), [
    ("patch-*.sql", "db/patch-2211-03-0.sql", "patch-2211-03-0"),
    ("V*.sql", "db/V12__name.sql", "V12__name"),
    ("*/migration.sql", "db/20240101_name/migration.sql", "20240101_name/migration"),
    ("**/*.sql", "db/2024/01/add.sql", "2024/01/add"),
])
def test_pattern_of_the_settings_finds_patches(pattern: str, path: str, patch_id: str) -> None:
    """Several customs of naming work; the id is the path below the directory."""
    files = {path: SELECT, "db/readme.txt": b"", "other/patch-1.sql": SELECT}

    found = an_inventory(files, pattern=pattern)

    assert [patch.id for patch in found.patches] == [patch_id]


@pytest.mark.parametrize("directory", [".", "./"])
def test_directory_may_be_the_top_of_the_repository(directory: str) -> None:
    """Then the id is the whole path."""

    assert an_inventory({"patch-1.sql": SELECT}, directory=directory).find("patch-1")


def test_patch_is_found_by_id_path_or_file_name() -> None:
    """Whatever a person has at hand to paste."""
    found = an_inventory({"db/patch-1.sql": SELECT})

    (patch,) = found.patches

    assert [found.find(name) for name in ("patch-1", "db/patch-1.sql", "patch-1.sql")] == [patch] * 3
    assert found.find("patch-2") is None


def test_file_name_of_several_patches_finds_none() -> None:
    """`migration.sql` must not mean the wrong one."""
    found = an_inventory({"db/1/migration.sql": SELECT, "db/2/migration.sql": SELECT}, pattern="*/*.sql")

    assert found.find("migration.sql") is None
    assert found.find("2/migration") is found.patches[1]


def test_files_that_are_no_schema_are_no_patches() -> None:
    """Grants lie among the patches in some projects."""
    found = an_inventory({"db/patch-1.sql": SELECT, "db/patch-1-grants.sql": SELECT}, not_schema=("**/*-grants.sql",))

    assert [patch.id for patch in found.patches] == ["patch-1"]
    assert not found.covers("db/patch-2-grants.sql")
    assert found.covers("db/patch-2.sql")


@pytest.mark.parametrize(("undeclared_lane", "lane"), [("cold", Lane.COLD), ("live", Lane.LIVE), ("refuse", Lane.COLD)])
def test_undeclared_patch_gets_the_lane_of_the_settings(undeclared_lane: str, lane: Lane) -> None:
    """And says that it did not declare it."""

    patch = a_patch(SELECT, undeclared_lane=undeclared_lane)

    assert (patch.lane, patch.declared) == (lane, False)


def test_settings_may_refuse_undeclared_patches() -> None:
    """The sentence says what to write."""

    assert problems_of(SELECT, undeclared_lane="refuse") == (
        "db/patch-1.sql declares no lane; write `-- apply: live` or `-- apply: cold` at its top.",)
    assert problems_of(b"-- apply: cold\n" + SELECT, undeclared_lane="refuse") == ()


@pytest.mark.parametrize(("content", "sentence"), [
    (b"", "db/patch-1.sql has no statement: it is empty or all comments."),
    (b"-- nothing\n", "db/patch-1.sql has no statement: it is empty or all comments."),
    (b"\xef\xbb\xbfSELECT 1;",
     "db/patch-1.sql, line 1: the file starts with a byte order mark; save it as UTF-8 without one."),
    (b"SELECT\n1\0;", "db/patch-1.sql, line 2: there is a NUL byte; save the file as plain UTF-8 text."),
    ("-- ä\nSELECT 'ä';".encode("latin-1"),
     "db/patch-1.sql, line 1: byte 3 (0xe4) is not UTF-8; save the file as UTF-8."),
    (b"\n-- apply: hot\nSELECT 1;",
     "db/patch-1.sql, line 2: `-- apply: hot` names no lane; write `-- apply: live` or `-- apply: cold`."),
])
def test_problem_names_the_file_and_the_line(content: bytes, sentence: str) -> None:
    """One sentence, and no second one that follows from the first."""

    assert problems_of(content) == (sentence,)


def test_duplicate_numbers_name_both_files() -> None:
    """Each of the two learns of the other; a third patch is left in peace."""
    first, second, third = an_inventory({
        "db/patch-1-1.sql": SELECT, "db/patch-1-01.sql": SELECT, "db/patch-1-2.sql": SELECT}).patches

    assert first.problems == (
        "db/patch-1-01.sql has the same number (1-1) as db/patch-1-1.sql; give it one of its own.",)
    assert second.problems == (
        "db/patch-1-1.sql has the same number (1-1) as db/patch-1-01.sql; give it one of its own.",)
    assert third.problems == ()


def test_patch_without_number_has_no_place() -> None:
    """It would otherwise run before everything else; two of them are no duplicates of each other."""
    found = an_inventory({"db/patch-a.sql": SELECT, "db/patch-b.sql": SELECT})

    assert [problem for patch in found.patches for problem in patch.problems] == [
        "db/patch-a.sql has no number in its path, so it has no place in the order; rename it.",
        "db/patch-b.sql has no number in its path, so it has no place in the order; rename it."]


def test_settings_may_say_which_part_of_the_path_is_the_number() -> None:
    """Digits of a description are no part of the order: `2` comes before `2.1`, and that before `10`."""
    names = ["V10__b", "V2.1__3_tables", "V2__utf8", "V1_5__x"]

    ordered = an_inventory({f"db/{name}.sql": SELECT for name in names}, pattern="V*.sql", number="^V([0-9._]+?)__")

    assert [(patch.id, patch.number) for patch in ordered.patches] == [
        ("V1_5__x", (1, 5)), ("V2__utf8", (2,)), ("V2.1__3_tables", (2, 1)), ("V10__b", (10,))]
    assert ordered.number_of("V7__gone_since") == (7,)


def test_number_without_a_group_is_the_whole_match() -> None:
    """`^[0-9]+` is all that a folder of timestamps needs."""

    (patch,) = an_inventory({"db/20240101_v2/up.sql": SELECT}, pattern="*/up.sql", number="^[0-9]+").patches

    assert patch.number == (20240101,)


@pytest.mark.parametrize("number", ["^V([0-9]+)__", "^patch-([a-z]*)", "^(V)?patch"])
def test_patch_without_the_settings_number_may_not_run(number: str) -> None:
    """It has no place, and the sentence names the setting, which may be what is wrong."""

    assert problems_of(SELECT, number=number) == (
        f"db/patch-1.sql has no place in the order: patch-1 has no number that `{number}` finds "
        "(settings: patches.number); rename it, or correct the setting.",)

"""Files of which a part is applied, and lines of other tools that declare a lane."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from downtime import patches, statements
from downtime.patches import Lane, Patch
from downtime.settings.sections import Patches


def a_patch(content: bytes, **rules: Any) -> Patch:
    stock = patches.inventory({"db/patch-1.sql": content}, Patches(directory="db", **rules), not_schema=(),
                              commit="c" * 40)
    (patch,) = stock.patches
    return patch


UP_AND_DOWN = {"begin": "-- +goose Up", "end": "-- +goose Down"}


def test_part_of_a_file_is_applied() -> None:
    """Statements keep their places in the file; the digest is that of all its bytes, as `sha256sum` gives it."""
    file = "-- apply: live\nDROP TABLE a;\n  -- +goose Up\nSELECT 'ä';\r\n-- +goose Down\nDROP TABLE b;\n-- end\n"

    patch = a_patch(file.encode(), **UP_AND_DOWN)

    assert [(each.line, each.text) for each in statements.split(patch.sql)] == [(4, "SELECT 'ä'")]
    assert (len(patch.sql), patch.sql.count("\n"), patch.problems) == (len(file), file.count("\n"), ())
    assert patch.sha256 == hashlib.sha256(file.encode()).hexdigest()


def test_comments_above_the_part_hold_for_it() -> None:
    """The top of the file is where people declare the lane."""

    assert a_patch(b"-- apply: live\n/* old */\n-- +goose Up\nSELECT 1;", **UP_AND_DOWN).lane is Lane.LIVE


def test_comments_below_the_part_do_not() -> None:
    """How to go back is another story."""
    patch = a_patch(b"-- +goose Up\nSELECT 1;\n-- +goose Down\n-- apply: live\n", **UP_AND_DOWN)

    assert (patch.lane, patch.problems) == (Lane.COLD, ())


def test_file_without_an_end_is_applied_to_its_last_line() -> None:
    """Not every patch can be taken back."""

    assert statements.split(a_patch(b"-- +goose Up\nSELECT 1;\n\nSELECT 2;", **UP_AND_DOWN).sql)[-1].line == 4


def test_end_may_stand_alone() -> None:
    """Some files begin with what is applied."""

    assert len(statements.split(a_patch(b"SELECT 1;\n-- @UNDO\nSELECT 2;", end="-- @UNDO").sql)) == 1


def test_line_that_begins_the_part_need_not_be_a_comment() -> None:
    """It is no part of what is sent to the server."""

    assert statements.split(a_patch(b"# --- !Ups\nSELECT 1;", begin="# --- !Ups").sql)[0].text == "SELECT 1"


@pytest.mark.parametrize(("content", "sentence"), [
    (b"SELECT 1;", "line 1: no line starts with `-- +goose Up`, so nothing of the file would be applied; write one "
                   "above the SQL."),
    (b"-- +goose Up\nSELECT 1;\n-- +goose Up\nSELECT 2;",
     "line 3: a second line starts with `-- +goose Up`, the first is line 1; keep one of them."),
    (b"\n-- +goose Down\nSELECT 1;\n-- +goose Up\nSELECT 2;",
     "line 2: the part to be applied ends above the line where it begins (4); put the two in order."),
])
def test_file_that_is_divided_otherwise_may_not_run(content: bytes, sentence: str) -> None:
    """Half a file, or the wrong half, must not reach a database; nothing else is said of it."""
    patch = a_patch(content, **UP_AND_DOWN)

    assert (patch.problems, patch.sql) == ((f"db/patch-1.sql, {sentence}",), "")


@pytest.mark.parametrize(("content", "line", "written", "meant"), [
    (b"\n-- +goose up\nSELECT 1;", 2, "-- +goose up", "-- +goose Up"),
    (b"-- +goose Up\nCREATE TABLE t ();\n--+goose Down\nDROP TABLE t;", 3, "--+goose Down", "-- +goose Down"),
    (b"-- +goose Up\nCREATE TABLE t ();\n -- +GOOSE  DOWN \nDROP TABLE t;", 3, "-- +GOOSE  DOWN", "-- +goose Down"),
])
def test_line_that_is_nearly_one_of_the_settings_is_refused(content: bytes, line: int, written: str, meant: str
                                                            ) -> None:
    """Its own tool may take it for that; read as a comment it would apply the statements that go back."""

    assert a_patch(content, **UP_AND_DOWN).problems == (
        f"db/patch-1.sql, line {line}: `{written}` differs from `{meant}` of the settings in capital letters or "
        "spaces; write it like that.",)


def test_file_that_applies_nothing_is_known() -> None:
    """Only the way back is written."""

    assert a_patch(b"-- +goose Up\n-- +goose Down\nDROP TABLE t;", **UP_AND_DOWN).problems == (
        "db/patch-1.sql has no statement: it is empty or all comments.",)


@pytest.mark.parametrize("inside", [
    "SELECT '\n-- +goose Down\n';", "DO $$\n-- +goose Down\n$$;", "/*\n-- +goose Down\n*/"])
def test_end_inside_a_statement_does_not_pass_unseen(inside: str) -> None:
    """It ends the part like any other, and what is left is no SQL: refused with the line where it breaks off."""
    patch = a_patch(f"-- +goose Up\nSELECT 1;\n{inside}".encode(), **UP_AND_DOWN)

    (objection,) = statements.objections_to(patch)
    assert objection.startswith("db/patch-1.sql, line 3, ")
    assert "unterminated" in objection


LIVE_LINES = ("-- +goose NO TRANSACTION", "-- morph:nontransactional")


@pytest.mark.parametrize("content", [
    b"-- +goose NO TRANSACTION\n-- +goose Up\nSELECT 1;",
    b"-- +goose Up\n  -- +goose NO TRANSACTION -- why\nSELECT 1;",
    b"-- +goose Up\nSELECT 1;\n-- +goose Down\n-- morph:nontransactional\n",
])
def test_lines_of_the_settings_declare_the_lane(content: bytes) -> None:
    """Wherever they stand, as the tool has it whose lines they are."""
    patch = a_patch(content, live_lines=LIVE_LINES, **UP_AND_DOWN)

    assert (patch.lane, patch.declared, patch.problems) == (Lane.LIVE, True, ())


def test_line_of_the_settings_may_be_said_twice() -> None:
    """Both words for live are one declaration."""

    assert a_patch(b"-- apply: live\n-- morph:nontransactional\nSELECT 1;", live_lines=LIVE_LINES).problems == ()


@pytest.mark.parametrize(("content", "sentence"), [
    (b"-- morph:nontransactional\n-- apply: cold\nSELECT 1;",
     "line 2: `-- apply: cold` contradicts `-- morph:nontransactional` in line 1; keep one of them."),
    (b"-- apply: cold\nSELECT 1;\n-- morph:nontransactional\n",
     "line 3: `-- morph:nontransactional` contradicts `-- apply: cold` in line 1; keep one of them."),
])
def test_contradiction_of_the_two_is_a_mistake(content: bytes, sentence: str) -> None:
    """And counts as cold, the careful one."""
    patch = a_patch(content, live_lines=LIVE_LINES)

    assert (patch.lane, patch.problems) == (Lane.COLD, (f"db/patch-1.sql, {sentence}",))


def test_line_of_the_settings_is_not_part_of_another() -> None:
    """A comment that speaks of the line is none."""

    assert not a_patch(b"-- not -- morph:nontransactional\nSELECT 1;", live_lines=LIVE_LINES).declared

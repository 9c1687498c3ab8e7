from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from downtime import landing, patches
from downtime.landing import Accepted, Change, ChangedFile, Landing, NotDatabase, Rejected, RejectionKind
from downtime.patches import Lane
from downtime.settings.sections import Patches

COLD = b"ALTER TABLE t ADD COLUMN c int;\n"
LIVE = b"-- apply: live\nCREATE INDEX CONCURRENTLY i ON t (c);\n"


@dataclass(frozen=True)
class Rules:
    code: tuple[str, ...] = ("**/*.py", "db/*.sql")
    beside: tuple[str, ...] = ("**/tests/**",)
    not_schema: tuple[str, ...] = ("**/grants-*",)


@dataclass(frozen=True)
class Row:
    id: str
    sha256: str


def added(path: str) -> ChangedFile:
    return ChangedFile(path=path, change=Change.ADDED)


def modified(path: str) -> ChangedFile:
    return ChangedFile(path=path, change=Change.MODIFIED)


def deleted(path: str) -> ChangedFile:
    return ChangedFile(path=path, change=Change.DELETED)


def renamed(old_path: str, path: str) -> ChangedFile:
    return ChangedFile(path=path, change=Change.RENAMED, old_path=old_path)


def judge(*changes: ChangedFile, files: Mapping[str, bytes], applied: Mapping[str, bytes] | None = None) -> Landing:
    """`files` is what the repository holds afterwards, `applied` what the database was given, both by path."""
    stock = patches.inventory(files, Patches(directory="db"), not_schema=Rules().not_schema, commit="c" * 40)
    rows = [Row(id=stock.id_at(path), sha256=hashlib.sha256(content).hexdigest())
            for path, content in (applied or {}).items()]
    return landing.judge(changes, Rules(), stock, rows)


def reasons(judged: Landing) -> list[tuple[RejectionKind, tuple[str, ...]]]:
    assert isinstance(judged, Rejected)
    return [(reason.kind, reason.files) for reason in judged.reasons]


def test_landing_without_patches_is_no_database_landing() -> None:
    """Code alone is nobody's business here."""
    judged = judge(added("app.py"), files={"app.py": b""})

    assert judged == NotDatabase()
    assert judged.sentence == "Not a database landing: it brings no patch."


def test_patch_alone_is_accepted() -> None:
    """With its lane."""
    judged = judge(added("db/patch-1.sql"), files={"db/patch-1.sql": COLD})

    assert isinstance(judged, Accepted)
    assert judged.sentence == "One patch for the cold lane: patch-1."


def test_several_patches_of_one_lane_are_accepted_in_their_order() -> None:
    """The order of the change list does not matter."""
    names = ["db/patch-10.sql", "db/patch-9.sql"]

    judged = judge(*map(added, names), files=dict.fromkeys(names, LIVE))

    assert isinstance(judged, Accepted)
    assert [patch.id for patch in judged.patches] == ["patch-9", "patch-10"]
    assert judged.lane is Lane.LIVE
    assert judged.sentence == "2 patches for the live lane: patch-9, patch-10."


@pytest.mark.parametrize("other", ["README", "app/tests/test_app.py", "db/grants-1.sql", "lib/grants-2.py"])
def test_patch_may_land_beside_what_is_no_code(other: str) -> None:
    """Files of no list, files that may lie beside, and files that are no schema."""
    judged = judge(added("db/patch-1.sql"), added(other), files={"db/patch-1.sql": COLD, other: b""})

    assert isinstance(judged, Accepted)


def test_patch_together_with_code_is_rejected() -> None:
    """Both sides are named; also code that was only moved or deleted counts."""
    judged = judge(added("db/patch-1.sql"), modified("app.py"), deleted("old.py"), renamed("moved.py", "moved.txt"),
                   files={"db/patch-1.sql": COLD, "app.py": b"", "moved.txt": b""})

    assert reasons(judged) == [(RejectionKind.MIXED, ("db/patch-1.sql", "app.py", "old.py", "moved.py"))]
    assert judged.sentence == (
        "Rejected: db/patch-1.sql may not land together with code (app.py, old.py, moved.py); land the patch first "
        "and the code that needs it after it is applied.")


def test_rejected_landing_still_names_its_patches() -> None:
    """They are what is held back."""
    judged = judge(added("db/patch-1.sql"), added("app.py"), files={"db/patch-1.sql": COLD, "app.py": b""})

    assert isinstance(judged, Rejected)
    assert [patch.id for patch in judged.patches] == ["patch-1"]


def test_revert_of_a_mixed_landing_is_no_database_landing() -> None:
    """Taking back a patch that nobody has applied must be possible together with its code."""

    assert judge(deleted("db/patch-1.sql"), deleted("app.py"), files={}) == NotDatabase()


def test_pending_patch_may_be_corrected() -> None:
    """Nothing was applied yet, so nothing was promised."""
    judged = judge(modified("db/patch-2.sql"), files={"db/patch-1.sql": COLD, "db/patch-2.sql": COLD},
                   applied={"db/patch-1.sql": COLD})

    assert isinstance(judged, Accepted)


def test_edit_of_an_applied_patch_is_rejected() -> None:
    """No database would ever see the change."""
    judged = judge(modified("db/patch-1.sql"), files={"db/patch-1.sql": LIVE}, applied={"db/patch-1.sql": COLD})

    assert reasons(judged) == [(RejectionKind.EDITED, ("db/patch-1.sql",))]
    assert "db/patch-1.sql was changed after it was applied" in judged.sentence


def test_restored_bytes_of_an_applied_patch_are_no_edit() -> None:
    """This is how drift is mended, be it together with code."""
    judged = judge(modified("db/patch-1.sql"), added("app.py"), files={"db/patch-1.sql": COLD, "app.py": b""},
                   applied={"db/patch-1.sql": COLD})

    assert judged == NotDatabase()


def test_deletion_of_an_applied_patch_is_rejected() -> None:
    """A new server could not be built up from the repository any more."""
    judged = judge(deleted("db/patch-1.sql"), files={}, applied={"db/patch-1.sql": COLD})

    assert reasons(judged) == [(RejectionKind.DELETED, ("db/patch-1.sql",))]


@pytest.mark.parametrize("path", ["db/patch-2.sql", "attic/patch-1.sql"])
def test_rename_of_an_applied_patch_is_rejected(path: str) -> None:
    """Under its new name it would be applied again, and outside the directory it is lost."""
    judged = judge(renamed("db/patch-1.sql", path), files={path: COLD}, applied={"db/patch-1.sql": COLD})

    assert reasons(judged) == [(RejectionKind.RENAMED, ("db/patch-1.sql", path))]


def test_pending_patch_may_be_renamed() -> None:
    """To give it a higher number, say."""
    judged = judge(renamed("db/patch-1.sql", "db/patch-3.sql"), files={"db/patch-3.sql": COLD, "db/patch-2.sql": COLD},
                   applied={"db/patch-2.sql": COLD})

    assert isinstance(judged, Accepted)
    assert [patch.id for patch in judged.patches] == ["patch-3"]


def test_number_lower_than_an_applied_one_is_rejected() -> None:
    """Numbers are compared as numbers."""
    judged = judge(added("db/patch-9.sql"), files={"db/patch-9.sql": COLD, "db/patch-10.sql": COLD},
                   applied={"db/patch-10.sql": COLD})

    assert reasons(judged) == [(RejectionKind.LATE, ("db/patch-9.sql",))]
    assert "not higher than that of patch-10, which is applied" in judged.sentence


def test_two_lanes_in_one_landing_are_rejected() -> None:
    """Each lane is named with its files."""
    judged = judge(added("db/patch-1.sql"), added("db/patch-2.sql"),
                   files={"db/patch-1.sql": COLD, "db/patch-2.sql": LIVE})

    assert reasons(judged) == [(RejectionKind.LANES, ("db/patch-1.sql", "db/patch-2.sql"))]
    assert "(live: db/patch-2.sql; cold: db/patch-1.sql)" in judged.sentence


@pytest.mark.parametrize(("content", "kind"), [
    (b"", RejectionKind.PATCH),
    (b"\xff", RejectionKind.PATCH),
    (b"-- apply: hot\nSELECT 1;", RejectionKind.PATCH),
    (b"SELEC 1;", RejectionKind.SQL),
    (b"\\i other.sql", RejectionKind.SQL),
    (b"COMMIT;", RejectionKind.SQL),
    (b"VACUUM;", RejectionKind.SQL),
])
def test_fault_of_a_landed_patch_rejects_the_landing(content: bytes, kind: RejectionKind) -> None:
    """Long before it would fail on a server."""

    assert reasons(judge(added("db/patch-1.sql"), files={"db/patch-1.sql": content})) == [(kind, ("db/patch-1.sql",))]


def test_faults_of_other_patches_do_not_matter() -> None:
    """An old file that was always wrong is not this landing's doing."""
    judged = judge(added("db/patch-2.sql"), files={"db/patch-1.sql": b"\xff", "db/patch-2.sql": COLD})

    assert isinstance(judged, Accepted)


def test_all_reasons_are_given_at_once() -> None:
    """Nobody lands five times to learn of five mistakes."""
    judged = judge(
        added("db/patch-2.sql"), added("db/patch-7.sql"), modified("db/patch-5.sql"), added("app.py"),
        files={"db/patch-2.sql": b"COMMIT;", "db/patch-5.sql": LIVE, "db/patch-7.sql": LIVE, "app.py": b""},
        applied={"db/patch-5.sql": COLD})

    assert [kind for kind, _ in reasons(judged)] == [
        RejectionKind.MIXED, RejectionKind.EDITED, RejectionKind.LATE, RejectionKind.LANES, RejectionKind.SQL]

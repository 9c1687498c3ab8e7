from __future__ import annotations

import pytest

from downtime import globs


@pytest.mark.parametrize(("glob", "path"), [
    ("patch-*.sql", "patch-2211-03-0.sql"),
    ("**/*.py", "setup.py"),
    ("**/*.py", "lib/deep/er/setup.py"),
    ("docs/**", "docs/a/b.md"),
    ("**/tests/**", "tests/test_a.py"),
    ("**/tests/**", "lib/tests/deep/test_a.py"),
    ("*/migration.sql", "20240101_name/migration.sql"),
    ("V[0-9]*__?*.sql", "V12__name.sql"),
    ("[!.]*", "visible"),
    ("a.b+c(d)", "a.b+c(d)"),
    ("odd[name", "odd[name"),
])
def test_glob_means_path(glob: str, path: str) -> None:
    """What people write in other tools means the same here."""

    assert globs.matches(path, glob)


@pytest.mark.parametrize(("glob", "path"), [
    ("patch-*.sql", "old/patch-1.sql"),
    ("*.py", "lib/setup.py"),
    ("*/migration.sql", "a/b/migration.sql"),
    ("docs/**", "docs"),
    ("**/tests/**", "lib/mytests/a.py"),
    ("a?c", "a/c"),
    ("a[!b]c", "a/c"),
    ("a.c", "abc"),
    ("*.SQL", "patch-1.sql"),
    ("patch-*.sql", "patch-1.sql.orig"),
    ("patch-*.sql", "patch-1.sql\n"),
])
def test_glob_does_not_mean_path(glob: str, path: str) -> None:
    """A star stays within one name, a glob means whole paths, and case counts."""

    assert not globs.matches(path, glob)


def test_no_globs_mean_nothing() -> None:
    """An empty list in the settings is not "everything"."""

    assert not globs.matches_any("a.py", [])

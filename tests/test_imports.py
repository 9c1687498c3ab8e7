"""Imports run one way: master.cfg → master → steps → downtime. `demo` may use any, `bench` that too; only tests use
them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("downtime", "steps", "master", "demo", "bench")

# what the modules of a package may not import
FORBIDDEN = {
    "downtime": {"steps", "master", "demo", "bench", "tests", "buildbot"},
    "steps": {"master", "demo", "bench", "tests"},
    "master": {"demo", "bench", "tests"},
    "demo": {"bench", "tests"},
    "bench": {"tests"},
}

# libraries that one module alone may know
ONLY_IN = {"txpostgres": "downtime/node.py", "postgast": "downtime/parsing.py"}


def imports_of(path: Path) -> set[str]:
    """The top-level names a file imports, wherever in it."""
    return {name.partition(".")[0] for name in _imported(ast.parse(path.read_text(encoding="utf-8"), str(path)))}


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def modules_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_imports_against_the_line(package: str) -> None:
    """Whoever reads a folder needs to know the folders below it, and no other."""

    assert modules_of(package)
    assert {str(path.relative_to(ROOT)): sorted(found) for path in modules_of(package)
            if (found := imports_of(path) & FORBIDDEN[package])} == {}


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_with_traps_is_known_to_one_module(library: str) -> None:
    """What must be got right about it is got right once."""

    knowing = [str(path.relative_to(ROOT)) for package in ("downtime", "steps", "master")
               for path in modules_of(package) if library in imports_of(path)]
    assert knowing == [ONLY_IN[library]]


def test_the_configuration_file_is_about_ten_lines() -> None:
    """master.cfg finds its folder and makes one call; everything else can be tested."""

    lines = [line for line in (ROOT / "master.cfg").read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(lines) <= 10


def test_an_import_inside_a_function_is_seen(tmp_path: Path) -> None:
    """The reader of this test finds imports inside functions, too."""

    path = tmp_path / "late.py"
    path.write_text("def f():\n    import master.people\n    from demo import stage\n", encoding="utf-8")
    assert imports_of(path) == {"master", "demo"}

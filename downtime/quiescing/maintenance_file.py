"""Creates a file that tells programs to rest, and removes it.

It appears at once and whole. One that is there already with another text is somebody else's: it is neither
overwritten nor removed.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from downtime.quiescing.programs import NotDone, end

MODE = 0o644  # programs of other users read it


def create(path: Path, text: str) -> str:
    """Raises NotDone where there is another, OSError where it cannot be written."""
    if (there := _text_of(path)) is not None:
        if there != text:
            raise NotDone(f"{path} is there already, with another text: somebody else’s")
        return f"{path} is there already"
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(number, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            os.fchmod(number, MODE)
        try:
            os.link(name, path)  # unlike a rename it fails where somebody has just made one
        except FileExistsError:
            raise NotDone(f"{path} has just been made by somebody else") from None
    finally:
        os.unlink(name)
    return f"{path} is there"


def remove(path: Path, text: str) -> str:
    """Raises NotDone where it is another, OSError where it cannot be removed."""
    there = _text_of(path)
    if there is not None and there != text:
        raise NotDone(f"{path} has another text than ours: it is left there")
    with suppress(FileNotFoundError):
        path.unlink()
    return f"{path} is gone"


def _text_of(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return None


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m downtime.quiescing.maintenance_file", description=__doc__)
    parser.add_argument("do", choices=["create", "remove"])
    parser.add_argument("path", type=Path)
    parser.add_argument("--text", default="")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> str:
    """What was done, in a sentence."""
    asked = _arguments(given)
    try:
        return (create if asked.do == "create" else remove)(asked.path, asked.text)
    except OSError as error:
        raise NotDone(f"{asked.path}: {error.strerror}") from None


if __name__ == "__main__":
    end(main)

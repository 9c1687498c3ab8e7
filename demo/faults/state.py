"""Buildbot's state database: a copy as a backup makes it, and putting it back."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

STATE = "state.sqlite"
BESIDE = ("-wal", "-shm", "-journal")  # what SQLite keeps beside it


def backup(state: Path, copy: Path) -> None:
    """Copy it while a master uses it."""
    with (contextlib.closing(sqlite3.connect(state)) as old, contextlib.closing(sqlite3.connect(copy)) as new):
        old.backup(new)
    copy.chmod(0o600)


def put_back(copy: Path, state: Path) -> None:
    """For a master that has ended."""
    for name in BESIDE:
        state.with_name(state.name + name).unlink(missing_ok=True)
    copy.replace(state)


def overwrite(state: Path) -> None:
    """As a broken disk does: garbage in every page, under the feet of whoever has it open."""
    for path in _files(state):
        with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
            file.write(os.urandom(os.fstat(file.fileno()).st_size))


def truncate(state: Path) -> None:
    """Nothing is left of it."""
    for path in _files(state):
        with contextlib.suppress(FileNotFoundError):
            os.truncate(path, 0)


def _files(state: Path) -> list[Path]:
    # not the -shm: it is mapped into the master's memory, and a lost page of it is a lost process;
    # the -wal comes and goes as connections are opened and closed
    return [state, state.with_name(f"{state.name}-wal")]

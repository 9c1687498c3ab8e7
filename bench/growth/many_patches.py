"""Repositories with thousands of patches, ledgers that have nearly all of them, and settings that name both."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml
from psycopg2 import sql

from bench.database import NAME, Database
from demo import application
from demo.gitrepo import BRANCH, GitError, Repository

FOLDER = "database/schema"
STAGING = "staging"
COMMIT = f"commit refs/heads/{BRANCH}\ncommitter bench <bench@example.org> {{number}} +0000\ndata 0\n"
FILE = f"M 100644 inline {FOLDER}/{{name}}.sql\ndata {{length}}\n{{text}}"


def name_of(number: int) -> str:
    return f"patch-{number // 100:04}-{number % 100:02}-0"


def text_of(number: int) -> str:
    return f"-- apply: cold\nALTER TABLE account ADD COLUMN c{number} text;\n"


def sha256_of(count: int) -> Mapping[str, str]:
    """The first so many patches, as a ledger has them."""
    return {name_of(number): hashlib.sha256(text_of(number).encode()).hexdigest() for number in range(count)}


def import_into(repository: Repository, sizes: Sequence[int]) -> dict[int, str]:
    """A commit that has so many patches, for each size; its id by its size. Raises GitError."""
    _git(repository, "fast-import", "--quiet", told="".join(_commits(sizes)))
    oldest_first = _git(repository, "rev-list", "--reverse", BRANCH).split()
    return dict(zip(sizes, oldest_first, strict=True))


def _commits(sizes: Sequence[int]) -> Iterator[str]:
    """As `git fast-import` reads them; `git add` takes a hundred times longer."""
    for before, size in zip((0, *sizes), sizes, strict=False):
        yield COMMIT.format(number=size)
        for number in range(before, size):
            text = text_of(number)
            yield FILE.format(name=name_of(number), length=len(text), text=text)


def _git(repository: Repository, *arguments: str, told: str = "") -> str:
    done = subprocess.run(["git", f"--git-dir={repository.bare}", *arguments], input=told, text=True,
                          capture_output=True, check=False, env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull})
    if done.returncode != 0:
        raise GitError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def write_settings(folder: Path, repository: Repository, database: Database) -> Path:
    """A settings file for the command line; its staging, made here, is another database of the same server."""
    secret = folder / "password"
    secret.touch(mode=0o600)
    secret.write_text(application.password_of(application.PATCHER))
    database.server.admin_sql(sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
        sql.Identifier(STAGING), sql.Identifier(application.PATCHER), sql.Identifier(NAME)))
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump({
        "repository": {"url": repository.url, "branch": BRANCH}, "patches": {"directory": FOLDER},
        "environments": {
            "staging": {"database": database.target.with_database(STAGING).dsn, "password_file": str(secret),
                        "gate": "refuse"},
            "production": {"database": database.target.dsn, "password_file": str(secret), "gate": "refuse"}}}))
    return path

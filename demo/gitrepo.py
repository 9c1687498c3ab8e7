"""A bare git repository with the branch `devel`, as the demo's developers push to it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

BRANCH = "devel"
HOOK_SECONDS = 10  # a push waits no longer for the buildmaster to answer

# Reads what was pushed ("old new ref" a line) as git gives it; a hook that fails does not undo the push.
HOOK = """\
#!{python}
import sys, urllib.parse, urllib.request

for line in sys.stdin:
    old, new, ref = line.split()
    fields = {{"old": old, "new": new, "ref": ref}}
    try:
        urllib.request.urlopen({url!r}, urllib.parse.urlencode(fields).encode(), timeout={seconds}).close()
    except OSError as error:
        print("the buildmaster at {url} was not told:", error, file=sys.stderr)
"""


class GitError(RuntimeError):
    """A git command failed; the message has the command and what git said."""


class Repository:
    """A bare repository, and a clone of it from which commits are pushed."""

    def __init__(self, folder: Path) -> None:
        self.bare = folder / "app.git"
        self._clone = folder / "clone"

    @classmethod
    def create(cls, folder: Path) -> Self:
        """An empty repository in a folder that must not exist yet. Raises GitError, FileExistsError."""
        folder.mkdir(parents=True)
        repository = cls(folder)
        _git(folder, "init", "--quiet", "--bare", f"--initial-branch={BRANCH}", str(repository.bare))
        _git(folder, "clone", "--quiet", str(repository.bare), str(repository._clone))
        _git(repository._clone, "symbolic-ref", "HEAD", f"refs/heads/{BRANCH}")
        return repository

    @property
    def url(self) -> str:
        return self.bare.absolute().as_uri()

    def land(self, files: Mapping[str, str | bytes | None], message: str, author: str = "developer") -> str:
        """Write the files, commit them on `devel` in somebody's name and push; the commit's id. Raises GitError.

        A file without content (None) is removed.
        """
        for path, content in files.items():
            place = self._clone / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                place.unlink()
            else:
                place.write_bytes(content.encode() if isinstance(content, str) else content)
        _git(self._clone, "add", "--all", *files)
        _git(self._clone, "commit", "--quiet", "--message", message, author=author)
        _git(self._clone, "push", "--quiet", "origin", BRANCH)
        return _git(self._clone, "rev-parse", "HEAD")

    def revert(self, commit: str, author: str = "developer") -> str:
        """Land the opposite of a commit; the new commit's id. Raises GitError."""
        _git(self._clone, "revert", "--no-edit", commit, author=author)
        _git(self._clone, "push", "--quiet", "origin", BRANCH)
        return _git(self._clone, "rev-parse", "HEAD")

    def tell(self, url: str) -> None:
        """From now on post `old`, `new` and `ref` of each push to a URL."""
        hook = self.bare / "hooks" / "post-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(HOOK.format(python=sys.executable, url=url, seconds=HOOK_SECONDS))
        hook.chmod(0o755)


def _git(folder: Path, *arguments: str, author: str = "developer") -> str:
    """Run git untouched by the settings of whoever runs us; its output without the last newline."""
    identity = {f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER")
                for part, value in (("NAME", author), ("EMAIL", f"{author}@example.org"))}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False, env={
        **kept, **identity, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"})
    if done.returncode != 0:
        raise GitError(f"git {shlex.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()

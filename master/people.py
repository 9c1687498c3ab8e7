"""The users file: who may sign in with a password. Roles are given in the settings, under `people`.

    python -m master.people add NAME --email E     asks for the password, or reads it from standard input
    python -m master.people remove NAME
    python -m master.people list

One line per user, `name:e-mail:scrypt$N$r$p$salt$hash`, mode 600. The file is replaced as a whole, so a reader sees
the old users or the new ones; the buildmaster notices the change by itself.
"""

from __future__ import annotations

import argparse
import fcntl
import getpass
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from downtime.errors import ExitStatus, SettingsError
from master.passwords import NOBODY, PasswordHash

ONLY_OWNER = 0o600
FORBIDDEN = re.compile(r"[:\x00-\x1f\x7f-\x9f\u2028\u2029]")  # the separator, control characters, line ends


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """One line of the users file."""

    name: str
    email: str   # may be empty
    password: PasswordHash = field(repr=False)

    @property
    def line(self) -> str:
        return f"{self.name}:{self.email}:{self.password}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """The users of one file, by name, as they were when it was read."""

    by_name: Mapping[str, User]
    warnings: tuple[str, ...] = ()

    def check(self, name: str, password: str) -> bool:
        """Whether this is the user's password. Takes as long for a name that does not exist (about 50 ms)."""
        user = self.by_name.get(name)
        matches = (user.password if user else NOBODY).matches(password)
        return matches and user is not None

    def email_of(self, name: str) -> str:
        """The user's e-mail address, or an empty string."""
        user = self.by_name.get(name)
        return user.email if user else ""


def read_users(path: Path) -> Users:
    """The users of this file. Raises SettingsError, which names every line that cannot be read."""
    try:
        mode = path.stat().st_mode
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise SettingsError(str(path), ["there is no such users file; python -m master.people add NAME --file "
                                        f"{path} makes it."]) from None
    except UnicodeDecodeError:
        raise SettingsError(str(path), ["not UTF-8 text; save the file as UTF-8."]) from None
    except OSError as error:
        raise SettingsError(str(path), [f"cannot be read: {error.strerror}."]) from None
    return Users(by_name=_parse(lines, path), warnings=(
        (f"{path}: open to other users of this machine; chmod 600 {path}.",) if mode & 0o077 else ()))


def add_user(path: Path, name: str, email: str, password: str) -> None:
    """Let this user sign in; one of the same name is replaced. Raises SettingsError with every objection."""
    objections = list(_objections(name, email, password))
    if objections:
        raise SettingsError(f"user {name!r}", objections)
    user = User(name=name, email=email, password=PasswordHash.of(password))
    with _changing(path):
        users = read_users(path).by_name if path.exists() else {}
        _replace(path, {**users, name: user})


def remove_user(path: Path, name: str) -> None:
    """Let this user sign in no more. Raises SettingsError where there is none of this name."""
    with _changing(path):
        users = dict(read_users(path).by_name)
        if users.pop(name, None) is None:
            raise SettingsError(str(path), [f"no user {name!r}; python -m master.people list shows them."])
        _replace(path, users)


def _parse(lines: Sequence[str], path: Path) -> dict[str, User]:
    users: dict[str, User] = {}
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            name, email, password = line.split(":")
            user = User(name=name, email=email, password=PasswordHash.parse(password))
        except ValueError:
            problems.append(f"line {number}: not name:e-mail:hash; remove it and add the user again.")
            continue
        if name in users:
            problems.append(f"line {number}: {name} is there twice; keep one.")
        users[name] = user
    if problems:
        raise SettingsError(str(path), problems)
    return users


def _objections(name: str, email: str, password: str) -> Iterator[str]:
    if not name or name != name.strip() or FORBIDDEN.search(name):
        yield "the name should not be empty, begin or end with a space, or have a colon or control characters in it."
    if FORBIDDEN.search(email) or (email and not re.fullmatch(r"[^@\s]+@[^@\s]+", email)):
        yield "the e-mail address should look like name@example.org, without a colon."
    if not password or FORBIDDEN.sub(":", password) != password:
        yield "the password should not be empty or have control characters in it."


@contextmanager
def _changing(path: Path) -> Iterator[None]:
    """One change at a time, so that of two users added at once none is lost."""
    folder = os.open(path.resolve().parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)  # and with it the lock


def _replace(path: Path, users: Mapping[str, User]) -> None:
    path = path.resolve()  # a link stays one
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.writelines(f"{user.line}\n" for user in users.values())
            file.flush()
            os.fchmod(file.fileno(), ONLY_OWNER)
            if path.exists() and os.geteuid() == 0:
                os.fchown(file.fileno(), path.stat().st_uid, path.stat().st_gid)  # the buildmaster reads it, not root
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _ask_password(name: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass(f"Password of {name}: ")
    if getpass.getpass("Once more: ") != password:
        raise SettingsError(f"user {name!r}", ["the two passwords differ; try again."])
    return password


def _add(arguments: argparse.Namespace) -> str:
    add_user(arguments.file, arguments.name, arguments.email, _ask_password(arguments.name))
    return f"{arguments.name} can sign in; roles are given in the settings, under people."


def _remove(arguments: argparse.Namespace) -> str:
    remove_user(arguments.file, arguments.name)
    return (f"{arguments.name} cannot sign in any more. Who is signed in stays so until the session ends: to take "
            "the roles at once, remove the name from people in the settings and reconfigure the buildmaster.")


def _list(arguments: argparse.Namespace) -> str:
    users = read_users(arguments.file)
    for warning in users.warnings:
        print(warning, file=sys.stderr)
    return "\n".join(f"{user.name}\t{user.email}".rstrip() for user in users.by_name.values())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m master.people", description="Who may sign in with a password.")
    commands = parser.add_subparsers(required=True, metavar="add|remove|list")

    def command(name: str, text: str, run: Callable[[argparse.Namespace], str]) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.add_argument("--file", type=Path, default=Path("users"),
                           help="the users file, as in buildmaster.auth.users_file of the settings (default: users)")
        added.set_defaults(run=run)
        return added

    add = command("add", "let a user sign in, or give a new password or address", _add)
    add.add_argument("name")
    add.add_argument("--email", default="")
    command("remove", "let a user sign in no more", _remove).add_argument("name")
    command("list", "show names and e-mail addresses", _list)
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0 when done and 2 when something given is wrong."""
    arguments = _parser().parse_args(words)
    try:
        print(arguments.run(arguments))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return ExitStatus.USAGE
    except OSError as error:
        print(f"{arguments.file}: cannot be changed: {error.strerror}", file=sys.stderr)
        return ExitStatus.USAGE
    return ExitStatus.DONE


if __name__ == "__main__":
    sys.exit(main())

"""Run one git command without blocking the reactor, and end it at a deadline whatever it waits for.

Everybody on a machine may read command lines, and nobody else our environment: a password goes there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from twisted.internet import error as twisted_errors
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.protocol import ProcessProtocol

from downtime import errors

GRACE_SECONDS = 2.0  # between asking git to end, so that it removes its lock files, and killing it

# What a hook's environment would point git at instead of the repository it is told.
OF_ANOTHER_REPOSITORY = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_NAMESPACE",
                         "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH"}

OURS = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}  # nobody can answer; messages are recognised by their words

# Answers git's question for a login out of the environment; what there is to store or to erase is none of its business.
HELPER = ('!f() { test "$1" = get && printf \'username=%s\\npassword=%s\\n\''
          ' "$FASTDOWNTIME_GIT_USERNAME" "$FASTDOWNTIME_GIT_PASSWORD"; }; f')


class RepositoryError(errors.DowntimeError):
    """The repository cannot be read as the settings or the command line name it."""

    happened = "{repository}: {reason}"
    next_step = "{remedy}"
    exit_status = errors.ExitStatus.USAGE

    def __init__(self, *, repository: str, reason: str, remedy: str) -> None:
        super().__init__(repository=repository, reason=reason, remedy=remedy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a repository is, and apart from that what to sign in with."""

    url: str                                  # without a password: fit for a command line
    options: tuple[str, ...] = ()             # for git, before its command
    login: Mapping[str, str] = field(default_factory=dict, repr=False)  # for the environment of git


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a git command ended."""

    status: int      # 0 is well; negative: killed by that signal
    output: bytes
    complaint: str   # what it wrote to standard error


def address(url: str) -> Address:
    """The URL of a repository with its password taken out of it, where it has one."""
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        return Address(url=url)  # git will say what is wrong with it
    if password is None:
        return Address(url=url)
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme not in ("http", "https"):  # ssh would look for a user of that name, password and all
        return Address(url=urlunsplit(parts._replace(netloc=f"{parts.username}@{host}")))
    # for this host only: where it sends us on to another one, that one does not get it
    helper = f"credential.{parts.scheme}://{host}.helper"
    return Address(
        url=urlunsplit(parts._replace(netloc=host)),
        options=("-c", f"{helper}=", "-c", f"{helper}={HELPER}"),  # empty: no helper of the user's is told the password
        login={"FASTDOWNTIME_GIT_USERNAME": unquote(parts.username or ""),
               "FASTDOWNTIME_GIT_PASSWORD": unquote(password)})


async def run(arguments: Sequence[str], *, repository: str, deadline_seconds: float, stdin: bytes = b"",
              login: Mapping[str, str] | None = None, reactor: Any = None) -> Finished:
    """Run `git ARGUMENTS` to its end. `repository` is what messages call the place, `login` an `Address.login`.

    Raises RepositoryError where there is no git or the deadline passed; how git ended is for the caller to judge.
    """
    if reactor is None:
        from twisted.internet import reactor
    program = shutil.which("git")
    if program is None:
        raise RepositoryError(repository=repository, reason="git is not installed, or not on PATH",
                              remedy="install git for the user that runs this")
    process = _Process(stdin)
    reactor.spawnProcess(process, program, ["git", *arguments], env=environment(os.environ, login))
    try:
        return await process.finished.addTimeout(deadline_seconds, reactor)
    except TimeoutError as error:
        raise RepositoryError(
            repository=repository, reason=f"git {_command(arguments)} was not done within {deadline_seconds:g} s",
            remedy="check the way to the repository and its size, then run it again") from error
    finally:
        await process.end(reactor)


def environment(given: Mapping[str, str], login: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our own environment as git may see it, with what it signs in with."""
    kept = {name: value for name, value in given.items() if name not in OF_ANOTHER_REPOSITORY}
    return {**kept, **OURS, **(login or {})}


class _Process(ProcessProtocol):
    """Collects what one process writes; `finished` fires when it has exited and all its pipes are closed."""

    transport: Any

    def __init__(self, stdin: bytes) -> None:
        self.finished: Deferred[Finished] = Deferred()
        self._ended: Deferred[None] = Deferred()
        self._stdin = stdin
        self._output: list[bytes] = []
        self._complaint: list[bytes] = []

    def connectionMade(self) -> None:
        self.transport.write(self._stdin)
        self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        self._output.append(data)

    def errReceived(self, data: bytes) -> None:
        self._complaint.append(data)

    def processEnded(self, reason: Any) -> None:
        if not self.finished.called:
            status = reason.value.exitCode
            self.finished.callback(Finished(
                status=-reason.value.signal if status is None else status, output=b"".join(self._output),
                complaint=b"".join(self._complaint).decode("utf-8", "replace").strip()))
        self._ended.callback(None)

    async def end(self, reactor: Any) -> None:
        """Make sure that the process is gone and its pipes are closed, also those that its children hold."""
        if self._ended.called:
            return
        self._signal("TERM")
        self.transport.loseConnection()
        killer = reactor.callLater(GRACE_SECONDS, self._signal, "KILL")
        with suppress(TimeoutError):  # not even KILL ends one that waits for a dead disk
            await self._ended.addTimeout(2 * GRACE_SECONDS, reactor)
        if killer.active():
            killer.cancel()

    def _signal(self, name: str) -> None:
        with suppress(twisted_errors.ProcessExitedAlready):
            self.transport.signalProcess(name)


def _command(arguments: Sequence[str]) -> str:
    """The command's name among its arguments, without paths and URLs."""
    return next((word for word in arguments if word.replace("-", "").isalpha() and not word.startswith("-")), "")

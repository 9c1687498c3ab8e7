"""What a command works with: the settings, the repository and the databases; and asking before it acts."""

from __future__ import annotations

import getpass
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from downtime import deployment_lock, deployments, errors, ledger
from downtime.commands.interruption import Interruption
from downtime.commands.output import Output
from downtime.node import Node
from downtime.patches import Inventory
from downtime.printable import printable
from downtime.repository import Repository
from downtime.settings import Environment, Settings

REPOSITORY_COPY = ".repository.git"  # beside the settings file


class NotConfirmed(errors.Refused):
    """Nobody has agreed to what would be done."""

    happened = "not confirmed: {reason}"
    next_step = "answer y, or give --yes where nobody can be asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One run of the command line."""

    settings: Settings
    environment_name: str | None  # None: the command's default
    output: Output
    interruption: Interruption
    reactor: Any

    def environment(self, default: str = "production") -> Environment:
        """The environment that was named, or the default."""
        return self.settings.environment(self.environment_name or default)

    async def commit(self, revision: str | None = None) -> str:
        """Fetch the repository and return a commit: of a revision, or the tip of the branch. Raises RepositoryError."""
        repository = self._repository
        tip = await repository.fetch()
        return tip if revision is None else await repository.resolve(revision)

    async def inventory(self, commit: str) -> Inventory:
        """The patches of a fetched commit. Raises RepositoryError."""
        return await deployments.inventory_at(self._repository, self.settings, commit)

    @asynccontextmanager
    async def session(self, environment: Environment, purpose: str) -> AsyncIterator[Node]:
        """A session on the environment's database for the block. Raises NodeError or DeploymentUnderWay."""
        node = await deployment_lock.session(environment.target, application_name=f"fastdowntime {purpose}",
                                             reactor=self.reactor)
        try:
            yield node
        finally:
            node.close()

    async def entries(self, environment: Environment) -> tuple[ledger.Entry, ...]:
        """What the environment has. Raises NotInstalled, DeploymentUnderWay or NodeError."""
        async with self.session(environment, "ledger") as node:
            return await ledger.read(node)

    async def entries_if_reachable(self, environment: Environment, without: str) -> tuple[ledger.Entry, ...] | None:
        """The same for an answer that can do without it; None, and a line that says so, where it cannot be read."""
        try:
            return await self.entries(environment)
        except (errors.NodeError, deployment_lock.DeploymentUnderWay, ledger.NotInstalled) as error:
            self.output.progress(f"the ledger of {environment.name} could not be read ({error}): {without}")
            return None

    def confirm(self, question: str, *, agreed: bool) -> None:
        """Ask at the terminal unless `agreed` beforehand. Raises NotConfirmed.

        Blocks the reactor: to be called while no transaction is open.
        """
        if agreed:
            return
        if sys.stdin is None or not sys.stdin.isatty():
            raise NotConfirmed(reason=f"{question} Standard input is no terminal, so nobody can be asked")
        if _ask(f"{printable(question)} [y/N] ").strip().lower() not in ("y", "yes"):
            raise NotConfirmed(reason="the answer was not y")

    @property
    def _repository(self) -> Repository:
        source = self.settings.repository
        return Repository(source.url, source.branch, self.settings.folder / REPOSITORY_COPY, reactor=self.reactor)


def whoever_asks() -> str:
    """The user of this machine who runs the command, for the ledger."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"  # in a container without a user list


def _ask(question: str) -> str:
    # a handler of the reactor's would run only after the answer
    before = {number: signal.signal(number, handler) for number, handler in (
        (signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL))}
    try:
        sys.stderr.write(question)
        sys.stderr.flush()
        return sys.stdin.readline()
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return ""
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

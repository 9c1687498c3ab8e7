"""What the settings and the repository mean for one deployment; shared by the steps and the command line."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.threads import deferToThread

from downtime import errors, ledger, patches, statements
from downtime.apply import Deployment
from downtime.patches import Inventory, Patch
from downtime.plan import plan
from downtime.ready import Objections, Rules
from downtime.repository import Repository
from downtime.settings import Environment, Settings


class UnknownPatch(errors.Refused):
    """No patch of that name is in the repository."""

    happened = "{name} is no patch of commit {commit}: nothing below {directory} that matches {pattern} has that name"
    next_step = "python -m downtime plan lists what there is"


async def inventory_at(repository: Repository, settings: Settings, commit: str) -> Inventory:
    """The patches of one commit, read from git. Raises RepositoryError."""
    files = await repository.files(commit, settings.patches.directory)
    return await deferToThread(patches.inventory, files, settings.patches, not_schema=settings.landing.not_schema,
                               commit=commit)


def outage_rules(settings: Settings, environment: Environment) -> Rules:
    """How outages of this environment go, as the settings have it."""
    return Rules(
        gate=environment.gate, kick=environment.kick, drain_seconds=environment.drain_seconds,
        fragile=frozenset(settings.users.fragile), spared=frozenset(settings.users.spared),
        limit_seconds=settings.budget.outage_limit_seconds,
        long_transaction_seconds=environment.long_transaction_seconds,
        poolers=environment.poolers, replicas=environment.replicas)


def find(inventory: Inventory, name: str, settings: Settings, commit: str) -> Patch:
    """The patch of that id, file name or path. Raises UnknownPatch."""
    patch = inventory.find(name)
    if patch is None:
        raise UnknownPatch(name=name, commit=commit[:12], directory=settings.patches.directory,
                           pattern=settings.patches.pattern)
    return patch


async def deployment(patch: Patch, origin: ledger.Origin) -> Deployment:
    """The patch, examined and ready to be applied. Raises Refused with everything that is wrong with it."""
    # a file of some megabytes takes the parser seconds, in which an outage may be running in this reactor
    examined = await deferToThread(statements.examine, patch)
    return Deployment(patch=patch, statements=examined, origin=origin)


def objections(inventory: Inventory, patch: Patch) -> Objections:
    """What a database's ledger says against this patch now: applied already, out of order, drift."""
    def look(entries: Sequence[ledger.Entry]) -> Sequence[str]:
        return plan(inventory, entries).objections_to(patch)
    return look

"""What several tests build: deployments from a text of SQL, and waiting for a state instead of for a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from twisted.internet import reactor, task

from downtime import ledger, patches, statements
from downtime.apply import Deployment
from downtime.node import Node, connect
from downtime.patches import Lane, Patch
from downtime.target import Target

PATIENCE_SECONDS = 10.0  # what should happen at once may take so long on a busy machine


def a_patch(*, sql: str, patch_id: str = "patch-1", lane: Lane = Lane.COLD) -> Patch:
    return Patch(id=patch_id, path=f"db/{patch_id}.sql", number=patches.number_of(patch_id), lane=lane, declared=True,
                 sha256=hashlib.sha256(sql.encode()).hexdigest(), sql=sql, commit="c" * 40)


def a_deployment(*, sql: str = "CREATE TABLE added (id int);", patch_id: str = "patch-1", lane: Lane = Lane.COLD,
                 origin: ledger.Origin | None = None) -> Deployment:
    patch = a_patch(sql=sql, patch_id=patch_id, lane=lane)
    return Deployment(patch=patch, statements=statements.examine(patch), origin=origin or ledger.Origin())


def no_objections(entries: Sequence[ledger.Entry]) -> Sequence[str]:
    return ()


async def a_node(target: Target, **keywords: Any) -> Node:
    return await connect(target, application_name="test", **keywords)


async def pause(seconds: float = 0.01) -> None:
    """Let the reactor, and servers beside it, go on; never long enough to prove anything by itself."""
    await task.deferLater(reactor, seconds, lambda: None)


async def until(happened: Callable[[], Any], what: str, *, seconds: float = PATIENCE_SECONDS) -> None:
    """Look again and again until it has happened; fails the test when patience ends."""
    deadline = monotonic() + seconds
    while not happened():
        assert monotonic() < deadline, f"{what}: not within {seconds:g} s"
        await pause()

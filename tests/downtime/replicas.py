"""What tests of standbys have in common: the sessions of an outage beside them, and readers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

import psycopg2.extensions
from twisted.internet import reactor

from demo.servers import Server
from downtime.apply import Deployment, apply_cold
from downtime.gate import Hold
from downtime.node import Node
from downtime.replicas import Replicas
from downtime.sessions import Rules
from tests.builders import a_node
from tests.standbys import Replicated

RULES = Rules(fragile=frozenset({"process_upload"}), spared=frozenset({"postgres"}))
KICK_SECONDS = 10.0


class _CalledOff(Exception):
    """Ends a transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """The sessions of one outage: its patcher, its control, and the standbys that were found fit."""

    replicas: Replicas
    patcher: Node
    control: Node
    found: tuple[str, ...]

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """In the patch's transaction, with the gate closed; COMMIT at its end."""
        gate = Hold(reactor)
        await gate.arm(self.patcher)
        async with self.patcher.transaction():
            await gate.prevent()
            await self.replicas.gate_closed(self.control)
            yield

    @asynccontextmanager
    async def called_off(self) -> AsyncIterator[None]:
        """The same with a ROLLBACK at its end."""
        with suppress(_CalledOff):
            async with self.closed():
                yield
                raise _CalledOff

    async def kick(self, *, kick_all: bool = True) -> None:
        await self.replicas.kick(kick_all=kick_all, deadline=monotonic() + KICK_SECONDS)

    async def apply(self, deployment: Deployment) -> None:
        await apply_cold(self.patcher, deployment, before_each=lambda: None, progress=lambda _: None)


@asynccontextmanager
async def beside(replicated: Replicated, **settings: Any) -> AsyncIterator[Beside]:
    """Prepared, and given back at the end."""
    replicas = Replicas(replicated.settings(**settings), replicated.database.target, reactor)
    patcher, control = await a_node(replicated.database.target), await a_node(replicated.database.target)
    try:
        yield Beside(replicas=replicas, patcher=patcher, control=control,
                     found=await replicas.prepare(control, RULES))
    finally:
        for node in (patcher, control):
            node.close()
        await replicas.close()


@contextmanager
def reading(replicated: Replicated, standby: Server, statement: str = "SELECT count(*) FROM account", *,
            user: str = "app") -> Iterator[psycopg2.extensions.connection]:
    """A session on a standby that stays in the transaction it has read in."""
    with closing(replicated.reader(standby, user)) as connection:
        with connection.cursor() as cursor:
            cursor.execute(statement)
        yield connection


def has_patch(replicated: Replicated, server: Server) -> tuple[bool, bool]:
    """Whether the table of the patch is there, and its ledger row."""
    ((table, row),) = replicated.ask(
        server, "SELECT to_regclass('added') IS NOT NULL,"
                " EXISTS (SELECT FROM fastdowntime.ledger WHERE id = 'patch-1')")
    return table, row


def is_paused(replicated: Replicated, standby: Server) -> bool:
    ((paused,),) = replicated.ask(standby, "SELECT pg_is_in_recovery() AND pg_is_wal_replay_paused()")
    return bool(paused)


def replicate_as(replicated: Replicated, *listed: Server) -> Replicated:
    """The same database with other servers listed as its standbys."""
    return Replicated(database=replicated.database, standbys=listed)  # type: ignore[arg-type]

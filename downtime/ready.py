"""Everything an outage needs, open and checked before it begins, so that most refusals cost no outage.

Three kinds of session: the *patcher* will run the transaction and holds the deployment lock; the *control* session
lists, kicks and cancels; the gate may have its own. `make_ready` gives them all or raises and leaves none open.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from downtime import deployment_lock, errors, fence, gate, held, ledger, preflight, sessions
from downtime.cluster import Cluster
from downtime.kicking import KICK_SESSIONS
from downtime.node import Node, connect
from downtime.parameters import milliseconds
from downtime.settings.cluster import Pooler, Replicas
from downtime.target import Target

PATCH_LOCK_SECONDS = 2.0  # a cold patch waits for nobody but what could not be kicked; autovacuum gives way in 1 s
IDLE_SECONDS = 3.0        # the server ends a patcher that says nothing for so long inside its transaction

# What control asks while the gate is closed, planned before it is, and the types of its parameters.
PLANNED = (sessions.SELECT_SESSIONS, KICK_SESSIONS)
PARAMETER_TYPES = {
    "query_characters": "int", "ours": "int[]", "spared": "text[]", "fragile": "text[]", "superusers": "text[]",
    "signalled": "int[]", "only_in_transaction": "bool", "not_yet": "text[]",
}

Objections = Callable[[Sequence[ledger.Entry]], Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the settings say about outages of one database; durations in seconds."""

    gate: str = "hold"                  # hold | refuse
    kick: str = "all"                   # all | transactions
    fragile: frozenset[str] = frozenset()
    spared: frozenset[str] = frozenset()
    drain_seconds: float = 0.0
    limit_seconds: float = 60.0
    long_transaction_seconds: float = 60.0
    prove_gate: bool = False            # try to get in while the gate is closed; costs the outage 0.3 s
    measure: bool = False               # take each statement's footprint; rehearsals only
    keep: bool = True                   # False: a rehearsal that rolls everything back at its end
    poolers: tuple[Pooler, ...] = ()    # paused while the database is closed
    replicas: Replicas = field(default_factory=Replicas)  # closed, cleared and waited for with it


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """An outage that may begin: its sessions, its gate, and what was found."""

    target: Target
    patcher: Node
    patching: fence.Backend  # the patcher's, for when that is lost
    control: Node
    gate: gate.Gate
    cluster: Cluster
    session_rules: sessions.Rules
    found: tuple[str, ...]   # for a log

    async def fence(self) -> None:
        """End the patching session and wait until it is gone: nobody may open while it can commit. Raises NodeError.

        Among them SurvivingBackends, which another attempt does not cure.
        """
        try:
            await fence.end(self.patching, seen_from=self.control)
            return
        except fence.SurvivingBackends:
            raise
        except errors.NodeError:
            self.control.close()  # lost as well, or not answering
        # gate "refuse" does not close the maintenance database; gate "hold" does until the server has rolled back
        node = await connect(self.target.with_database(gate.MAINTENANCE_DATABASE), reactor=self.patcher.reactor,
                             application_name="fastdowntime fence", connect_seconds=fence.ANSWER_SECONDS)
        try:
            await fence.end(self.patching, seen_from=node)
        finally:
            node.close()

    async def close(self) -> None:
        """Give back sessions and lock. Raises NodeError where the gate could not be disarmed."""
        await self.cluster.close()
        try:
            await self.gate.disarm()
        finally:
            self.patcher.close()
            self.control.close()


async def make_ready(target: Target, patch_id: str, rules: Rules, objections: Objections, reactor: Any) -> Ready:
    """Open every session, take the deployment lock, and look for reasons not to begin.

    `objections` says from the ledger what speaks against the patch (order, drift). Raises Refused, with nothing
    closed and nobody kicked, or NodeError.
    """
    name = f"fastdowntime {socket.gethostname()} {os.getpid()} {patch_id}"
    patcher = await deployment_lock.session(
        target, application_name=name, statement_timeout_seconds=rules.limit_seconds, reactor=reactor, settings={
            "lock_timeout": milliseconds(PATCH_LOCK_SECONDS),
            "idle_in_transaction_session_timeout": milliseconds(IDLE_SECONDS)})
    control: Node | None = None
    the_gate: gate.Gate = (gate.Hold(reactor) if rules.gate == "hold"
                           else gate.Refuse(target, reactor, limit_seconds=rules.limit_seconds))
    cluster = Cluster(target, poolers=rules.poolers, replicas=rules.replicas, reactor=reactor)
    try:
        control = await connect(target, application_name=f"{name} control", reactor=reactor)
        await deployment_lock.take(patcher)
        await _warm_up(control)
        if left := await held.read(control):  # the lock is ours, so whoever holds it is dead
            raise held.LeftBehind(left)
        patching = await seen_from(control, patcher)
        seen = await preflight.observe(control)
        session_rules = sessions.Rules(fragile=rules.fragile, spared=rules.spared, superusers=seen.unkickable_users,
                                       ours=frozenset({patcher.pid, control.pid}))
        found = await _look(control, seen, session_rules, rules, objections, patch_id)
        found += await cluster.prepare(control, session_rules, kick_all=rules.kick == "all")
        await the_gate.arm(patcher)
        watching = await cluster.arm(patching, gate=rules.gate, limit_seconds=rules.limit_seconds)
        session_rules = replace(session_rules, ours=session_rules.ours | watching)
    except BaseException:
        await cluster.close()
        try:
            await the_gate.disarm()
        finally:
            for node in (patcher, control):
                if node is not None:
                    node.close()
        raise
    return Ready(target=target, patcher=patcher, patching=patching, control=control, gate=the_gate, cluster=cluster,
                 session_rules=session_rules, found=found)


async def _warm_up(control: Node) -> None:
    """What a session does for the first time takes longer; it ends and closes nothing. Raises NodeError."""
    for statement in PLANNED:
        await control.prepare(statement, PARAMETER_TYPES)
    await control.execute("SELECT count(*) FROM pg_catalog.pg_locks")  # 0.5 ms of the kick's first look


async def seen_from(control: Node, patcher: Node) -> fence.Backend:
    """The patcher's backend. Raises CannotConnect where control is on another server than it."""
    patching = await fence.backend_of(patcher)
    if not (await control.execute("SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_get_activity(%s)"
                                  " WHERE backend_start = %s) AS seen", (patching.pid, patching.started_at))).scalar:
        raise errors.CannotConnect(node=control.label, reason="two connections have reached two different servers")
    return patching


async def _look(control: Node, seen: preflight.Observation, session_rules: sessions.Rules, rules: Rules,
                objections: Objections, patch_id: str) -> tuple[str, ...]:
    """Reasons not to begin, raised all at once; else what was found."""
    if reasons := preflight.judge_server(seen, gate=rules.gate):
        raise preflight.PreflightRefused(reasons)  # without its rights nothing below can be seen rightly
    reasons = list(objections(await ledger.read(control)))
    if finished := await ledger.half_way(control, patch_id):
        done = "1 statement" if finished == 1 else f"{finished} statements"
        reasons.append(f"{done} of {patch_id} {'was' if finished == 1 else 'were'} applied live by an earlier run and"
                       " would be applied again: finish it live, or take back by hand what was applied and DELETE its"
                       " rows from fastdowntime.live_journal as its owner")
    connected = await sessions.list_all(control, session_rules)
    verdict = sessions.judge(connected, session_rules)
    reasons += preflight.judge_traffic(seen, verdict, kick_all=rules.kick == "all",
                                       long_transaction_seconds=rules.long_transaction_seconds)
    if reasons:
        raise preflight.PreflightRefused(reasons, fragile=sessions.users(verdict.fragile))
    return (f"role {seen.role} on {control.label}, server version {seen.server_version}",
            f"{len(connected)} client sessions, {sum(s.in_transaction for s in connected)} of them in a transaction",
            "no fragile user is in a transaction, no transaction is prepared, the deployment lock is ours",
            *await preflight.warnings(control, session_rules))

"""A hostile database: rows about clients, administrators and servers that stand in the way of a deployment.

What may be kicked is, and the patch goes in. What may not is named, and the deployment is refused in moments: it never
waits for somebody while the application waits for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import psycopg2

from demo import application
from demo.faults import administrators, autovacuum, crowds
from demo.faults.circumstances import decided, deploy, refused, said, server
from demo.faults.moments import Moment, reach
from demo.faults.rows import Finding, Row, expect_whole
from demo.faults.world import World

MAX_CONNECTIONS = 20


def sees_nobody(world: World) -> Finding:
    world.production.admin_sql(f"REVOKE pg_monitor FROM {application.PATCHER}")
    try:
        return refused(world, deploy(world), f"role {application.PATCHER} does not see other sessions (pg_monitor)",
                       "python -m downtime install", untouched=True)
    finally:
        world.production.admin_sql(f"GRANT pg_monitor TO {application.PATCHER}")


def crowded_as_somebody_approves(world: World) -> Finding:
    """The approval cannot be judged and does not count; the deployment goes on waiting for one that does."""
    with server(world, restart=True, max_connections=str(MAX_CONNECTIONS)):
        build = world.ask()
        clients = _take_every_slot(world)
        decision = decided(world, build)
        finding = Finding(said=said(world, decision))
        finding.expect(decision.outcome == "failure", f"the approval should not count:\n{world.story_of(decision)}")
        finding.expect("remaining connection slots" in world.story_of(decision), "the approver is not told why")
        finding.expect(not world.as_("operator").build(build).complete, "the deployment should go on waiting")
        for client in clients:
            client.close()
        decided(world, build)
        finding.expect(world.ended(build).good, f"the second approval should count:\n{world.story_of(build)}")
    expect_whole(finding, world, applied=True)
    return finding


def no_slot(world: World) -> Finding:
    return _crowded(world, slots=0)


def one_slot(world: World) -> Finding:
    return _crowded(world, slots=1)


def _crowded(world: World, *, slots: int) -> Finding:
    """Every connection that the server has is taken but so many when the deployment opens its own."""
    with server(world, restart=True, max_connections=str(MAX_CONNECTIONS)):
        build = reach(world, Moment.QUIESCED)
        clients = _take_every_slot(world)
        for client in clients[:slots]:
            client.close()
        world.hold_quiescing.unlink()
        return refused(world, world.ended(build), "cannot connect to", "remaining connection slots", untouched=True)


def _take_every_slot(world: World) -> Sequence[Any]:
    clients: list[Any] = []
    with contextlib.suppress(psycopg2.OperationalError):
        while len(clients) < MAX_CONNECTIONS:
            clients.append(world.connect())
    return clients


def _row(fault: str, moment: str, must_hold: str, play: Callable[[World], Finding],
         limit_seconds: float | None = None) -> Row:
    return Row(fault=fault, moment=moment, must_hold=must_hold, limit_seconds=limit_seconds, play=play,
               in_question="A hostile database")


APPLIED = "applied, nobody connected while the patch ran"
UNTOUCHED = "refused before anything is closed, and named"
REOPENED = "rolled back and reopened, and named"

# limits count from the closed gate and include 0.5 s of the patch where it is applied
DATABASE_ROWS = (
    _row("50 clients that reconnect in a tight loop", "", APPLIED, crowds.reconnecting, 2.0),
    _row("clients in their start-up transaction", "as the gate closes", APPLIED, crowds.arriving, 6.0),
    _row("a fragile user flaps in and out of transactions", "", "none of its acknowledged statements is lost",
         crowds.fragile_flapping),
    _row("a session does not die", "mid-kick", "aborted and reopened at the limit of the outage", crowds.does_not_die,
         crowds.FROZEN_LIMIT_SECONDS + 0.5),
    _row("a superuser's open transaction on the patched table", "kick: all", UNTOUCHED,
         administrators.superuser_before),
    _row("a superuser's open transaction on the patched table", "kick: transactions", REOPENED,
         administrators.superuser_where_idle_ones_stay, 3.0),
    _row("a superuser's open transaction on the patched table", "spared", REOPENED, administrators.superuser_spared,
         3.0),
    _row("a deadlock with a spared session", "", REOPENED, administrators.deadlock, 3.0),
    _row("a prepared transaction", "", UNTOUCHED, administrators.prepared_transaction),
    _row("an open transaction has read pg_roles", "", "hold: refused and named; refuse: kicked, applied",
         administrators.has_read_roles, 2.0),
    _row("pg_dump in the middle of a table", "", "hold: refused and named; refuse: kicked, applied",
         administrators.dump, 2.0),
    _row("autovacuum on the patched table", "", "cancelled, applied", autovacuum.ordinary, 2.0),
    _row("autovacuum against wraparound on the patched table", "", REOPENED, autovacuum.against_wraparound, 3.0),
    _row("the patching role has lost pg_monitor", "", UNTOUCHED, sees_nobody),
    _row("max_connections reached", "as somebody approves", "the approval does not count, the deployment waits on",
         crowded_as_somebody_approves),
    _row("max_connections reached", "no slot left", UNTOUCHED, no_slot),
    _row("max_connections reached", "one slot left", UNTOUCHED, one_slot),
)

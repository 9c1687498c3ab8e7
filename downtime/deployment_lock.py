"""One deployment at a time per database, whoever deploys: a master, a second master, or a terminal.

An advisory lock of the database, held by the very session that applies the patch: while another can hold it, that
session cannot commit any more.
"""

from __future__ import annotations

from typing import Any

from downtime import errors
from downtime.node import Node, Row, connect
from downtime.target import Target

# Our advisory locks have one class number ("fdtm" in ASCII). Advisory locks are per database.
LOCK_CLASS = 0x6664746D
DEPLOYMENT = 1

# Who holds the deployment lock of a database, asked in any database of the cluster. Takes no lock.
SELECT_HOLDER = f"""
SELECT a.pid, a.usename AS "user", a.application_name AS application, a.backend_start AS connected_at,
       coalesce(host(a.client_addr), 'local socket') AS client
  FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
 WHERE l.locktype = 'advisory' AND l.granted AND l.classid = {LOCK_CLASS} AND l.objid = {DEPLOYMENT}
   AND l.objsubid = 2 AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = %s)
"""


class DeploymentUnderWay(errors.Refused):
    """Another deployer holds the lock of this database."""

    happened = "another deployment of this database is under way: {holder}"
    next_step = "wait for it to end; python -m downtime status shows it"


class ThroughAPooler(errors.Refused):
    """Behind a pooler nothing of a session is ours: its server connection, and the lock with it, outlives us."""

    happened = ("the way to {node} leads through a pooler, which would keep the deployment lock when the deployment has"
                " ended")
    next_step = "give `database` in the settings the server's own address; the pooler belongs under `poolers`"


async def session(target: Target, *, application_name: str, reactor: Any, **keywords: Any) -> Node:
    """Open a session as `downtime.node.connect` does; if gate "refuse" keeps it out, say for whom.

    Raises DeploymentUnderWay where a deployment holds the lock, and what `connect` raises.
    """
    try:
        return await connect(target, application_name=application_name, reactor=reactor, **keywords)
    except errors.ConnectionsRefused:
        outside = await connect(target.with_database("postgres"), application_name=application_name, reactor=reactor)
        try:
            found = await holder(outside, target.database)
        finally:
            outside.close()
        if found is None:
            raise
        raise DeploymentUnderWay(holder=describe(found)) from None


async def take(node: Node) -> None:
    """Take the lock for as long as the session lasts. Raises DeploymentUnderWay at once if it is held.

    Raises ThroughAPooler, and takes nothing, where the session is not the server's own.
    """
    # libpq was told a process id when it connected; PgBouncer makes one up
    if (await node.execute("SELECT pg_catalog.pg_backend_pid()")).scalar != node.pid:
        raise ThroughAPooler(node=node.label)
    if not (await node.execute(f"SELECT pg_try_advisory_lock({LOCK_CLASS}, {DEPLOYMENT})")).scalar:
        found = await holder(node, node.target.database)
        raise DeploymentUnderWay(holder=describe(found) if found else "it has ended just now")


async def holder(node: Node, database: str) -> Row | None:
    """The session that holds the lock (`pid`, `user`, `application`, `client`, `connected_at`), or None."""
    rows = (await node.execute(SELECT_HOLDER, (database,))).rows
    return rows[0] if rows else None


def describe(found: Row) -> str:
    return "{application} of {user} from {client}, pid {pid}, connected since {connected_at:%F %T %Z}".format(**found)

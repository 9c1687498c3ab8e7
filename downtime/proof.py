"""Proves a closed gate: tries to get in, so that no server version leaves the door open unnoticed."""

from __future__ import annotations

from typing import Any

from downtime import errors
from downtime.node import Node, connect
from downtime.target import Target

PROOF_SECONDS = 0.3  # how long the self-test tries; a server that lets it in does so within some 10 ms
PROOF_ATTEMPTS = 4   # on a busy machine; together they stay well below the patcher's IDLE_SECONDS

# Whether somebody waits for gate "hold". A client that has given up leaves its backend waiting. Takes no lock.
SELECT_WAITING = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_locks
                WHERE relation = 'pg_catalog.pg_db_role_setting'::regclass AND NOT granted) AS waiting
"""


class GateLeaks(errors.DowntimeError):
    """The self-test got in while the gate was closed. Nothing may be deployed with such a gate."""

    happened = "a new connection got in while gate {gate} was closed: this server version needs another gate"
    next_step = "set environments.NAME.gate to the other gate, and report the server's version"
    left = errors.Left.REOPENED


class GateUnproved(errors.DowntimeError):
    """Nobody got in, but nothing shows that it was the gate: the way to the server may be slow or cut."""

    happened = "a new connection got no answer while gate {gate} was closed, and the server shows none that waits"
    next_step = "try again; if it stays so, look at the network between here and the server"
    left = errors.Left.REOPENED


async def prove(target: Target, gate: str, reactor: Any, *, witness: Node) -> None:
    """Try to get in while the gate is closed, so that no server version leaves the door open unnoticed.

    A client that waits (`hold`, as the session `witness` can see) or is refused (`refuse`) is what is wanted. Raises
    GateLeaks or GateUnproved.
    """
    for _ in range(PROOF_ATTEMPTS):
        try:
            intruder = await connect(target, application_name="fastdowntime self-test", reactor=reactor,
                                     connect_seconds=PROOF_SECONDS)
        except errors.ConnectionsRefused:
            return
        except errors.DeadlineExceeded:
            if gate == "hold" and (await witness.execute(SELECT_WAITING)).scalar:
                return
            continue
        intruder.close()
        raise GateLeaks(gate=gate)
    raise GateUnproved(gate=gate)

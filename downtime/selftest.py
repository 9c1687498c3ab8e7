"""Close the gate for a moment and try to get in: proves that this server and this gate keep clients out.

Nobody is kicked and nothing is written. Clients that come in that moment wait (gate "hold") or are refused.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

from twisted.logger import Logger

from downtime import deployment_lock, gate, proof, reopening
from downtime.node import Node, connect
from downtime.parameters import milliseconds
from downtime.ready import IDLE_SECONDS
from downtime.target import Target

LOG = Logger()

LIMIT_SECONDS = 5.0  # the test takes 0.3 s; a guard that must act acts this long after it at the latest


async def run(target: Target, gate_name: str, reactor: Any) -> float:
    """Test the gate of one database; returns how long it was closed, in seconds.

    Raises GateLeaks (somebody got in), GateBlocked, DeploymentUnderWay, NodeError, or NeedsOperator where it is not
    certain that the gate is open again.
    """
    patcher = await connect(
        target, application_name="fastdowntime self-test", statement_timeout_seconds=LIMIT_SECONDS, reactor=reactor,
        settings={"idle_in_transaction_session_timeout": milliseconds(IDLE_SECONDS)})
    the_gate: gate.Gate = (gate.Hold(reactor) if gate_name == "hold"
                           else gate.Refuse(target, reactor, limit_seconds=LIMIT_SECONDS))
    try:
        await deployment_lock.take(patcher)
        await the_gate.arm(patcher)
        return await _close_and_try(target, gate_name, patcher, the_gate, reactor)
    finally:
        try:
            await the_gate.disarm()
        finally:
            patcher.close()


async def _close_and_try(target: Target, gate_name: str, patcher: Node, the_gate: gate.Gate, reactor: Any) -> float:
    began = monotonic()
    try:
        async with patcher.transaction():  # ends with a COMMIT of nothing, which standbys see sooner than a ROLLBACK
            await the_gate.prevent()
            await proof.prove(target, gate_name, reactor, witness=patcher)
    finally:
        await reopening.patiently(the_gate.allow, label=target.label, say=_say, reactor=reactor)
    return monotonic() - began


def _say(line: str) -> None:
    LOG.warn("{line}", line=line)

"""The gate's self-test against real servers."""

from __future__ import annotations

import pytest
from twisted.internet import reactor

from downtime import deployment_lock, node, selftest
from downtime.gate import GateLeaks
from downtime.selftest import LIMIT_SECONDS
from tests.databases import Database, Gate


@pytest.mark.parametrize("gate", ["hold", "refuse"])
async def test_a_good_gate_is_closed_for_a_moment_and_opened_again(each_database: Database, gate: Gate) -> None:
    """On every version, with either gate; clients that are connected stay."""
    client = each_database.connect("app")

    seconds = await selftest.run(each_database.target, gate, reactor)

    assert 0 < seconds < LIMIT_SECONDS
    client.cursor().execute("SELECT 1")
    each_database.connect("app")


async def test_a_gate_that_lets_somebody_in_is_found_out(database: Database) -> None:
    """Were a server version to ignore the lock, this is how we would learn it."""
    database.admin_sql("CREATE OR REPLACE FUNCTION fastdowntime.prevent_connections() RETURNS void"
                       " LANGUAGE sql AS 'SELECT'")

    with pytest.raises(GateLeaks, match="gate hold"):
        await selftest.run(database.target, "hold", reactor)


async def test_it_keeps_out_of_a_deployments_way(database: Database) -> None:
    """It takes the deployment lock, and gives way to whoever holds it."""
    deployer = await node.connect(database.target, application_name="deployer")
    try:
        await deployment_lock.take(deployer)
        with pytest.raises(deployment_lock.DeploymentUnderWay, match="deployer"):
            await selftest.run(database.target, "hold", reactor)
    finally:
        deployer.close()

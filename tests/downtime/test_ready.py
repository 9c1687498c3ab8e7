"""What an outage needs before it may begin; most of it is tested with the outage."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from demo.installations import Installation, installations
from demo.servers import Server
from downtime import errors, ready
from tests.builders import a_node
from tests.databases import MakeDatabase


async def test_both_sessions_must_be_on_one_server(
        server: Server, server_of: Callable[[Installation], Server], make_database: MakeDatabase) -> None:
    """An address may fail over between them: the fragile users would be sought on the wrong server."""
    others = installations()[1:]
    if not others:
        pytest.skip("one PostgreSQL alone is at hand")
    patcher = await a_node(make_database(server).target)
    control = await a_node(make_database(server_of(others[0])).target)
    try:
        with pytest.raises(errors.CannotConnect, match="two different servers"):
            await ready.seen_from(control, patcher)
    finally:
        patcher.close()
        control.close()

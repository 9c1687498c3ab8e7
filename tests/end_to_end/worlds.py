"""A world of `demo.faults` per gate, for all tests that break something in it; made when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from demo.faults.world import World
from demo.installations import ServerError, installations
from tests.end_to_end import leaks

WorldOf = Callable[[str], World]


@pytest.fixture(scope="session")
def world_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorldOf]:
    """`world_of(gate)`: always the same world for a gate; whoever uses it puts it right again (`played` does)."""
    try:
        installations()
    except ServerError as error:
        pytest.skip(str(error))
    worlds: dict[str, World] = {}

    def world_of(gate: str) -> World:
        if gate not in worlds:
            worlds[gate] = World.create(tmp_path_factory.mktemp("faults") / gate, gate=gate, tell=print)
        return worlds[gate]
    yield world_of
    leaking = [place for world in worlds.values() for place in leaks.left_in(world.sandbox)]
    for world in worlds.values():
        world.close()
    assert leaking == [], "a password shows there"

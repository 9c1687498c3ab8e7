"""Worlds of `demo.faults` for tests that break something in them; none may be left with a password in sight."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from demo.faults.world import World
from demo.installations import ServerError, installations
from tests.end_to_end import leaks

WorldOf = Callable[..., World]


@contextmanager
def a_world(folder: Path, *, gate: str, surrounded: bool = False) -> Iterator[World]:
    """One world, and a look at what it has left behind. Skips the test where there is no PostgreSQL."""
    try:
        installations()
    except ServerError as error:
        pytest.skip(str(error))
    world = World.create(folder, gate=gate, surrounded=surrounded, tell=print)
    try:
        yield world
        leaking = leaks.left_in(world.sandbox)
    finally:
        world.close()
    assert leaking == [], "a password shows there"


@pytest.fixture(scope="module")
def world_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorldOf]:
    """`world_of(gate, surrounded=…)`: always the same one; whoever uses it puts it right again (`played` does)."""
    worlds: dict[tuple[str, bool], World] = {}
    with ExitStack() as open_worlds:
        def world_of(gate: str, *, surrounded: bool = False) -> World:
            if (gate, surrounded) not in worlds:
                folder = tmp_path_factory.mktemp("faults") / gate
                worlds[gate, surrounded] = open_worlds.enter_context(
                    a_world(folder, gate=gate, surrounded=surrounded))
            return worlds[gate, surrounded]
        yield world_of
